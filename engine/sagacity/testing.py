"""For tests of flows: a clock moved by hand, externals that answer from their mocks, a worker in a block.

Nothing here sleeps for a fixed time. Instants pass because a test says so, and a test goes on
because a fact is there, not because it waited long enough.

```python
async with running(Worker(app.store, project.flows, project.participants, externals=mocked(Payments))):
    handle = await app.start(Order, order)
    view = await settled(app, handle.id)
```
"""

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, overload
from uuid import UUID

from sagacity.clock import SystemClock, aware
from sagacity.definition.external import External
from sagacity.model.record import Status
from sagacity.model.views import SagaView
from sagacity.orchestrator import Orchestrator
from sagacity.runtime.worker import Worker

T = TypeVar("T")

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
"""Where a `ManualClock` begins unless told otherwise."""

PATIENCE = timedelta(seconds=10)
"""Real time after which a fact that has not come is taken for a fault."""

_REAL = SystemClock()


# --- time -------------------------------------------------------------------------------------------


class ManualClock:
    """A clock that stands still until `advance`. Give it to the store, the worker and the orchestrator alike.

    It belongs to one event loop: `sleep` and `advance` are called there; `now` from anywhere.

    Args:
        at: its first instant, aware.

    Raises:
        NaiveDatetime: `at` has no zone.
    """

    def __init__(self, at: datetime = NOON) -> None:
        self._start = self._now = aware(at, what="at")
        self._sleepers: list[tuple[datetime, asyncio.Future[None]]] = []
        self._watchers: list[Callable[[], None]] = []

    def now(self) -> datetime:
        """The instant that it was moved to, in UTC."""
        return self._now

    def monotonic(self) -> float:
        """Seconds since its first instant."""
        return (self._now - self._start).total_seconds()

    async def sleep(self, seconds: float) -> None:
        """Return once the clock was moved `seconds` past; 0 or less yields to the loop once."""
        if seconds <= 0:
            await asyncio.sleep(0)  # noqa: TID251 - yields, and does not wait
            return
        wake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (self._now + timedelta(seconds=seconds), wake)
        self._sleepers.append(entry)
        try:
            await wake
        finally:
            with contextlib.suppress(ValueError):
                self._sleepers.remove(entry)

    def advance(self, by: timedelta) -> None:
        """Move on by `by`, and wake whoever is due by then, the earliest first.

        Raises:
            ValueError: `by` is negative; time does not go back.
        """
        if by < timedelta(0):
            raise ValueError(f"advance by {by}: time does not go back")
        self._now += by
        due = sorted((entry for entry in self._sleepers if entry[0] <= self._now), key=lambda entry: entry[0])
        for _, wake in due:
            if not wake.done():
                wake.set_result(None)
        for watcher in self._watchers:
            watcher()

    @contextlib.contextmanager
    def watched_by(self, watcher: Callable[[], None]) -> Iterator[None]:
        """Inside the block `watcher` is called after every `advance`.

        Whoever was busy and not asleep when time passed would otherwise go to sleep by the old time.
        """
        self._watchers.append(watcher)
        try:
            yield
        finally:
            self._watchers.remove(watcher)

    @property
    def sleepers(self) -> tuple[timedelta, ...]:
        """How much longer each sleeper would sleep, shortest first."""
        return tuple(sorted(due - self._now for due, wake in self._sleepers if not wake.done()))


# --- the outside ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """One call that a mocked external answered. `key` is the idempotency key; None for a read."""

    external: str
    call: str
    args: tuple[Any, ...]
    key: str | None


