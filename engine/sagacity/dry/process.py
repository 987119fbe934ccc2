"""The process in which dry runs are played: `python -m sagacity.dry.process`, spoken to through a pipe.

It is started for them, before any pool or client exists. It opens the store, arms the guard, and only then
imports the user's modules, in a thread that may open nothing. So its only sockets are the store's, and a
client that a module makes at import cannot be there.

Orders may come while earlier ones are played or put away; the answers keep their order.
"""

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TextIO

from sagacity.dry.comparing import real_of
from sagacity.dry.guard import GUARD
from sagacity.dry.live import Instants, Live, LiveStore, Nowhere
from sagacity.dry.orders import Answer, Asked, Setting
from sagacity.dry.reads import RealReads
from sagacity.dry.shelf import Kept, Shelf
from sagacity.dry.stage import Answered, Stage
from sagacity.errors import SagacityError
from sagacity.store.base import Store

_AHEAD = 64
"""Runs that may wait to be put away while others are played."""

_AT_THE_END = 10.0
"""Real seconds that anything may still take when nobody waits any more."""

_TOGETHER = 16
"""Runs that are put away in one write at the most."""

_LINGER = 0.1
"""Real seconds that a run waits at the most for others that are being played, to be put away with them."""

_Waiting = tuple[Answer, Kept | None]


def main() -> int:
    """Answer orders until the pipe closes."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what the user's code prints is no answer
    sys.dont_write_bytecode = True
    first = sys.stdin.readline()
    if not first:
        return 0
    setting = Setting.model_validate_json(first)
    sys.path += [entry for entry in setting.path if entry and entry not in sys.path]
    asyncio.run(_serve(setting, out))
    return 0


async def _serve(setting: Setting, out: TextIO) -> None:
    def say(answer: Answer) -> None:
        out.write(answer.model_dump_json(exclude_none=True) + "\n")
        out.flush()

    try:
        async with _opened(setting) as store:
            orders = _orders()  # the thread that reads them is there before the guard is armed
            await _warm(store)
            GUARD.only_these()
            say(Answer(played=0))
            reads = RealReads(asyncio.get_running_loop())
            stage, times = Stage(reads), Instants(store) if store is not None else None
            async with _Putting.begun(store, say, notices=setting.notices) as putting:
                while line := await orders.get():
                    asked = Asked.model_validate_json(line)
                    answer, kept = await _answered(asked, stage, store, times, say)
                    putting.more = not orders.empty()
                    await putting.put((answer, kept if asked.keep else None))
            await reads.close()
    except SagacityError as error:
        say(Answer(error=type(error).__name__, message=str(error), ok=False))


def _orders() -> asyncio.Queue[str]:
    """Orders as they come, an empty one at the end: the pipe closed, or whoever asked is gone.

    Then nobody waits for an answer any more, and a step that hangs must not keep the process for ever.
    """
    loop = asyncio.get_running_loop()
    orders: asyncio.Queue[str] = asyncio.Queue()

    def read() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(orders.put_nowait, line)
        last = threading.Timer(_AT_THE_END, os._exit, (1,))
        last.daemon = True
        last.start()
        with contextlib.suppress(RuntimeError):  # it has ended meanwhile
            loop.call_soon_threadsafe(orders.put_nowait, "")

    threading.Thread(target=read, name="orders", daemon=True).start()
    return orders


class _Putting:
    """Runs are put away, and then answered, in order, while the next ones are played.

    Attributes:
        more: behind the last one that was handed over, others are played.
    """

    def __init__(self, store: Store | None, say: Callable[[Answer], None], *, notices: bool) -> None:
        self.more = False
        self._say = say
        self._shelf = Shelf(store, notices=notices) if store is not None else None
        self._waiting: asyncio.Queue[_Waiting | None] = asyncio.Queue(_AHEAD)
        self.put = self._waiting.put

    @classmethod
    @asynccontextmanager
    async def begun(
        cls, store: Store | None, say: Callable[[Answer], None], *, notices: bool
    ) -> AsyncIterator["_Putting"]:
        """At work until the block ends and all is put away."""
        putting = cls(store, say, notices=notices)
        async with asyncio.TaskGroup() as group:
            group.create_task(putting._run())
            yield putting
            await putting.put(None)
        if putting._shelf is not None:
            with contextlib.suppress(SagacityError):  # all is stored; its chain is taken over in time
                await putting._shelf.close()

    async def _run(self) -> None:
        while (first := await self._waiting.get()) is not None:
            some = [first]
            last = await self._joined(some)
            await self._stored(some)
            if last:
                return

    async def _joined(self, some: list[_Waiting]) -> bool:
        """Others that come soon are put away with them. True: none will come any more."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER):
                while len(some) < _TOGETHER and (self.more or not self._waiting.empty()):
                    one = await self._waiting.get()
                    if one is None:
                        return True
                    some.append(one)
        return False

    async def _stored(self, some: list[_Waiting]) -> None:
        runs = [kept for _, kept in some if kept is not None]
        failed: Answer | None = None
        if self._shelf is not None and runs:
            try:
                await self._shelf.put(runs)
            except SagacityError as error:
                failed = _failed(error)
        for answer, kept in some:
            self._say(failed if failed is not None and kept is not None else answer)


def _failed(error: SagacityError) -> Answer:
    said = "; ".join(f"{r.what} ({r.where})" for r in GUARD.refusals)
    message = f"{error}; {said}" if said and said not in str(error) else str(error)
    return Answer(error=type(error).__name__, message=message, ok=False)


@asynccontextmanager
async def _opened(setting: Setting) -> AsyncIterator[Store | None]:
    """The store, if there is one."""
    if setting.place is None:
        yield None
        return
    from sagacity.store.open import open_store

    place = setting.place
    store = open_store(place.url, tenant=place.tenant, accept_loss=place.accept_loss)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def _warm(store: Store | None) -> None:
    """What is made when it is first needed is made now."""
    if store is not None:
        await store.now()


async def _answered(
    asked: Asked,
    stage: Stage,
    store: Store | None,
    times: Instants | None,
    say: Callable[[Answer], None],
) -> Answered:
    live: Live = Nowhere(objects=asked.objects)

    def each(number: int) -> None:
        if number % 25 == 0:
            say(Answer(played=number))

    try:
        if store is not None and times is not None:
            live = LiveStore(store, asyncio.get_running_loop(), at=await times.now())
        real = await real_of(store, asked.against) if asked.against is not None else None
        answered: Answered = await _in_a_thread(lambda: stage.play(asked, live, real=real, each=each))
    except SagacityError as error:
        return _failed(error), None
    return answered


async def _in_a_thread(work: Callable[[], Any]) -> Any:
    """Run `work` in a fresh thread, which the guard watches."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()

    def tell(result: Any, error: BaseException | None) -> None:
        if error is None:
            done.set_result(result)
        else:
            done.set_exception(error)

    def run() -> None:
        try:
            result, error = work(), None
        except BaseException as raised:  # handed to whoever waits
            result, error = None, raised
        loop.call_soon_threadsafe(tell, result, error)

    threading.Thread(target=run, name="rehearsal", daemon=True).start()
    return await done


if __name__ == "__main__":
    raise SystemExit(main())
