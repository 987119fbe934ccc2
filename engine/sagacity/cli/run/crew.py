"""Worker processes of one run: started, started again when they die, ended cleanly at the end.

Each holds the other end of a pipe from us, so however we die, none is left behind.
"""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from sagacity.cli.failures import Exit, Stop
from sagacity.clock import Clock
from sagacity.telemetry import tell

_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 5.0
_LIVELY = 10.0
_QUICK_DEATHS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Hiring:
    """How worker processes are made: how many, for which store, with which options of `sagacity worker`."""

    count: int
    store: str
    options: tuple[str, ...]
    grace: timedelta
    say: Callable[[str], None]


@asynccontextmanager
async def crew(hiring: Hiring, clock: Clock) -> AsyncIterator[None]:
    """Worker processes for as long as this lasts.

    Raises:
        Stop: one dies again and again right after its start.
    """
    posts = [_Post(hiring, clock, number) for number in range(1, hiring.count + 1)]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(post.keep_filled()) for post in posts]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.shield(asyncio.gather(*(post.end() for post in posts)))


class _Post:
    """One place for a worker process."""

    def __init__(self, hiring: Hiring, clock: Clock, number: int) -> None:
        self._hiring = hiring
        self._clock = clock
        self._number = number
        self._process: Process | None = None

    async def keep_filled(self) -> None:
        pause, quick = _FIRST_PAUSE, 0
        while True:
            began = self._clock.monotonic()
            self._process = await self._started()
            code = await self._process.wait()
            if self._clock.monotonic() - began > _LIVELY:
                pause, quick = _FIRST_PAUSE, 0
            quick += 1
            if quick > _QUICK_DEATHS:
                raise Stop(
                    Exit.FAULT,
                    f"sagacity: worker {self._number} ends at once, {quick} times, last with code {code}: "
                    "see what it said above",
                )
            tell("worker.restarted", worker=self._number, code=code)
            self._hiring.say(f"worker {self._number} died (code {code}): started again")
            await self._clock.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _started(self) -> Process:
        command = [sys.executable, "-m", "sagacity", "worker", "--until-stdin-closes", *self._hiring.options]
        # The address may hold a password: it goes through the environment, which `ps` does not show.
        environment = {"SAGACITY_LOG_LEVEL": "warning", **os.environ, "SAGACITY_STORE": self._hiring.store}
        return await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=DEVNULL, env=environment, start_new_session=True
        )

    async def end(self) -> None:
        """SIGTERM, and after the grace time SIGKILL."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(self._hiring.grace.total_seconds() + 5):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
