"""An event loop in which nothing happens by accident: virtual time, and a seeded choice of what runs next.

There is one thread and no socket. Time stands still while anything can run, and jumps to the next
timer when nothing can. Which of several ready callbacks runs first is chosen from the seed, so one
seed is one history, and it can be played again.

Work belongs to simulated processes. One that is killed runs no further callback: no cleanup, no
last word. One that is frozen keeps its callbacks until it is thawed, and has noticed nothing.
"""

import asyncio
import heapq
from asyncio import base_events
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any

from sagacity.testing.chance import Chance


class Stalled(Exception):
    """Nothing can run any more and no timer is set, but the simulation has not ended: it would hang."""


class Killed(BaseException):
    """A killed process tried to reach the world. Nobody catches it: whoever sees it is dead."""


class Process:
    """A simulated process: all tasks that were begun in it, directly or not.

    Attributes:
        name: for traces.
        alive: it was not killed.
    """

    def __init__(self, loop: "SimulatedLoop", name: str) -> None:
        self.name = name
        self.alive = True
        self._death: asyncio.Future[None] = loop.create_future()
        self._loop = loop
        self._frozen = False
        self._held: list[asyncio.Handle] = []
        self._context = copy_context()
        self._context.run(_PROCESS.set, self)

    @property
    def frozen(self) -> bool:
        """It is stopped for a while, and does not know it."""
        return self._frozen

    def begin(self, work: Coroutine[Any, Any, Any], *, name: str) -> "asyncio.Task[Any]":
        """Run `work` as a task of this process."""
        return self._loop.create_task(work, name=name, context=self._context)

    async def ended(self, main: "asyncio.Task[Any]") -> None:
        """Return when its main task is done or it was killed."""
        await asyncio.wait([main, self._death], return_when=asyncio.FIRST_COMPLETED)

    def kill(self) -> None:
        """It runs no further callback, from now on. Twice is harmless."""
        self.alive = False
        if not self._death.done():
            self._death.set_result(None)
        self._loop.buried.extend(self._held)
        self._held.clear()

    def freeze(self) -> None:
        """Keep its callbacks until `thaw`."""
        self._frozen = True

    def thaw(self) -> None:
        """It goes on, with all that was to run meanwhile."""
        self._frozen = False
        held, self._held = self._held, []
        self._loop.again(held)

    def check(self) -> None:
        """Raise if it is dead.

        Raises:
            Killed: it is.
        """
        if not self.alive:
            raise Killed(self.name)

    def hold(self, handle: asyncio.Handle) -> None:
        """Keep a callback for the thaw."""
        self._held.append(handle)


_PROCESS: ContextVar[Process | None] = ContextVar("simulated process", default=None)


def present() -> Process | None:
    """The process whose code runs now; None: the simulation's own."""
    return _PROCESS.get()


