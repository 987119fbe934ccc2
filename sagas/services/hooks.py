"""Web hooks that are owed until somebody acknowledges them.

A hook is written to a file before it is sent and again when it is acknowledged, so it outlives the service
and its receiver alike. The hooks of one order go out strictly one after another; orders do not wait for
each other.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import orjson

from sagas.services.ledger import Journal

IN_FLIGHT = 32
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 1.0
_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """One signal for one order; `id` is the same on every delivery, `key` is the order's id."""

    id: str
    key: str
    name: str
    data: dict[str, str]


class Outlet:
    """Delivers the hooks of one service, at least once each, in order per order.

    Anything but a 2xx means "again": after 0.05 s, then twice as long each time, up to 1 s, for ever. When
    the receiver cannot be reached at all, the whole outlet pauses in the same rhythm, because hundreds of
    orders knocking at a dead port help nobody.
    """

    def __init__(self, folder: Path, *, service: str, url: str | None = None) -> None:
        """Open the outlet's files in `folder`; `url` wins over the one that was last told."""
        self._journal = Journal(folder / f"{service}.hooks.jsonl")
        self._address = folder / f"{service}.hooks.json"
        self._queues: dict[str, deque[Hook]] = {}
        self._pauses: dict[str, float] = {}
        self._ready: asyncio.Queue[str] = asyncio.Queue()
        self._open = asyncio.Event()
        self._pause = FIRST_PAUSE
        self._owed = 0
        self._known: set[str] = set()
        self._resume()
        self.url: str | None = None
        self.point_at(url or self._told())

    def _resume(self) -> None:
        acked = {line["id"] for line in self._journal.found if line["kind"] == "acked"}
        for line in self._journal.found:
            if line["kind"] != "hook":
                continue
            self._known.add(line["id"])
            if line["id"] not in acked:
                self._queue(Hook(id=line["id"], key=line["key"], name=line["name"], data=line["data"]))

    def _told(self) -> str | None:
        if not self._address.exists():
            return None
        url = orjson.loads(self._address.read_bytes())["url"]
        return None if url is None else str(url)

    @property
    def owed(self) -> int:
        """How many hooks nobody has acknowledged yet."""
        return self._owed

    def point_at(self, url: str | None) -> None:
        """Send hooks to `url` from now on; `None` keeps them here. The address outlives the service.

        Raises:
            ValueError: `url` is not an HTTP address.
        """
        if url is not None:
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError(f"{url!r} is not an address like http://127.0.0.1:8000")
            url = url.rstrip("/")
        self.url = url
        fresh = self._address.with_suffix(".tmp")
        fresh.write_bytes(orjson.dumps({"url": url}))
        fresh.replace(self._address)
        self._pause = FIRST_PAUSE
        self._pauses.clear()
        self._reopen()

    def owe(self, hooks: Iterable[Hook]) -> None:
        """Take hooks over, in their order; a hook that is already known is passed by."""
        fresh = [hook for hook in hooks if hook.id not in self._known]
        if not fresh:
            return
        self._journal.append(*({"kind": "hook", **asdict(hook)} for hook in fresh))
        for hook in fresh:
            self._known.add(hook.id)
            self._queue(hook)

    def _queue(self, hook: Hook) -> None:
        self._owed += 1
        queue = self._queues.setdefault(hook.key, deque())
        queue.append(hook)
        if len(queue) == 1:
            self._ready.put_nowait(hook.key)

    async def deliver(self) -> None:
        """Deliver until cancelled, at most `IN_FLIGHT` hooks at once."""
        limits = httpx2.Limits(max_connections=IN_FLIGHT, max_keepalive_connections=IN_FLIGHT)
        async with (
            httpx2.AsyncClient(limits=limits, timeout=_TIMEOUT, trust_env=False) as client,
            asyncio.TaskGroup() as group,
        ):
            for _ in range(IN_FLIGHT):
                group.create_task(self._carry(client))

    async def _carry(self, client: httpx2.AsyncClient) -> None:
        while True:
            key = await self._ready.get()
            await self._open.wait()
            url = self.url
            if url is None:
                self._ready.put_nowait(key)
                continue
            try:
                acknowledged = await _post(client, url, self._queues[key][0])
            except httpx2.HTTPError:
                self._ready.put_nowait(key)
                self._shut_for_a_while()
                continue
            self._pause = FIRST_PAUSE
            if acknowledged:
                self._acknowledge(key)
            else:
                self._put_off(key)

    def _acknowledge(self, key: str) -> None:
        queue = self._queues[key]
        self._journal.append({"kind": "acked", "id": queue.popleft().id})
        self._owed -= 1
        self._pauses.pop(key, None)
        if queue:
            self._ready.put_nowait(key)
        else:
            del self._queues[key]

    def _put_off(self, key: str) -> None:
        pause = self._pauses.get(key, FIRST_PAUSE)
        self._pauses[key] = min(2 * pause, LONGEST_PAUSE)
        asyncio.get_running_loop().call_later(pause, self._ready.put_nowait, key)

    def _shut_for_a_while(self) -> None:
        # Many deliveries fail together when a receiver dies: only the first of them lengthens the pause.
        if not self._open.is_set():
            return
        self._open.clear()
        asyncio.get_running_loop().call_later(self._pause, self._reopen)
        self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def _reopen(self) -> None:
        if self.url is None:
            self._open.clear()
        else:
            self._open.set()


async def _post(client: httpx2.AsyncClient, url: str, hook: Hook) -> bool:
    body = {"id": hook.id, "definition": "Order", "key": hook.key, "name": hook.name, "data": hook.data}
    answer = await client.post(
        f"{url}/v1/signals", content=orjson.dumps(body), headers={"content-type": "application/json"}
    )
    return answer.is_success
