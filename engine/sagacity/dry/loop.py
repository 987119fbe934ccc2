"""The loop of a dry run: virtual time, one order of things, and real threads for plain steps.

A plain function runs in a thread here as it does in production, and may wait for the loop there. Time
does not pass while one runs: whoever moves the clock first sees that every thread waits or is done.
"""

import asyncio
import queue
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from contextvars import Context
from typing import Any

from sagacity.testing.chance import Chance
from sagacity.testing.loop import SimulatedLoop

_Post = Callable[[], None]


class DryLoop(SimulatedLoop):
    """See the module. `guarded`: entered in each thread in which a plain function runs."""

    def __init__(
        self, chance: Chance, *, guarded: Callable[[], AbstractContextManager[None]] = nullcontext
    ) -> None:
        super().__init__(chance)
        self.plain_frames: dict[int, None] = {}
        self._posts: queue.SimpleQueue[_Post] = queue.SimpleQueue()
        self._busy = 0
        self._guarded = guarded
        self._asking = threading.local()
        self._for_thread = False

    def _chosen(self, ready: Any) -> asyncio.Handle:
        handle: asyncio.Handle = ready.popleft()  # one order, always the same: as it was made ready
        return handle

    def _run_once(self) -> None:
        while self._busy and not self._ready:  # type: ignore[attr-defined]
            self._posts.get()()
        super()._run_once()

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> "asyncio.Future[Any]":
        """Run `func` in a thread of its own, while virtual time stands still."""
        del executor
        answer: asyncio.Future[Any] = self.create_future()
        self._busy += 1
        threading.Thread(target=self._in_thread, args=(answer, func, args), name="step", daemon=True).start()
        return answer

    def _in_thread(self, answer: "asyncio.Future[Any]", func: Callable[..., Any], args: Any) -> None:
        self._asking.thread = threading.get_ident()
        self.plain_frames[threading.get_ident()] = None
        try:
            with self._guarded():
                result, error = func(*args), None
        except BaseException as raised:  # handed to whoever waits for the step
            result, error = None, raised
        finally:
            self.plain_frames.pop(threading.get_ident(), None)
        self._posts.put(lambda: self._thread_done(answer, result, error))

    def _thread_done(self, answer: "asyncio.Future[Any]", result: Any, error: BaseException | None) -> None:
        self._busy -= 1
        if answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(result)

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """As `call_soon`. From a step's thread: it waits for what it asks, so time may pass until then."""
        if getattr(self._asking, "thread", None) is None:
            return self.call_soon(callback, *args, context=context)
        handle = asyncio.Handle(self._served, (callback, args), self, context)
        self._posts.put(lambda: self._ask(handle))
        return handle

    def _asyncgen_finalizer_hook(self, agen: Any) -> None:
        """A generator was collected, in whichever thread that happened to be: that is nobody's question.

        Were it counted as one, the loop would wait for a thread that is long done.
        """
        if getattr(self._asking, "thread", None) is None:
            super()._asyncgen_finalizer_hook(agen)
        elif not self.is_closed():
            self._posts.put(lambda: super(DryLoop, self)._asyncgen_finalizer_hook(agen))

    def _ask(self, handle: asyncio.Handle) -> None:
        self._busy -= 1  # it waits, and whatever it asked for runs in the loop
        self._ready.append(handle)  # type: ignore[attr-defined]

    def _served(self, callback: Callable[..., Any], args: Any) -> None:
        self._for_thread = True
        try:
            callback(*args)
        finally:
            if self._for_thread:  # it began no task: it has its answer already
                self._for_thread = False
                self._busy += 1

    def _made(
        self, loop: asyncio.AbstractEventLoop, work: Any, context: Context | None = None
    ) -> "asyncio.Task[Any]":
        task = super()._made(loop, work, context)
        if self._for_thread:
            self._for_thread = False
            # Told first, before the callback that lets the thread go on: it is busy again from then on.
            task.add_done_callback(self._answered)
        return task

    def _answered(self, task: "asyncio.Task[Any]") -> None:
        del task
        self._busy += 1