class Mocks(dict[str, External]):
    """Externals by name, as a `Worker` takes them.

    Attributes:
        calls: what was called, in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Called] = []


def mocked(*externals: type[External], instead: Mapping[type[External], Any] | None = None) -> Mocks:
    """Instances of `externals` whose effects and reads are answered by their `Mock`.

    A mock's method gets `key` and `undoes` if it takes them. Where the mock has a `probe`, that is asked
    too; otherwise a probe does not know.

    Args:
        externals: their classes.
        instead: class → an object that answers in place of that class's `Mock`.

    Raises:
        TypeError: a class has no mock, or what answers lacks a declared call.
    """
    mocks = Mocks()
    for cls in externals:
        mock = (instead or {}).get(cls)
        if mock is None:
            if cls.Mock is None:
                raise TypeError(f"{cls.__name__} has no mock: declare `class Mock:` in it")
            mock = cls.Mock()
        mocks[cls.name] = _answering(cls, mock, mocks.calls)
    return mocks


def _answering(cls: type[External], mock: Any, calls: list[Called]) -> External:
    # Not made by `connect` and not by `__init__`: those would open connections.
    instance = object.__new__(cls)
    answers: dict[str, Any] = vars(instance)
    for name in (*cls.effects, *cls.reads):
        if not callable(getattr(mock, name, None)):
            raise TypeError(f"{type(mock).__name__} cannot answer {cls.__name__}.{name}: give it that method")
        answers[name] = _answer(cls.name, name, getattr(mock, name), calls)
    answers["probe"] = getattr(mock, "probe", _unknown)
    answers["close"] = _closed
    return instance


def _answer(external: str, name: str, method: Callable[..., Any], calls: list[Called]) -> Any:
    takes = inspect.signature(method).parameters

    async def answer(*args: Any, **named: Any) -> Any:
        calls.append(Called(external=external, call=name, args=args, key=named.get("key")))
        extra = {n for n in ("key", "undoes") if n not in takes}
        value = method(*args, **{n: v for n, v in named.items() if n not in extra})
        return await value if inspect.isawaitable(value) else value

    return answer


async def _unknown(key: str) -> None:
    del key


async def _closed() -> None:
    return None


# --- a worker in a block ----------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def running(worker: Worker, *, grace: timedelta = timedelta(seconds=5)) -> AsyncIterator[Worker]:
    """`worker` at work inside the block, ready when it is entered, stopped when it is left.

    On a `ManualClock` it looks for what has become due after every `advance`.

    Args:
        worker: not run yet.
        grace: as for `Worker.stop`.

    Raises:
        Whatever `Worker.run` raises: at once if it cannot begin, else when the block is left.
    """
    task = asyncio.create_task(worker.run(), name="worker")
    ready = asyncio.create_task(worker.ready.wait())
    try:
        await asyncio.wait([task, ready], return_when=asyncio.FIRST_COMPLETED)
    finally:
        ready.cancel()
    if task.done():
        task.result()
    clock = worker.clock
    watched = clock.watched_by(worker.poke) if isinstance(clock, ManualClock) else contextlib.nullcontext()
    try:
        with watched:
            yield worker
    finally:
        if not task.done():
            await worker.stop(grace=grace)
        await task


# --- waiting for facts ------------------------------------------------------------------------------


@overload
async def until(condition: Callable[[], Awaitable[T]], *, within: timedelta = PATIENCE) -> T: ...
@overload
async def until(condition: Callable[[], T], *, within: timedelta = PATIENCE) -> T: ...
async def until(condition: Callable[[], Any], *, within: timedelta = PATIENCE) -> Any:
    """Ask again and again until `condition` answers something true, and return that.

    Args:
        condition: plain or async; cheap, for it is asked up to a thousand times a second.
        within: real time, whatever clock the engine has.

    Raises:
        TimeoutError: it did not come true; the message has its last answer.
    """
    deadline = _REAL.monotonic() + within.total_seconds()
    pause = 0.001
    while True:
        answer = condition()
        if inspect.isawaitable(answer):
            answer = await answer
        if answer:
            return answer
        if _REAL.monotonic() > deadline:
            name = getattr(condition, "__qualname__", repr(condition))
            raise TimeoutError(f"{name} did not come true within {within}; it answers {answer!r}")
        await _REAL.sleep(pause)
        pause = min(pause * 1.5, 0.02)


async def settled(app: Orchestrator, saga: str | UUID, *, within: timedelta = PATIENCE) -> SagaView:
    """The saga once nothing moves it for now: it is over, stuck, or asleep with all its mail read.

    Args:
        app: where to look.
        saga: id or business key.
        within: real time.

    Raises:
        NotFound: no such saga. TimeoutError: it still moves; the message says where it stands.
    """
    id = await app.resolve(saga)

    async def rests() -> bool:
        row = await app.store.saga(id)
        if row is None or row.owner is not None or row.arrivals != row.heard:
            return False
        record = row.record
        if record.status.final or record.status is Status.STUCK:
            return True
        if record.due_at is not None:
            return record.due_at > await app.store.now()
        return record.status is Status.WAITING or (
            record.backward and any(e.children for e in record.effects)
        )

    try:
        await until(rests, within=within)
    except TimeoutError:
        view = await app.show(id)
        raise TimeoutError(
            f"{view.definition} {view.key!r} still moves: it is {view.status.value}, {view.why}"
        ) from None
    return await app.show(id)
