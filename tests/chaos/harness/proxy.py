"""A TCP proxy that misbehaves on demand: delay, throttle, cut after a byte, reset, silence, one-way silence.

It stands between our processes and a server on this machine, and only there.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Line:
    """One connection through the proxy. `up`: towards the server; `down`: back."""

    number: int
    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    up: int = 0
    down: int = 0
    tasks: list["asyncio.Task[None]"] = field(default_factory=list)

    def reset(self) -> None:
        """RST to both ends: what was in flight is gone."""
        for writer in (self.client, self.server):
            sock = writer.get_extra_info("socket")
            if sock is not None and sock.fileno() >= 0:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()


Cut = Callable[[Line, bytes], int | None]
"""Says after how many bytes of this piece, sent to the server, the line is cut; None: not now."""


class Proxy:
    """See the module. `async with Proxy(port) as proxy:`, then change its attributes at will.

    Attributes:
        port: where it listens.
        silent_up, silent_down: bytes of that direction are swallowed, the connection stays.
        delay: seconds that each piece waits.
        rate: bytes a second, each way; 0 is unlimited.
        cut: see `Cut`.
        refuse: new connections are reset at once.
    """

    def __init__(self, to: int) -> None:
        self._to = to
        self.port = 0
        self.silent_up = self.silent_down = False
        self.delay = 0.0
        self.rate = 0
        self.cut: Cut | None = None
        self.refuse = False
        self.lines: list[Line] = []
        self.cuts = 0
        self.count = 0
        self._server: asyncio.Server

    async def __aenter__(self) -> "Proxy":
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.reset()
        await asyncio.sleep(0)

    def lead_to(self, port: int) -> None:
        """New connections go there from now on."""
        self._to = port

    def reset(self) -> None:
        """RST on every line."""
        for line in list(self.lines):
            line.reset()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.count += 1
        try:
            back, server = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            writer.transport.abort()
            return
        line = Line(self.count, writer, server)
        self.lines.append(line)
        if self.refuse:
            line.reset()
        line.tasks = [
            asyncio.create_task(self._pump(line, reader, server, up=True)),
            asyncio.create_task(self._pump(line, back, writer, up=False)),
        ]
        try:
            await asyncio.wait(line.tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in line.tasks:
                task.cancel()
            await asyncio.gather(*line.tasks, return_exceptions=True)
            for end in (writer, server):
                end.close()
            self.lines.remove(line)

    async def _pump(
        self, line: Line, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, up: bool
    ) -> None:
        try:
            while data := await reader.read(1024 if self.rate else 65_536):
                if self.delay:
                    await asyncio.sleep(self.delay)
                if self.rate:
                    await asyncio.sleep(len(data) / self.rate)
                if self.silent_up if up else self.silent_down:
                    continue
                after = self.cut(line, data) if up and self.cut is not None else None
                writer.write(data if after is None else data[:after])
                await writer.drain()
                if after is not None:
                    self.cuts += 1
                    await asyncio.sleep(0.005)  # let what was sent arrive before the reset overtakes it
                    line.reset()
                    return
        except OSError:
            return
