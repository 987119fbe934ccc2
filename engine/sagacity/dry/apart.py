"""A process of their own for dry runs, as the one who asks sees it.

```python
async with Apart.started(place) as stage:
    answer = await stage.ask(Asked(flow="sagas/order.py:Order", input=order))
```
"""

import asyncio
import contextlib
import itertools
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta

from sagacity import errors
from sagacity.dry.orders import Answer, Asked, Place, Setting
from sagacity.errors import SagacityError, Unfinished

_LINE = 64 * 1024 * 1024
"""Bytes of one answer at the most."""

_AHEAD = 32
"""Orders that are sent before the first of them is answered."""


class Apart:
    """See the module. One order at a time."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._turn = asyncio.Lock()

    @classmethod
    @asynccontextmanager
    async def started(cls, place: Place | None = None, *, notices: bool = False) -> AsyncIterator["Apart"]:
        """A fresh process on this store, ended with the block.

        Args:
            place: the store; None: runs are played on nothing, and not kept.
            notices: what runs would tell is put, stamped, into the outbox of lane `dry`.

        Raises:
            StoreError: the store cannot be opened there.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "sagacity.dry.process",
            stdin=PIPE,
            stdout=PIPE,
            limit=_LINE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)},
        )
        stage = cls(process)
        try:
            setting = Setting(place=place, path=tuple(sys.path), notices=notices)
            await stage._send(setting.model_dump_json())
            await stage._answer()
            yield stage
        finally:
            await stage._end()

    @property
    def pid(self) -> int:
        """The process that plays."""
        return self._process.pid

    async def ask(
        self,
        asked: Asked,
        *,
        each: Callable[[int], None] | None = None,
        within: timedelta = timedelta(minutes=10),
    ) -> Answer:
        """What came of it.

        Args:
            asked: the order.
            each: told of the number of paths played so far, once in a while.
            within: real time; after it the process is ended, for a step hangs in it.

        Raises:
            TimeoutError: it took longer.
            Unfinished: the process was ended by somebody.
            SagacityError: as it was raised there.
        """
        async with self._turn:
            try:
                async with asyncio.timeout(within.total_seconds()):
                    return await self._asked(asked, each)
            except TimeoutError:
                self._process.kill()
                raise TimeoutError(f"the dry run took longer than {within}: does a step hang?") from None

    async def ask_all(
        self, orders: Iterable[Asked], *, within: timedelta = timedelta(minutes=10)
    ) -> AsyncIterator[Answer]:
        """What came of each, in order; the next ones are played while earlier ones are told.

        An order that could not be played is answered with its `error` and `message`, and the others go on. If
        the process is ended by somebody, that and all behind it are answered as `Unfinished`.

        Args:
            orders: any number.
            within: real time for each answer; after it the process is ended, for a step hangs in it.

        Raises:
            TimeoutError: one took longer.
        """
        async with self._turn:
            ahead = iter(orders)
            asked = 0
            for order in itertools.islice(ahead, _AHEAD):
                await self._send(order.model_dump_json())
                asked += 1
            while asked:
                asked -= 1
                yield await self._next(within)
                for order in itertools.islice(ahead, 1):
                    await self._send(order.model_dump_json())
                    asked += 1

    async def _next(self, within: timedelta) -> Answer:
        try:
            async with asyncio.timeout(within.total_seconds()):
                while True:
                    answer = await self._said()
                    if answer.played is None:
                        return answer
        except Unfinished as error:
            return Answer(error=type(error).__name__, message=str(error), ok=False)
        except TimeoutError:
            self._process.kill()
            raise TimeoutError(f"a dry run took longer than {within}: does a step hang?") from None

    async def _asked(self, asked: Asked, each: Callable[[int], None] | None) -> Answer:
        await self._send(asked.model_dump_json())
        while True:
            answer = await self._answer()
            if answer.played is None:
                return answer
            if each is not None:
                each(answer.played)

    async def _send(self, line: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(ConnectionError):  # it was killed: who waits for its answer finds out
            self._process.stdin.write(line.encode() + b"\n")
            await self._process.stdin.drain()

    async def _answer(self) -> Answer:
        answer = await self._said()
        if answer.error is not None:
            raise as_raised(answer)
        return answer

    async def _said(self) -> Answer:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line.endswith(b"\n"):  # it ended, perhaps in the middle of a word
            code = await self._process.wait()
            how = f"was killed (signal {-code})" if code < 0 else f"ended by itself (code {code})"
            raise Unfinished(
                f"not finished: the process of the dry run {how}; nothing happened, so run it again"
            )
        return Answer.model_validate_json(line)

    async def _end(self) -> None:
        """Close its pipe, by which it ends; a step that hangs there is ended with it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(5):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


def as_raised(answer: Answer) -> SagacityError:
    """The error that was raised there, as the same class where it takes a message alone."""
    cls = getattr(errors, answer.error or "", SagacityError)
    simple = isinstance(cls, type) and issubclass(cls, SagacityError) and cls.__init__ is Exception.__init__
    error: SagacityError = (cls if simple else SagacityError)(answer.message or "")
    return error
