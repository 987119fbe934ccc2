"""The judge: fed with lines as they were committed, it says what may not be so. It never raises on bad data.

Lines may come batch by batch in commit order (`batch`: everything is exact), or one by one in any order
that keeps each chain's own (`row`: chain after chain, or saga after saga); a saga's lines are put back into
their sequence as they come. Tables, ledgers and clients' histories are compared whenever they are handed in.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from uuid import UUID

from sagacity.chain import ChainCheck
from sagacity.definition.flow import Flow
from sagacity.fold import begun, fold
from sagacity.invariants.broken import Broken
from sagacity.invariants.by_hand import i41_by_hand
from sagacity.invariants.clients import Clients, Op
from sagacity.invariants.ledger import Call, Ledgers
from sagacity.invariants.locks import Locks
from sagacity.invariants.machine import Relation
from sagacity.invariants.moves import judged
from sagacity.invariants.objects import Objects
from sagacity.invariants.tables import effect_faults, lock_faults, object_faults, saga_faults
from sagacity.model import lines as L
from sagacity.model.record import Effect, Lane, Record
from sagacity.model.unit import LogRow, ObjectState

_FREEING = (L.Committed, L.RolledBack, L.Restarted, L.Abandoned)


@dataclass(slots=True)
class _Story:
    """One saga's lines so far. `blind`: lines were erased or cannot be read, so it cannot be folded on."""

    next: int = 0
    record: Record | None = None
    early: dict[int, LogRow] = field(default_factory=dict)
    last: L.Line | None = None
    applied: list[str] = field(default_factory=list)
    blind: bool = False


