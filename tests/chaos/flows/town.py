"""The outside of the chaos tests: one service, reached by HTTP, whose ledger is the judge.

What an answer means is said here: a refusal is final, a call that never left may be tried again, and
everything else leaves the effect's outcome unknown.
"""

import asyncio
import json
from typing import Any, Self
from urllib.parse import quote, urlsplit

from pydantic import BaseModel

from sagacity import External, Refused, Unavailable, effect
from sagacity.definition.external import ExternalSettings, Landed, NotLanded
from sagacity.errors import MissingExternal


class Receipt(BaseModel):
    """What the service answers."""

    number: str


class Http:
    """HTTP/1.1 with kept connections, in forty lines: a chaos test spends its time on the engine."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(self, method: str, path: str, headers: str = "", body: Any = None) -> tuple[int, Any]:
        """One call; its status and what it said. A kept connection that has died meanwhile is replaced.

        Raises:
            Unavailable: the call never left. OSError, EOFError: whether it arrived nobody knows.
        """
        reader, writer = await self._connection()
        try:
            data = json.dumps(body).encode() if body is not None else b""
            head = f"{method} {path} HTTP/1.1\r\nhost: {self._host}\r\n{headers}content-length: {len(data)}"
            writer.write(f"{head}\r\n\r\n".encode() + data)
            first, *rest = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            lengths = [line.split(":")[1] for line in rest if line.lower().startswith("content-length")]
            said = json.loads(await reader.readexactly(int(lengths[0])))
        except BaseException:
            writer.transport.abort()
            raise
        self._idle.append((reader, writer))
        return int(first.split(" ")[1]), said

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while self._idle:
            reader, writer = self._idle.pop()
            if not reader.at_eof() and not writer.is_closing():
                return reader, writer
            writer.transport.abort()
        try:
            return await asyncio.open_connection(self._host, self._port)
        except OSError as fault:
            raise Unavailable(f"{self._host}:{self._port} cannot be reached: {fault}") from None

    def close(self) -> None:
        for _, writer in self._idle:
            writer.transport.abort()
        self._idle.clear()


class Till(External):
    """Takes things, and gives them back; it refuses what it is told to refuse."""

    def __init__(self, http: Http) -> None:
        self._http = http

    @classmethod
    async def connect(cls, settings: ExternalSettings) -> Self:
        if settings.url is None:
            raise MissingExternal(f"set SAGACITY_{cls.name.upper()}_URL")
        return cls(Http(settings.url))

    async def close(self) -> None:
        self._http.close()

    async def probe(self, key: str) -> Landed | NotLanded | None:
        status, said = await self._http.ask("GET", f"/effects/{quote(key, safe='')}")
        if status != 200 or said["landed"] is None:
            return None
        return Landed(answer=said["answer"]) if said["landed"] else NotLanded()

    @effect(inverse="give_back")
    async def take(self, about: str, step: str, *, refuse: bool = False, key: str) -> Receipt:
        return Receipt(**await self._post(key, None, about=about, action=f"take {step}", refuse=refuse))

    @effect(safe_on_nothing=True)
    async def give_back(self, receipt: Receipt | None, *, key: str, undoes: str) -> None:
        await self._post(key, undoes, about="", action="give back", refuse=False)

    async def _post(self, key: str, undoes: str | None, **body: Any) -> Any:
        headers = f"idempotency-key: {key}\r\n" + (f"undoes: {undoes}\r\n" if undoes else "")
        status, said = await self._http.ask("POST", "/effects", headers, body)
        if status == 409:
            raise Refused(said["detail"])
        if status >= 400:
            raise OSError(f"{self.name} answered {status}: {said['detail']}")
        return said

    class Mock:
        async def take(self, about: str, step: str, *, refuse: bool = False) -> Receipt:
            return Receipt(number=f"mock-{about}-{step}")

        async def give_back(self, receipt: Receipt | None) -> None:
            return None
