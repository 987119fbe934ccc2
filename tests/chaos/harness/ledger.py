"""The outside world as one process: each effect once per key, every call written down before it is answered.

Its file is the judge of double and lost effects, so it shares no code with the engine. It can be told to be
bad: slow, broken (5xx before anything is done), hanging, doing the thing and never answering, or answering
with an error now and doing the thing later. `python -m tests.chaos.harness.ledger FILE` prints its address.
"""

import asyncio
import json
import os
import random
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import unquote

from tests.chaos.harness.work import die_with_parent

_OUTCOMES = {
    **dict.fromkeys(("done", "undone"), "landed"),
    **dict.fromkeys(("refused", "late"), "refused"),
    **dict.fromkeys(("repeat", "empty"), "void"),
}
"""What a kind of line is to `sagacity verify --ledger`."""

_REASONS = {200: "OK", 404: "Not Found", 409: "Conflict", 500: "Internal Server Error", 503: "Unavailable"}


@dataclass(slots=True)
class Faults:
    """How bad it is: chances from 0 to 1 for each call of an effect, delays in seconds.

    Attributes:
        slow: chance of a delay between `least` and `most`.
        broken: 503, nothing done.
        hang: nothing done, and no answer for `hang_for`.
        lost: done, and the connection is closed without an answer.
        late: 500 now, done after `late_after`.
    """

    slow: float = 0.0
    least: float = 0.0
    most: float = 0.0
    broken: float = 0.0
    hang: float = 0.0
    hang_for: float = 60.0
    lost: float = 0.0
    late: float = 0.0
    late_after: float = 0.5


@dataclass(slots=True)
class Request:
    """One HTTP request, as far as it matters here."""

    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any] = field(default_factory=dict)


class World:
    """What has happened, by key."""

    def __init__(self, path: str, *, service: str, seed: int) -> None:
        self.service = service
        self.random = random.Random(seed)
        self.faults = Faults()
        self.answers: dict[str, Any] = {}
        self.undone: set[str] = set()
        self.barred: set[str] = set()
        self.refused: dict[str, str] = {}
        self.later: set[asyncio.Task[None]] = set()
        self.pending: Counter[str] = Counter()
        self._n = 0
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def note(self, kind: str, action: str, key: str, undoes: str | None, about: str) -> None:
        """One line, handed to the system before anybody is answered."""
        self._n += 1
        line = {
            "n": self._n,
            "external": self.service,
            "call": action,
            "outcome": _OUTCOMES[kind],
            "kind": kind,
            "key": key,
            "undoes": undoes,
            "about": about,
            "amount": None,
            "source": None,
            "target": None,
            "detail": None,
            "at": time.time(),
        }
        os.write(self._file, json.dumps(line).encode() + b"\n")

    def do(self, key: str, undoes: str | None, body: dict[str, Any]) -> tuple[int, Any]:
        """The effect itself: once per key, barred by its own undo."""
        about, action = str(body["about"]), str(body["action"])
        if key in self.answers:
            self.note("repeat", action, key, undoes, about)
            return 200, self.answers[key]
        if undoes is not None:
            return self._undo(key, undoes, action, about)
        if key in self.barred:
            self.note("late", action, key, None, about)
            return 409, {"detail": "this was undone before it came"}
        if body.get("refuse"):
            self.note("refused", action, key, None, about)
            return 409, {"detail": "no"}
        self.note("done", action, key, None, about)
        self.answers[key] = {"number": f"{about}/{action}"}
        return 200, self.answers[key]

    def _undo(self, key: str, undoes: str, action: str, about: str) -> tuple[int, Any]:
        self.barred.add(undoes)
        kind = "empty" if undoes not in self.answers else "repeat" if undoes in self.undone else "undone"
        self.note(kind, action, key, undoes, about)
        if kind == "undone":
            self.undone.add(undoes)
        self.answers[key] = {}
        return 200, {}

    def look(self, key: str) -> tuple[int, Any]:
        """A probe. `landed` is null while a call under this key is still on its way here."""
        landed = True if key in self.answers else None if self.pending[key] else False
        return 200, {"landed": landed, "answer": self.answers.get(key)}


class Server:
    """HTTP/1.1 over plain streams, so that a connection can be cut at any point."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await self._request(reader)) is not None:
                answer = await self._answer(request)
                if answer is None:
                    break
                status, value = answer
                data = json.dumps(value).encode()
                head = f"HTTP/1.1 {status} {_REASONS[status]}\r\ncontent-type: application/json\r\n"
                writer.write(f"{head}content-length: {len(data)}\r\n\r\n".encode() + data)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _request(self, reader: asyncio.StreamReader) -> Request | None:
        head = await reader.readuntil(b"\r\n\r\n") if not reader.at_eof() else b""
        if not head:
            return None
        first, *rest = head.decode().split("\r\n")
        method, path, _ = first.split(" ")
        headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in rest if line)}
        length = int(headers.get("content-length", "0"))
        body = json.loads(await reader.readexactly(length)) if length else {}
        return Request(method, path, headers, body)

    async def _answer(self, request: Request) -> tuple[int, Any] | None:
        if request.path == "/health":
            return 200, {"faults": asdict(self.world.faults)}
        if request.path == "/faults":
            self.world.faults = Faults(**request.body)
            return 200, asdict(self.world.faults)
        if request.method == "GET" and request.path.startswith("/effects/"):
            return self.world.look(unquote(request.path.removeprefix("/effects/")))
        if request.method == "POST" and request.path == "/effects":
            return await self._effect(request)
        return 404, {"detail": "there is nothing here"}

    async def _effect(self, request: Request) -> tuple[int, Any] | None:
        key = request.headers["idempotency-key"]
        self.world.pending[key] += 1
        try:
            return await self._badly(request)
        finally:
            self.world.pending[key] -= 1

    async def _badly(self, request: Request) -> tuple[int, Any] | None:
        world, faults = self.world, self.world.faults
        key, undoes = request.headers["idempotency-key"], request.headers.get("undoes")
        draw = world.random.random
        if draw() < faults.slow:
            await asyncio.sleep(world.random.uniform(faults.least, faults.most))
        if draw() < faults.broken:
            world.note("broken", request.body["action"], key, undoes, request.body["about"])
            return 503, {"detail": "broken"}
        if draw() < faults.hang:
            world.note("hung", request.body["action"], key, undoes, request.body["about"])
            await asyncio.sleep(faults.hang_for)
            return None
        if draw() < faults.late:
            task = asyncio.create_task(self._later(faults.late_after, key, undoes, request.body))
            world.later.add(task)
            task.add_done_callback(world.later.discard)
            return 500, {"detail": "it went wrong, or did it"}
        answer = world.do(key, undoes, request.body)
        return None if draw() < faults.lost else answer

    async def _later(self, seconds: float, key: str, undoes: str | None, body: dict[str, Any]) -> None:
        self.world.pending[key] += 1
        await asyncio.sleep(seconds)
        self.world.pending[key] -= 1
        self.world.do(key, undoes, body)


async def main(path: str, service: str, seed: int) -> None:
    server = await asyncio.start_server(Server(World(path, service=service, seed=seed)).serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    print(json.dumps({"url": f"http://127.0.0.1:{port}"}), flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    die_with_parent()
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
