"""What `run` and outside services tell each other: where web hooks go, and what is still owed."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Self
from urllib.parse import urlsplit

from sagacity.cli.failures import Exit, Stop
from sagacity.clock import Clock

PATIENCE = timedelta(seconds=30)
"""How long a service may be silent before the run gives up on it."""


class Outsides:
    """The services behind `--outside`."""

    def __init__(self, urls: Sequence[str], client: Any, clock: Clock) -> None:
        self._urls = urls
        self._client = client
        self._clock = clock
        self._silent: dict[str, float] = {}

    def __bool__(self) -> bool:
        return bool(self._urls)

    @classmethod
    @asynccontextmanager
    async def reached(cls, urls: Sequence[str], clock: Clock) -> AsyncIterator[Self]:
        """The services, once each address is one that can be called.

        Raises:
            Stop: an address that is none.
        """
        for url in urls:
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise Stop(
                    Exit.USAGE, f"sagacity: --outside {url}: give an address like http://127.0.0.1:8000"
                )
        if not urls:
            yield cls((), None, clock)
            return
        import httpx2

        async with httpx2.AsyncClient(timeout=10.0, trust_env=False) as client:
            yield cls(urls, client, clock)

    async def point_at(self, hooks: str) -> None:
        """Tell every service that its web hooks go to `hooks`.

        Raises:
            Stop: one does not answer, or refuses.
        """
        for url in self._urls:
            await self._call("PUT", f"{url}/hooks", json={"url": hooks})

    async def owe_nothing(self) -> bool:
        """Whether every service says that it owes nothing; one that is silent may still owe something.

        Raises:
            Stop: a service was silent for longer than `PATIENCE`.
        """
        owed = await asyncio.gather(*(self._owed(url) for url in self._urls))
        return not any(owed)

    async def _owed(self, url: str) -> int:
        try:
            answer = await self._call("GET", f"{url}/pending")
        except Stop:
            since = self._silent.setdefault(url, self._clock.monotonic())
            if self._clock.monotonic() - since > PATIENCE.total_seconds():
                raise
            return 1
        self._silent.pop(url, None)
        return int(answer["owed"])

    async def _call(self, method: str, url: str, **given: Any) -> Any:
        import httpx2

        try:
            answer = await self._client.request(method, url, **given)
            answer.raise_for_status()
            return answer.json()
        except (httpx2.HTTPError, ValueError, TypeError) as error:
            said = str(error) or type(error).__name__
            raise Stop(
                Exit.UNREACHABLE, f"sagacity: outside service {method} {url}: {said}; is it started?"
            ) from None
