"""How a run tells that it lives: a bar on a terminal, a line every few seconds elsewhere. All on stderr."""

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TextIO

from sagacity.clock import Clock

EVERY = 4.0
"""Seconds between two lines where there is no terminal."""

_TICK = 0.25
_OVER = ("committed", "rolled_back", "abandoned", "stuck")


class Board:
    """What is told about a run; `counts` is asked for whenever something is shown."""

    def __init__(
        self, *, name: str, clock: Clock, counts: Callable[[], dict[str, int]], out: TextIO | None = None
    ) -> None:
        self._name = name
        self._clock = clock
        self._counts = counts
        self._out = out if out is not None else sys.stderr
        self.rejected = 0
        self.reading = True

    def line(self) -> str:
        """The run in one line: how many of how many have ended, and how many per status."""
        counts = self._counts()
        total = sum(counts.values())
        told = [f"{status} {count}" for status, count in counts.items() if count]
        told += [f"rejected {self.rejected}"] if self.rejected else []
        if not told:
            return f"{self._name}: {'reading the first lines' if self.reading else 'no lines to run'}"
        ended = f"{self._done(counts)} of {total} ended{', reading on' if self.reading else ''}"
        return f"{self._name}: {ended}: {', '.join(told)}"

    @staticmethod
    def _done(counts: dict[str, int]) -> int:
        return sum(counts[status] for status in _OVER)

    @asynccontextmanager
    async def shown(self) -> AsyncIterator[None]:
        """Show it for as long as this lasts, and once more at the end."""
        import asyncio

        show = self._bar if self._out.isatty() else self._lines
        task = asyncio.create_task(show())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self._say(self.line())

    def reject(self, text: str) -> None:
        """A line of the input that was not taken."""
        self.rejected += 1
        self._say(text)

    def _say(self, text: str) -> None:
        print(text, file=self._out, flush=True)

    async def _lines(self) -> None:
        while True:
            self._say(self.line())
            await self._clock.sleep(EVERY)

    async def _bar(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        told: Any = TextColumn("{task.fields[told]}")
        console = Console(file=self._out, stderr=True)
        with Progress(*columns, told, console=console, transient=True, auto_refresh=False) as progress:
            task = progress.add_task(self._name, total=None, told="")
            while True:
                counts = self._counts()
                parts = [f"{status} {count}" for status, count in counts.items() if count]
                progress.update(
                    task,
                    completed=self._done(counts),
                    total=sum(counts.values()) or None,
                    told=" ".join(parts),
                )
                progress.refresh()
                await self._clock.sleep(_TICK)
