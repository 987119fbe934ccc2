"""HTTP/1.1 with kept connections in few lines: the starter is to cost the contender as little as it can."""

import asyncio
import json
from typing import Any


class Http:
    """Calls to one server; as many connections as there are calls at once, kept open."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def post(self, path: str, body: Any) -> tuple[int, bytes]:
        """Status and body of the answer.

        Raises:
            OSError, EOFError: the server cannot be reached, or hung up.
        """
        reader, writer = self._idle.pop() if self._idle else await self._connect()
        data = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nhost: {self._host}\r\ncontent-type: application/json\r\n"
        writer.write(f"{head}content-length: {len(data)}\r\n\r\n".encode() + data)
        status, length, chunked = _head(await reader.readuntil(b"\r\n\r\n"))
        said = await (_chunks(reader) if chunked else reader.readexactly(length))
        self._idle.append((reader, writer))
        return status, said

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self._host, self._port)

    def close(self) -> None:
        """Let go of the connections."""
        for _, writer in self._idle:
            writer.close()
        self._idle.clear()


def _head(raw: bytes) -> tuple[int, int, bool]:
    """Status, length of the body, and whether it comes in chunks instead."""
    lines = raw.decode("latin-1").lower().split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
    chunked = fields.get("transfer-encoding") == "chunked"
    return int(lines[0].split(" ")[1]), int(fields.get("content-length", 0)), chunked


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    whole = b""
    while size := int(await reader.readline(), 16):
        whole += await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readexactly(2)
    return whole
