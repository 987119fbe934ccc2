"""Tell of what came to need a human with time: nobody wrote a line when it did.

A saga that becomes stuck says so with its line. One that is overdue, retried for long, paused and forgotten
does nothing at all: that is why it matters. So a worker looks, at intervals, at what the attention page would
show, and puts a notice into the outbox for each thing that was not there before: once while it lasts, and
anew when it ends and comes again.
"""

from datetime import datetime
from itertools import count
from uuid import UUID

from sagacity.decide.attention import Limits
from sagacity.model.canonical import canonical
from sagacity.model.unit import NO_LINE, Notice
from sagacity.runtime.concerns import Concern, concerns
from sagacity.store.base import Store

BY_LINE = frozenset({"stuck", "undo_failed"})
"""Kinds that are told of with the line that made them."""
_MAY_PASS = frozenset({"overdue", "unserved"})
"""Kinds that a worker which starts, or takes over, ends within moments: told of when seen twice in a row."""


class Alarm:
    """Looks when it is called, if it is this worker's turn.

    The first of the living workers looks every time, the second every second time, and so on: of the first
    one nobody knows whether it has listeners. Whoever looks twice writes the same rows.

    Args:
        store: where it looks, and whose outbox it fills.
        worker: whose alarm it is.
        limits: from when on something matters.
    """

    def __init__(self, store: Store, worker: UUID, *, limits: Limits | None = None) -> None:
        self._store = store
        self._worker = worker
        self._limits = limits or Limits()
        self._calls = count(1)
        self._seen: frozenset[str] = frozenset()

    async def __call__(self) -> int:
        """How many notices were put into the outbox."""
        if next(self._calls) % (1 + await self._turn()):
            return 0
        found, cut = await concerns(self._store, self._limits)
        lasting = {_key(one): one for one in found if one.kind not in BY_LINE}
        passing = frozenset(key for key, one in lasting.items() if one.kind in _MAY_PASS)
        early, self._seen = passing - self._seen, passing
        now = await self._store.now()
        return await self._store.tell_of(
            [_notice(key, one, now) for key, one in lasting.items()],
            early=early,
            unsure=tuple(_prefix(kind) for kind in sorted(cut)),
        )

    async def _turn(self) -> int:
        """How many living workers come before this one."""
        living = sorted(worker.id for worker in await self._store.workers())
        return living.index(self._worker) if self._worker in living else 0


def _prefix(kind: str) -> str:
    return f"attention:{kind}:"


def _key(one: Concern) -> str:
    """The same while it lasts, whatever the latest error says."""
    return f"{_prefix(one.kind)}{one.saga}:{one.mark}"


def _notice(key: str, one: Concern, now: datetime) -> Notice:
    return Notice(
        key=key,
        saga=one.saga,
        seq=NO_LINE,
        kind="attention",
        data=canonical(
            {
                "definition": one.definition,
                "key": one.key,
                "status": one.status,
                "reason": one.detail,
                "at": one.since,
                "attention": one.kind,
                "fingerprint": one.fingerprint,
                "state": one.state,
                "plan": one.plan,
                "told_at": now,
            }
        ),
    )