class Judge:
    """See the module.

    Args:
        tenant, lane: whose log it is.
        flows: (name, version) → definition; where given, every move must be one that it has.
        exact: lines come in commit order (by `batch`).
        chains: also follow the hash chains.
    """

    def __init__(
        self,
        *,
        tenant: str,
        lane: str,
        flows: Mapping[tuple[str, int], Flow] | None = None,
        exact: bool = True,
        chains: bool = True,
    ) -> None:
        self._scope = (tenant, lane)
        self._relations = {pin: (flow.hash, Relation(flow)) for pin, flow in (flows or {}).items()}
        self._chains: dict[int, ChainCheck] | None = {} if chains else None
        self._stories: dict[UUID, _Story] = {}
        self._waiting: list[tuple[Record, L.Line]] | None = None
        # In the dry lane every run begins at the live state, and looks at locks without taking them: between
        # two of its sagas neither versions nor locks say anything.
        self._alone = lane == Lane.DRY
        self.objects = Objects(in_order=exact, linked=not self._alone)
        self.locks = Locks(exact=exact)
        self.clients = Clients()
        self.ledgers = Ledgers(prefix=f"{tenant}:{lane}:")
        self.lines = 0

    @property
    def records(self) -> dict[UUID, Record]:
        """Every saga as its lines tell it."""
        return {saga: story.record for saga, story in self._stories.items() if story.record is not None}

    def record(self, saga: UUID) -> Record | None:
        """One saga as its lines tell it; None: it has none, or they cannot be read."""
        story = self._stories.get(saga)
        return None if story is None or story.blind else story.record

    def forget(self, saga: UUID) -> Record | None:
        """`record`, and nothing more is remembered of it: for logs that do not fit into memory."""
        record = self.record(saga)
        story = self._stories.get(saga)
        if record is None or story is None or story.early or story.applied:
            return record  # it is not whole: what is missing is told at the end
        self.ledgers.stands(record)
        del self._stories[saga]
        return record

    # --- the log --------------------------------------------------------------------------------------

    def batch(self, rows: Iterable[LogRow]) -> list[Broken]:
        """The lines of one batch, in commit order: what it frees is free before what it asks for is asked."""
        self._waiting = []
        found = [broken for row in rows for broken in self._row(row)]
        waiting, self._waiting = self._waiting, None
        for record, line in waiting:
            found += self.locks.granted(record, line.at)
        return found

    def row(self, row: LogRow, line: L.Line | None = None) -> list[Broken]:
        """One line; `line` spares reading it again where the caller has."""
        return list(self._row(row, line))

    def _row(self, row: LogRow, line: L.Line | None = None) -> Iterator[Broken]:
        self.lines += 1
        if self._chains is not None:
            yield from self._chained(row)
        story = self._stories.get(row.saga)
        if story is None:
            story = self._stories[row.saga] = _Story()
        if row.seq < story.next or row.seq in story.early:
            yield _at(row, "I4", f"seq {row.seq} stands there twice")
            return
        if row.seq > story.next:
            story.early[row.seq] = row
            return
        yield from self._told(story, row, line)
        while story.early and (following := story.early.pop(story.next, None)) is not None:
            yield from self._told(story, following)

    def _chained(self, row: LogRow) -> Iterator[Broken]:
        """I1, I2, I3: positions are dense, and each line's hash follows from the one before it."""
        assert self._chains is not None
        check = self._chains.get(row.chain)
        if check is None:
            tenant, lane = self._scope
            check = self._chains[row.chain] = ChainCheck(row.chain, tenant=tenant, lane=lane)
        position = check.position
        fault = check.follow(row)
        if fault is not None:
            dense = row.position == position + 1
            yield _at(row, "I3" if dense else "I1" if row.position <= position else "I2", fault)

    def heads(self) -> dict[int, tuple[int, bytes]]:
        """Where each chain stands that was seen: (position, hash)."""
        return {chain: (c.position, c.hash) for chain, c in (self._chains or {}).items()}

    def _told(self, story: _Story, row: LogRow, line: L.Line | None = None) -> Iterator[Broken]:
        """The saga's next line."""
        story.next = row.seq + 1
        read = self._read(row) if line is None else line
        if isinstance(read, Broken):
            yield read
        if not isinstance(read, L.Line):
            story.blind = True
            if row.object is not None and row.version is not None:
                yield from self.objects.erased(row.saga, row.object, row.version)
            return
        line = read
        if isinstance(line, L.Applied):
            self.objects.wrote(row.saga, line.object, line.version)
            yield from self.objects.told(row.saga, line)
        yield from self._heard(row, line)
        if story.blind:
            return
        before = story.record
        why_not = i41_by_hand(story.last, line)
        story.last = line
        if why_not is not None:
            yield _at(row, "I41", why_not)
        try:
            for invariant, why in self._judged(before, line):
                yield _at(row, invariant, why)
            story.record = begun(row.saga, line) if before is None else fold(before, line)
        except Exception as error:
            story.blind = True
            yield _at(row, "I5", f"its lines do not make a saga: {type(error).__name__}: {error}")
            return
        yield from self._whole(story, row, before, line)
        yield from self._holds(before, story.record, line)

    def _read(self, row: LogRow) -> L.Line | Broken | None:
        """The line as a value; None where it was erased."""
        if row.data is None:
            return None
        try:
            return L.read_line(row.kind, row.data, at=row.at, object=row.object, version=row.version)
        except Exception as error:
            return _at(row, "I5", f"it cannot be read: {type(error).__name__}: {str(error).splitlines()[0]}")

    def _heard(self, row: LogRow, line: L.Line) -> Iterator[Broken]:
        """I11, I30: starts are unique by key, messages are taken once."""
        if isinstance(line, L.Started):
            yield from self.clients.started(row.saga, line.definition, line.key, _where(row))
        elif isinstance(line, L.Intent):
            self.ledgers.intended(row.saga, line)
        message = getattr(line, "message", None)
        if message is not None:
            yield from self.clients.consumed(message, _where(row), row.saga)

    def _judged(self, before: Record | None, line: L.Line) -> Iterator[tuple[str, str]]:
        if before is None:
            return
        yield from judged(before, line)
        pinned = self._relations.get((before.definition, before.version))
        if pinned is None:
            return
        if pinned[0] != before.definition_hash:
            if line.kind == L.Intent.kind:
                yield "I13", f"{before.definition}@{before.version} was changed while its sagas ran"
            return
        yield from pinned[1].judged(before, line)

    def _whole(self, story: _Story, row: LogRow, before: Record | None, line: L.Line) -> Iterator[Broken]:
        """I26: a saga's changes stand together, right before its end: all that is staged, or none."""
        if isinstance(line, L.Applied):
            story.applied.append(line.object)
            return
        if not story.applied and not isinstance(line, L.Committed):
            return
        if not isinstance(line, L.Committed):
            yield _at(row, "I26", f"{line.kind} between its changes and its end")
        elif before is not None:
            staged = {s.object for s in before.staged} or {r.object for r in before.restores}
            if before.rolls_back is not None:
                staged = {r.object for r in before.restores}
            if sorted(staged) != sorted(story.applied):
                missing = ", ".join(sorted(staged ^ set(story.applied))) or "one of them twice"
                yield _at(row, "I26", f"what was staged is not what was applied: {missing}")
        story.applied = []

    def _holds(self, before: Record | None, record: Record, line: L.Line) -> Iterator[Broken]:
        if before is not None and isinstance(line, _FREEING):
            self._reads(before)
            self.locks.freed(before, line.at)
            if self._waiting is not None:
                self._waiting = [w for w in self._waiting if w[0].id != record.id]
        elif before is not None and isinstance(line, L.LockReleased):
            self._taken(before, line)
        elif isinstance(line, L.Granted) or (isinstance(line, L.Locked) and line.granted):
            if self._waiting is not None:
                self._waiting.append((record, line))
            else:
                yield from self.locks.granted(record, line.at)

    def _taken(self, before: Record, line: L.LockReleased) -> None:
        """One lock is not its own any more; what it saw under it counts from when it has it again."""
        gone = tuple(lock for lock in before.locks if lock.object == line.object)
        self.locks.freed(replace(before, locks=gone), line.at)
        for n, (record, granted) in enumerate(self._waiting or ()):
            if record.id == before.id and self._waiting is not None:
                kept = tuple(lock for lock in record.locks if lock.object != line.object)
                self._waiting[n] = (replace(record, locks=kept), granted)

    def _reads(self, record: Record) -> None:
        """In commit order: what the saga saw through its shared locks up to its end."""
        if not self.locks.exact:
            return
        for lock in record.locks:
            if lock.granted and lock.mode == "shared":
                self.objects.read(record.id, lock.object, self.objects.version_of(lock.object))

    # --- other evidence -------------------------------------------------------------------------------

    def tables(
        self,
        *,
        sagas: Mapping[UUID, Record] | None = None,
        effects: Mapping[UUID, Iterable[Effect]] | None = None,
        objects: Mapping[str, ObjectState] | None = None,
        whole: bool = False,
    ) -> list[Broken]:
        """I5, I6, I21-I24: rows as stored at this very moment, against the lines so far.

        Args:
            sagas: rows of sagas.
            effects: compensation rows of some of them.
            objects: rows of objects with their queues.
            whole: these are all rows there are, so what is missing is missing.
        """
        found: list[Broken] = []
        sagas, objects = sagas or {}, objects or {}
        names = {*sagas, *self._stories} if whole else set(sagas)
        for saga in sorted(names):
            story = self._stories.get(saga)
            if story is None or not story.blind:
                found += saga_faults(story.record if story else None, sagas.get(saga), saga)
        for saga, rows in (effects or {}).items():
            record = self.record(saga)
            if record is not None:
                found += effect_faults(record, tuple(rows))
        records = self.records
        for state in objects.values():
            found += object_faults(state, self.objects.version_of(state.object), records)
        if whole:
            for record in records.values():
                found += lock_faults(record, objects)
        return found

    def ledger(self, calls: Iterable[Call]) -> list[Broken]:
        """I16, I18: more of the outside's ledger, in its own order."""
        return [broken for call in calls for broken in self.ledgers.called(call)]

    def history(self, ops: Iterable[Op], *, stored: Collection[UUID] = ()) -> list[Broken]:
        """I7, I11: what clients were told; `stored` are the ids that lie in the inbox."""
        return list(self.clients.compared(ops, stored))

    def anchored(self, chain: int, position: int, hash: bytes) -> list[Broken]:
        """I1, I3: a chain's head as it was when it was anchored outside; ask once the chain was followed."""
        head = self.heads().get(chain, (0, b""))
        if head[0] < position:
            why = f"it was anchored at {position}, and ends at {head[0]}: history was lost"
            return [Broken(invariant="I1", where=f"chain {chain}", why=why)]
        if head[0] == position and head[1] != hash:
            why = f"at {position} it was anchored with another hash: history was rewritten"
            return [Broken(invariant="I3", where=f"chain {chain} position {position}", why=why)]
        return []

    def end(self) -> list[Broken]:
        """What can only be said once every line was seen: gaps, cycles, overlaps, what the ledger tells."""
        found: list[Broken] = []
        for saga, story in self._stories.items():
            if story.early:
                why = f"seq {story.next} is missing, {min(story.early)} is there"
                found.append(Broken(invariant="I2", where=f"saga {saga}", saga=saga, why=why))
            if story.applied:
                why = f"{', '.join(story.applied)} changed, and its end is missing"
                found.append(Broken(invariant="I26", where=f"saga {saga}", saga=saga, why=why))
            if story.record is not None:
                self.ledgers.stands(story.record)
        found += self.objects.gaps()
        found += self.objects.cycles()
        found += () if self._alone else self.locks.overlaps()
        found += self.ledgers.compared()
        return found


def _where(row: LogRow) -> str:
    return f"chain {row.chain} position {row.position} (saga {row.saga}, seq {row.seq}, {row.kind})"


def _at(row: LogRow, invariant: str, why: str) -> Broken:
    return Broken(invariant=invariant, where=_where(row), saga=row.saga, why=why)
