"""Sending anchors away, and refusing to go on where the store has lost what was anchored.

Every round first holds the newest anchor against the store: a database that was restored or failed over to
an older state, or whose history was rewritten, is found before a new anchor could hide it.
"""

from dataclasses import dataclass
from datetime import timedelta

from sagacity.anchor import Anchor, anchor_of, behind, log_line, read_anchors
from sagacity.clock import Clock
from sagacity.errors import ConfigError, HistoryLost, SinkUnavailable, StoreUnavailable
from sagacity.runtime.sinks import Sink
from sagacity.store.base import Store
from sagacity.telemetry import tell

_AT_ONCE = 1 << 20
"""Bytes of lines that are sent at once."""

_NEWEST = 100
"""How many anchors are looked through for the last one that carried the lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One round. `anchor` is None where somebody else was at it; `lines` counts what was sent along."""

    anchor: Anchor | None
    lines: int = 0


class Anchoring:
    """See the module.

    Args:
        store: opened.
        sink: where anchors go.
        key: what they are signed with.
        lines: send every line of the log too, each before the anchor that covers it.
        strict: a store that is behind its newest anchor is refused; False: it is only told.
    """

    def __init__(
        self, store: Store, sink: Sink, key: bytes, *, lines: bool = False, strict: bool = True
    ) -> None:
        self._store = store
        self._sink = sink
        self._key = key
        self._lines = lines
        self._strict = strict

    async def check(self) -> None:
        """Hold the newest anchor against the store.

        Raises:
            HistoryLost: lines that were anchored are not there any more, or are others now.
            ConfigError: the newest anchor was signed with another key, or was edited.
            SinkUnavailable: the sink does not answer.
        """
        for anchor in (await self._known(1))[-1:]:
            await self._held_against(anchor)

    async def _known(self, newest: int) -> list[Anchor]:
        lines = await self._sink.anchors(newest=newest)
        return read_anchors(lines, tenant=self._store.tenant, lane=self._store.lane)

    async def _held_against(self, anchor: Anchor) -> None:
        fault = anchor.fault(self._key)
        if fault is not None:
            raise ConfigError(f"the newest anchor ({anchor.at}): {fault}")
        why = behind(anchor, await self._store.heads()) or await self._rewritten(anchor)
        if why is None:
            return
        if self._strict:
            raise HistoryLost(f"{why}; look with `sagacity verify --anchor`, and see docs/guarantees.md")
        tell("history.lost", why=why)

    async def _rewritten(self, anchor: Anchor) -> str | None:
        for chain, (position, hash) in sorted(anchor.heads.items()):
            async for page in self._store.chain_links(chain, after=position - 1, upto=position):
                if page[0][10].hex() != hash:
                    return f"chain {chain} has another line at {position} than was anchored ({anchor.at})"
        return None

    async def send(self) -> Sent:
        """One round: check, send the lines that are due, then the anchor that covers them.

        Raises:
            As `check`.
        """
        async with self._sink.held() as ours:
            if not ours:
                return Sent(anchor=None)
            known = await self._known(_NEWEST if self._lines else 1)
            if known:
                await self._held_against(known[-1])
            heads = await self._store.heads()
            sent = 0
            if self._lines:
                done = next((anchor.heads for anchor in reversed(known) if anchor.lines), {})
                for head in heads:
                    sent += await self._send_lines(head.id, done.get(head.id, (0, ""))[0], head.position)
            anchor = anchor_of(
                heads,
                tenant=self._store.tenant,
                lane=self._store.lane,
                at=await self._store.now(),
                key=self._key,
                lines=self._lines,
            )
            await self._sink.append(anchor.line())
            return Sent(anchor=anchor, lines=sent)

    async def _send_lines(self, chain: int, after: int, upto: int) -> int:
        """In order; at least once: the next round goes on behind the last anchor that covers lines."""
        tenant, lane, waiting = self._store.tenant, self._store.lane, bytearray()
        if after >= upto:
            return 0
        async for page in self._store.chain_links(chain, after=after, upto=upto):
            for line in page:
                waiting += log_line(line, chain=chain, tenant=tenant, lane=lane)
                if len(waiting) >= _AT_ONCE:
                    await self._sink.append(bytes(waiting))
                    waiting.clear()
        if waiting:
            await self._sink.append(bytes(waiting))
        return upto - after

    async def run(self, clock: Clock, every: timedelta) -> None:
        """A round every so often; while sink or database are away it is told, and tried again.

        Raises:
            HistoryLost, ConfigError: as `check`.
        """
        while True:
            await clock.sleep(every.total_seconds())
            try:
                await self.send()
            except (SinkUnavailable, StoreUnavailable) as error:
                tell("anchor.failed", error=str(error))
