"""When a run is over: nothing of it moves by itself any more.

There is no waiting "to be sure". The run looks twice: if between two looks no saga moved and no
bell rang, and in between nobody outside owed anything, then nothing can come any more.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from sagacity.cli.run.rows import rows_of
from sagacity.clock import Clock
from sagacity.model.record import FINAL, Phase, Record, Status, WaitsFor
from sagacity.model.views import SagaSummary
from sagacity.orchestrator import Orchestrator
from sagacity.store.base import SagaRow

FAR = timedelta(seconds=60)
"""A timer due later than this does not keep a run open."""

Marks = dict[UUID, tuple[int, int]]
"""Of each saga what would differ had anything moved: its revision, and the bells rung."""

_CHUNK = 500
_BEHIND = frozenset({WaitsFor.LOCK, WaitsFor.CHILD})
_PAUSE = 0.2
_SHARE = 4.0


def rests(saga: SagaSummary | Record, now: datetime) -> bool:
    """Whether only somebody outside, or a far timer, can move it."""
    if saga.status in FINAL or saga.status is Status.STUCK:
        return True
    if saga.status is not Status.WAITING:
        return False
    if saga.waits_for is WaitsFor.TIMER:
        return saga.due_at is not None and saga.due_at - now > FAR
    return saga.waits_for in (WaitsFor.SIGNAL, WaitsFor.APPROVAL)


@dataclass(kw_only=True)
class Watch:
    """The sagas of one run, and where each stood at the last look."""

    sagas: Orchestrator
    clock: Clock
    last: dict[UUID, SagaSummary] = field(default_factory=dict)
    ids: dict[UUID, bool] = field(default_factory=dict)
    _open: set[UUID] = field(default_factory=set)

    def add(self, saga: UUID, *, new: bool) -> None:
        """One more saga to watch; `new` where this run started it."""
        if saga not in self.ids:
            self.ids[saga] = new
            self._open.add(saga)

    def counts(self) -> dict[str, int]:
        """Sagas per status at the last look; those not looked at yet as `pending`."""
        found = {status.value: 0 for status in Status}
        for saga in self.ids:
            seen = self.last.get(saga)
            found[seen.status.value if seen else Status.PENDING.value] += 1
        return found

    async def look(self) -> list[SagaSummary]:
        """See where every saga stands that has not ended; those that may still move."""
        now = await self.sagas.store.now()
        moving: list[SagaSummary] = []
        for chunk in _chunks(sorted(self._open)):
            for saga, summary in (await self.sagas.statuses(chunk)).items():
                self.last[saga] = summary
                if summary.status in FINAL:
                    self._open.discard(saga)
                elif not rests(summary, now):
                    moving.append(summary)
        return moving

    async def pace(self, began: float) -> None:
        """Wait for the next look: longer when looking was slow, so that it never takes more than a fifth."""
        took = self.clock.monotonic() - began
        await self.clock.sleep(max(_PAUSE, _SHARE * took))

    async def at_rest(self) -> Marks | None:
        """What would differ had anything moved, if everything rests; None if something may still move."""
        store = self.sagas.store
        resting = _Resting(self.sagas, await store.now(), await rows_of(store, self._open))
        marks: Marks = {}
        for saga in sorted(self._open):
            row = await resting.row(saga)
            if row is None or not await resting.holds(saga):
                return None
            marks[saga] = (row.record.revision, row.arrivals)
        return marks


def may_rest(moving: Sequence[SagaSummary]) -> bool:
    """Whether those that may still move at most stand behind others: it is worth a closer look."""
    return all(saga.status is Status.WAITING and saga.waits_for in _BEHIND for saga in moving)


class _Resting:
    """One closer look: also behind locks and children, and into unread mail."""

    def __init__(self, sagas: Orchestrator, now: datetime, rows: Mapping[UUID, SagaRow]) -> None:
        self._sagas = sagas
        self._now = now
        self._rows: dict[UUID, SagaRow | None] = dict(rows)
        self._known: dict[UUID, bool] = {}

    async def row(self, saga: UUID) -> SagaRow | None:
        if saga not in self._rows:
            self._rows[saga] = await self._sagas.store.saga(saga)
        return self._rows[saga]

    async def holds(self, saga: UUID) -> bool:
        """Whether nothing will move `saga`; one that stands behind itself is about to be freed."""
        if saga not in self._known:
            self._known[saga] = False
            self._known[saga] = await self._judged(saga)
        return self._known[saga]

    async def _judged(self, saga: UUID) -> bool:
        row = await self.row(saga)
        if row is None:
            return False
        record = row.record
        if record.status in FINAL:
            return True
        if row.owner is not None or row.arrivals != row.heard:
            return False
        if rests(record, self._now):
            return True
        if record.status is not Status.WAITING:
            return False
        if record.waits_for is WaitsFor.LOCK:
            return await self._all_behind(await self._holders(record))
        if record.waits_for is WaitsFor.CHILD:
            runs = (run for run in record.runs if run.phase is Phase.CHILDREN)
            return await self._all_behind({child for run in runs for child in run.children})
        return False

    async def _holders(self, record: Record) -> set[UUID]:
        """Those in front of `record` in any queue it stands in."""
        found: set[UUID] = set()
        for lock in record.locks:
            for place in await self._sagas.locks(object=lock.object):
                if place.saga == record.id:
                    break
                found.add(place.saga)
        return found

    async def _all_behind(self, others: set[UUID]) -> bool:
        """Whether somebody who has not ended is in the way, and all of them rest."""
        blocked = False
        for other in sorted(others):
            row = await self.row(other)
            if row is None or not await self.holds(other):
                return False
            blocked = blocked or row.record.status not in FINAL
        return blocked


def _chunks(ids: Sequence[UUID]) -> Iterable[Sequence[UUID]]:
    return (ids[at : at + _CHUNK] for at in range(0, len(ids), _CHUNK))