class SimulatedLoop(base_events.BaseEventLoop):
    """See the module.

    Args:
        chance: chooses among what is ready.
        start: the first value of `time`, in seconds.

    Attributes:
        buried: what dead processes would have run; kept, so that nothing of theirs is collected, and so
            runs a `finally`, before the end.
        faults: what asyncio would have logged: errors of callbacks, and of tasks that nobody awaited.
        turns: callbacks run so far.
    """

    def __init__(self, chance: Chance, *, start: float = 0.0) -> None:
        super().__init__()
        self.buried: list[object] = []
        self.turns = 0
        self._chance = chance
        self._now = start
        self._clock_resolution = 1e-9
        self._inside = False
        self._tasks: list[asyncio.Task[Any]] = []
        self._prune_at = 256
        self._world = copy_context()
        self.faults: list[dict[str, Any]] = []
        self.set_task_factory(self._made)
        self.set_exception_handler(self._noted)

    def time(self) -> float:
        """Virtual seconds."""
        return self._now

    def _noted(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        # A future that failed and that nobody awaits any more: whoever did is dead.
        if "task" in context or "future" not in context:
            self.faults.append(context)

    # --- one turn -----------------------------------------------------------------------------------

    def _run_once(self) -> None:
        """Run one callback; where none is ready, let time pass first."""
        timers: list[Any] = self._scheduled  # type: ignore[attr-defined]
        ready: Any = self._ready  # type: ignore[attr-defined]
        while timers and timers[0]._cancelled:
            heapq.heappop(timers)._scheduled = False
            self._timer_cancelled_count -= 1  # type: ignore[attr-defined]
        if not ready:
            if not timers:
                raise Stalled("nothing is ready and no timer is set: it waits for what never comes")
            self._now = max(self._now, timers[0]._when)
        while timers and timers[0]._when <= self._now:
            timer = heapq.heappop(timers)
            timer._scheduled = False
            if timer._cancelled:
                self._timer_cancelled_count -= 1  # type: ignore[attr-defined]
            else:
                ready.append(timer)
        if ready:
            self._run_one(self._chosen(ready))

    def _chosen(self, ready: Any) -> asyncio.Handle:
        if len(ready) > 1:
            ready.rotate(-self._chance.below(len(ready)))
        handle: asyncio.Handle = ready.popleft()
        return handle

    def _run_one(self, handle: asyncio.Handle) -> None:
        if handle.cancelled():
            return
        process = handle._context.get(_PROCESS)  # type: ignore[attr-defined]
        if process is not None and not process.alive:
            self.buried.append(handle)
        elif process is not None and process.frozen:
            process.hold(handle)
        else:
            self.turns += 1
            handle._run()

    def again(self, handles: list[asyncio.Handle]) -> None:
        """What a frozen process would have run is ready now."""
        self._ready.extend(handles)  # type: ignore[attr-defined]

    # --- tasks and other people's threads ---------------------------------------------------------------

    def _made(
        self, loop: asyncio.AbstractEventLoop, work: Any, context: Context | None = None
    ) -> "asyncio.Task[Any]":
        task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, context=context)
        self._tasks.append(task)
        if len(self._tasks) >= self._prune_at:
            self._tasks = [task for task in self._tasks if not task.done()]
            self._prune_at = 2 * len(self._tasks) + 256
        return task

    def in_world(self, delay: float, act: Callable[..., object], *arguments: Any) -> asyncio.TimerHandle:
        """Run `act` after `delay` seconds outside of all processes: nobody's death or sleep stops it."""
        return self.call_later(delay, act, *arguments, context=self._world)

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> "asyncio.Future[Any]":
        """Run `func` in the loop, as one callback: a thread that cannot be interrupted."""
        del executor
        answer: asyncio.Future[Any] = self.create_future()
        self.call_soon(self._run_plain, answer, func, args)
        return answer

    def _run_plain(self, answer: "asyncio.Future[Any]", func: Callable[..., Any], args: Any) -> None:
        if answer.cancelled():
            return
        self._inside = True
        try:
            result = func(*args)
        except (KeyboardInterrupt, Killed):
            raise
        except BaseException as error:
            answer.set_exception(error)
        else:
            answer.set_result(result)
        finally:
            self._inside = False

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """As `call_soon`; refused inside of a plain function, which would wait for it for ever.

        Raises:
            RuntimeError: a plain step called an external; there is no second thread here that could answer.
        """
        if self._inside:
            raise RuntimeError(
                "a plain function waits for the loop: in a simulation there is one thread only; "
                "write the step as `async def`"
            )
        return self.call_soon(callback, *args, context=context)

    def _asyncgen_finalizer_hook(self, agen: Any) -> None:
        """Close a generator that was collected, inside of a plain function too: nothing waits for it."""
        self._asyncgens.discard(agen)  # type: ignore[attr-defined]
        if not self.is_closed():
            self.call_soon(self._close_generator, agen)

    def _close_generator(self, agen: Any) -> None:
        self.create_task(agen.aclose())

    def _write_to_self(self) -> None:
        """There is no selector to wake."""

    def _process_events(self, event_list: Any) -> None:
        """There are no sockets."""

    # --- the end ----------------------------------------------------------------------------------------

    def bury(self) -> None:
        """Take all unfinished work apart, whatever it still tries; nothing of it is left to run."""
        self._ready.clear()  # type: ignore[attr-defined]
        self._scheduled.clear()  # type: ignore[attr-defined]
        for task in self._tasks:
            if not task.done():
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                _end(task.get_coro())
        self._tasks.clear()
        self.buried.clear()


def _end(work: Any) -> None:
    """Close a coroutine, however often its cleanup wants to go on."""
    for _ in range(100):
        try:
            work.close()
            return
        except BaseException:
            continue
