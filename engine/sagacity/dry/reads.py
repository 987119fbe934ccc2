"""Reads that a dry run makes for real: safe by their own word, and only where the run asks for them.

They are the one hole in the guard. They are made on the loop that has the store, by an instance that is made
when the first of them is asked for; the threads in which steps run stay shut.
"""

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

from sagacity.definition.external import External
from sagacity.dry.guard import GUARD
from sagacity.runtime import externals

WITHIN = timedelta(seconds=30)
"""How long a read may take."""


class RealReads:
    """See the module; call it from another thread than the loop's.

    Args:
        loop: where they are made.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._made: dict[str, External] = {}

    def __call__(
        self, cls: type[External], call: str, args: tuple[Any, ...], named: Mapping[str, Any]
    ) -> Any:
        """Make one read, and wait for its answer.

        Raises:
            MissingExternal: it has no address. TimeoutError: no answer came. What the read itself raises.
        """
        asked = asyncio.run_coroutine_threadsafe(self._asked(cls, call, args, named), self._loop)
        return asked.result()

    async def close(self) -> None:
        """Let go of what was opened."""
        await externals.close(self._made)
        self._made = {}

    async def _asked(
        self, cls: type[External], call: str, args: tuple[Any, ...], named: Mapping[str, Any]
    ) -> Any:
        if not self._made:  # looking a host up takes a thread, which may do that
            self._loop.set_default_executor(ThreadPoolExecutor(4, initializer=GUARD.set_free))
        if cls.name not in self._made:
            self._made |= await externals.connect({cls.name: cls})
        async with asyncio.timeout(WITHIN.total_seconds()):
            return await getattr(self._made[cls.name], call)(*args, **named)
