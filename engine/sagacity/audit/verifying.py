"""One run of `verify` over one store."""

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sagacity.audit.chains import followed, marks_of
from sagacity.audit.evidence import Evidence
from sagacity.fold import folded
from sagacity.invariants import Broken, Judge
from sagacity.invariants.locks import queue_faults
from sagacity.invariants.tables import effect_faults, saga_faults
from sagacity.model.canonical import NULL, Json
from sagacity.model.lines import Applied, Line, Locked, read_line
from sagacity.model.record import Effect, Record
from sagacity.model.unit import ChainHead, LogRow, ObjectState
from sagacity.model.views import Finding, Verdict
from sagacity.runtime.rollbacks import lines_of
from sagacity.store.base import SagaRow, Store


async def verify(store: Store, evidence: Evidence | None = None, *, chains_only: bool = False) -> Verdict:
    """Check the chains, that folding the log gives the tables, and every invariant that the log can tell.

    Read-only. Each finding names the invariant, and the line, saga, object or key it is about.

    Args:
        store: opened.
        evidence: what there is beside the store: ledgers, histories, anchors, definitions.
        chains_only: only the chains and the anchors.
    """
    evidence = evidence or Evidence()
    audit = Audit(store, evidence)
    marks, audit.findings = marks_of(evidence)
    audit.blame("evidence", evidence.broken)
    heads = await store.heads()
    lines = await followed(store, heads, marks, audit.findings)
    if chains_only:
        return Verdict(lines=lines, sagas=0, objects=0, findings=tuple(audit.findings))
    sagas = await audit.sagas(heads)
    objects = await audit.objects()
    await audit.rest()
    return Verdict(lines=lines, sagas=sagas, objects=objects, findings=tuple(audit.findings))


@dataclass(slots=True)
class Known:
    """What the log says of participants.

    Attributes:
        states: last applied version and state; the state is None where its line was erased.
        queues: who stands where: (saga, mode, granted, since).
        asked: every object that was ever to be locked.
    """

    states: dict[str, tuple[int, Json | None]] = field(default_factory=dict)
    queues: dict[str, list[tuple[UUID, str, bool, datetime]]] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)

    def told(self, line: Line) -> None:
        """Take in what a line says of objects."""
        if isinstance(line, Applied):
            self.changed(line.object, line.version, NULL if line.own_table else line.after)
        elif isinstance(line, Locked):
            self.asked.update(lock.object for lock in line.locks)

    def changed(self, object: str, version: int, state: Json | None) -> None:
        """An object got a version."""
        if version > self.states.get(object, (0, NULL))[0]:
            self.states[object] = (version, state)

    def locked(self, record: Record) -> None:
        """Take in which queues a saga stands in."""
        for lock in record.locks:
            place = (record.id, lock.mode, lock.granted, record.updated_at)
            self.queues.setdefault(lock.object, []).append(place)


class Audit:
    """One run over one store."""

    def __init__(self, store: Store, evidence: Evidence) -> None:
        self.store = store
        self.evidence = evidence
        self.findings: list[Finding] = []
        self.known = Known()
        self.judge = Judge(
            tenant=store.tenant, lane=store.lane, flows=evidence.flows, exact=False, chains=False
        )
        self.judge.ledgers.remembers = bool(evidence.calls)
        self._effects: _Effects | None = None

    def blame(self, check: str, broken: Iterable[Broken]) -> None:
        """Something is wrong."""
        self.findings += [
            Finding(invariant=b.invariant, check=check, where=b.where, what=b.why) for b in broken
        ]

    def blame_one(self, invariant: str, where: str, what: str) -> None:
        """Something is wrong with a table."""
        self.blame("tables", [Broken(invariant=invariant, where=where, why=what)])

    # --- sagas ------------------------------------------------------------------------------------

    async def stories(self, heads: Sequence[ChainHead]) -> AsyncIterator[tuple[UUID, list[LogRow]]]:
        """Every saga with its lines."""
        story: list[LogRow] = []
        async for row in self.store.rows_by_saga(heads):
            if story and story[0].saga != row.saga:
                yield story[0].saga, story
                story = []
            story.append(row)
        if story:
            yield story[0].saga, story

    def lines(self, story: Iterable[LogRow]) -> list[Line] | None:
        """The story as values, judged; None where lines were erased or cannot be read."""
        found: list[Line] = []
        whole = True
        for row in story:
            line = _read(row)
            self.blame("story", self.judge.row(row, line))
            if line is None:
                whole = False
                if row.object is not None and row.version is not None:
                    self.known.changed(row.object, row.version, None)
                continue
            found.append(line)
            self.known.told(line)
        return found if whole else None

    async def sagas(self, heads: Sequence[ChainHead]) -> int:
        """Compare every saga's row with its story; returns how many sagas the log has."""
        count = 0
        self._effects = _Effects(self.store.effects_whole())
        rows = self.store.sagas_whole()
        row = await anext(rows, None)
        async for saga, story in self.stories(heads):
            count += 1
            while row is not None and row.record.id < saga:
                await self._unlogged(row)
                row = await anext(rows, None)
            stored = row if row is not None and row.record.id == saga else None
            if stored is not None:
                row = await anext(rows, None)
            await self._saga(saga, story, stored)
        while row is not None:
            await self._unlogged(row)
            row = await anext(rows, None)
        return count

    async def _unlogged(self, row: SagaRow) -> None:
        """A saga row without lines in the cut: new since then, or written past the log."""
        if not await self.store.history(row.record.id, limit=1):
            self.blame_one("I6", f"saga {row.record.id}", "the table has it, the log does not")

    async def _saga(self, saga: UUID, story: list[LogRow], stored: SagaRow | None) -> None:
        lines = self.lines(story)
        record = self.judge.forget(saga)
        if lines is None or record is None:
            return
        if stored is not None and stored.record.seq > record.seq:
            # It has moved on since the cut: read both again.
            stored = await self.store.saga(saga)
            record = folded(saga, lines_of(await self.store.history(saga)))
        self.known.locked(record)
        if stored is not None and stored.record.seq > record.seq:
            return
        self.blame("tables", saga_faults(record, stored.record if stored else None, saga))
        if stored is not None:
            await self._compensations(record)

    async def _compensations(self, record: Record) -> None:
        assert self._effects is not None
        faults = list(effect_faults(record, await self._effects.behind(record.id)))
        if faults:  # its rows may be of another moment than its row: read them, and the row, once more
            row = await self.store.saga(record.id)
            if row is None or row.record.seq != record.seq:
                return
            faults = list(effect_faults(record, await self.store.effects_of(record.id)))
        self.blame("tables", faults)

    # --- objects ----------------------------------------------------------------------------------

    async def objects(self) -> int:
        """Compare every object's row with what the log says of it; returns how many rows there are."""
        count = 0
        seen: set[str] = set()
        async for stored in self.store.objects_whole():
            count += 1
            seen.add(stored.object)
            await self._state(stored)
            await self._queue(stored)
        for name in sorted({*self.known.states, *self.known.queues} - seen):
            self.blame_one("I6", f"object {name}", "the log has it, the table does not")
        return count

    async def _state(self, stored: ObjectState) -> None:
        version, state = self.known.states.get(stored.object, (0, NULL))
        if stored.version == version and state in (None, stored.state):
            return
        if stored.version > version and await self._moved_on(stored):
            return
        what = f"version {stored.version} in the table, {version} in the log, or another state"
        self.blame_one("I5" if stored.version == version else "I6", f"object {stored.object}", what)

    async def _moved_on(self, stored: ObjectState) -> bool:
        """Its line lies behind the cut."""
        versions = {v.version: v.state for v in await self.store.object_history(stored.object)}
        return versions.get(stored.version, object()) in (stored.state, None)

    async def _queue(self, stored: ObjectState) -> None:
        name = stored.object
        for invariant, saga, why in queue_faults(stored):
            self.blame_one(invariant, f"object {name}", f"saga {saga}: {why}")
        expected = {(saga, mode) for saga, mode, _, _ in self.known.queues.get(name, [])}
        found = {(entry.saga, entry.mode) for entry in stored.queue}
        for saga, _ in sorted(expected ^ found):
            if await self._disagree(name, saga):
                what = f"its lock queue and saga {saga} do not agree"
                self.blame_one("I24" if (saga, _) in found else "I22", f"object {name}", what)

    async def _disagree(self, name: str, saga: UUID) -> bool:
        """Queue and saga, both as they are now, still tell different things."""
        before = await self.store.saga(saga)
        while True:
            queued = any(view.object == name for view in await self.store.locks(saga=saga))
            row = await self.store.saga(saga)
            if (row and row.record.seq) == (before and before.record.seq):
                break
            before = row  # it moved between the two readings
        asked = row is not None and any(lock.object == name for lock in row.record.locks)
        return queued != asked

    # --- what stands beside the store ---------------------------------------------------------------

    async def rest(self) -> None:
        """Whatever can only be said at the end, and the evidence from outside."""
        self.blame("ledger", self.judge.ledger(self.evidence.calls))
        self.blame("story", self.judge.end())
        told = self.judge.clients
        missing = [
            op.id
            for op in self.evidence.ops
            if op.result == "ok" and op.id not in told.messages and op.id not in told.sagas
        ]
        stored = await self.store.known_messages(missing) if missing else frozenset()
        self.blame("history", self.judge.history(self.evidence.ops, stored=stored))


class _Effects:
    """All compensation rows, walked along with the sagas."""

    def __init__(self, rows: AsyncIterator[tuple[UUID, Effect]]) -> None:
        self._rows = rows
        self._next: tuple[UUID, Effect] | None = None
        self._begun = False

    async def behind(self, saga: UUID) -> list[Effect]:
        """The rows of a saga; sagas are asked for in order."""
        if not self._begun:
            self._begun = True
            self._next = await anext(self._rows, None)
        found: list[Effect] = []
        while self._next is not None and self._next[0] <= saga:
            if self._next[0] == saga:
                found.append(self._next[1])
            self._next = await anext(self._rows, None)
        return found


def _read(row: LogRow) -> Line | None:
    """The line as a value; None where it was erased, or cannot be read (the judge says why)."""
    if row.data is None:
        return None
    try:
        return read_line(row.kind, row.data, at=row.at, object=row.object, version=row.version)
    except (KeyError, ValueError, TypeError):
        return None
