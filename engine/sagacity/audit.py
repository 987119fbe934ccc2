"""`verify` and `rebuild`: the log is the truth, and the tables are what folding it gives.

Both read one consistent cut (all chain heads in one statement) and page up to it, so they can
run beside working workers. What has moved on since the cut is looked at again before it is
called wrong.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from sagacity.chain import ChainCheck
from sagacity.fold import folded
from sagacity.model.canonical import NULL, Json, canonical
from sagacity.model.lines import Applied, Line, Locked, Started, read_line
from sagacity.model.record import Effect, Record
from sagacity.model.unit import ChainHead, LogRow, Message, ObjectState, QueueEntry
from sagacity.model.views import Finding, Verdict
from sagacity.runtime.rollbacks import erased, lines_of
from sagacity.store.base import SagaRow, Store

_PAGE = 500


@dataclass(slots=True)
class _Objects:
    """What the log says of participants.

    Attributes:
        states: last applied version and state; the state is None where its line was erased.
        queues: who stands where: (saga, mode, granted, since).
        asked: every object that was ever to be locked.
    """

    states: dict[str, tuple[int, Json | None]] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
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
        self.versions[object] = self.versions.get(object, 0) + 1
        if version > self.states.get(object, (0, NULL))[0]:
            self.states[object] = (version, state)

    def locked(self, record: Record) -> None:
        """A saga holds, or queues for, its locks."""
        for lock in record.locks:
            place = (record.id, lock.mode, lock.granted, record.updated_at)
            self.queues.setdefault(lock.object, []).append(place)


async def verify(store: Store) -> Verdict:
    """Check the chains, and that folding the log gives the tables. Read-only.

    Each finding names the line, saga or object it is about.
    """
    audit = _Audit(store)
    heads = await store.heads()
    lines = sum([await audit.chain(head) for head in heads])
    sagas = await audit.sagas(heads)
    objects = await audit.objects()
    return Verdict(lines=lines, sagas=sagas, objects=objects, findings=tuple(audit.findings))


class _Audit:
    """One run over one store."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.findings: list[Finding] = []
        self.known = _Objects()

    def blame(self, check: str, where: str, what: str) -> None:
        """Something is wrong."""
        self.findings.append(Finding(check=check, where=where, what=what))

    # --- chains -----------------------------------------------------------------------------------

    async def chain(self, head: ChainHead) -> int:
        """Follow one chain to its head; returns how many lines it has."""
        check = ChainCheck(head.id, tenant=self.store.tenant, lane=self.store.lane)
        lines, last_is_bad = 0, False
        async for row in self.store.chain_rows(head.id, upto=head.position):
            lines += 1
            fault = check.follow(row)
            last_is_bad = fault is not None
            if fault is not None:
                self.blame("chain", place(row), fault)
        if check.position != head.position or (check.hash != head.hash and not last_is_bad):
            what = f"the head says {head.position}, the lines end at {check.position}: its end was changed"
            self.blame("chain", f"chain {head.id}", what)
        return lines

    # --- sagas ------------------------------------------------------------------------------------

    async def stories(self, heads: Sequence[ChainHead]) -> AsyncIterator[tuple[UUID, list[LogRow]]]:
        """Every saga with its lines; gaps in the sequence are told."""
        story: list[LogRow] = []
        async for row in self.store.rows_by_saga(heads):
            if story and story[0].saga != row.saga:
                yield story[0].saga, story
                story = []
            if row.seq != len(story):
                what = f"seq {row.seq} stands where {len(story)} is expected: a line is missing or twice"
                self.blame("story", place(row), what)
            story.append(row)
        if story:
            yield story[0].saga, story

    def lines(self, story: Iterable[LogRow]) -> list[Line] | None:
        """The story as values; None where lines were erased or cannot be read."""
        found: list[Line] = []
        whole = True
        for row in story:
            if row.data is None:
                whole = False
                if row.object is not None and row.version is not None:
                    self.known.changed(row.object, row.version, None)
                continue
            try:
                line = read_line(row.kind, row.data, at=row.at, object=row.object, version=row.version)
            except (KeyError, ValueError) as error:
                what = f"it cannot be read: {type(error).__name__}: {str(error).splitlines()[0]}"
                self.blame("story", place(row), what)
                whole = False
                continue
            found.append(line)
            self.known.told(line)
        return found if whole else None

    async def sagas(self, heads: Sequence[ChainHead]) -> int:
        """Compare every saga's row with its story; returns how many sagas the log has."""
        rows = self.store.sagas_whole()
        row = await anext(rows, None)
        count = 0
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
            self.blame("tables", f"saga {row.record.id}", "the table has it, the log does not")

    async def _saga(self, saga: UUID, story: list[LogRow], stored: SagaRow | None) -> None:
        lines = self.lines(story)
        if lines is None:
            return
        try:
            record = folded(saga, lines)
        except (ValueError, IndexError, KeyError) as error:
            self.blame("story", f"saga {saga}", f"its lines do not make a saga: {error}")
            return
        if stored is not None and stored.record.seq > record.seq:
            # It has moved on since the cut: read both again.
            stored = await self.store.saga(saga)
            record = folded(saga, lines_of(await self.store.history(saga)))
        self.known.locked(record)
        if stored is None:
            self.blame("tables", f"saga {saga}", "the log has it, the table does not")
        elif stored.record.seq <= record.seq:
            self._compare(record, stored.record)
            if record.effects and tuple(await self.store.effects_of(saga)) != _rows_of(record):
                self.blame("tables", f"saga {saga}", "its compensation rows are not what its lines say")

    def _compare(self, record: Record, stored: Record) -> None:
        if stored == record:
            return
        names = [n for n in Record.__dataclass_fields__ if getattr(stored, n) != getattr(record, n)]
        what = f"{', '.join(names)} in the table is not what its lines say"
        self.blame("tables", f"saga {record.id}", what)

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
            self.blame("tables", f"object {name}", "the log has it, the table does not")
        for name, versions in self.known.versions.items():
            if versions != self.known.states[name][0]:
                self.blame("story", f"object {name}", "one of its versions has no line, or two")
        return count

    async def _state(self, stored: ObjectState) -> None:
        version, state = self.known.states.get(stored.object, (0, NULL))
        if stored.version == version and state in (None, stored.state):
            return
        if stored.version > version and await self._moved_on(stored):
            return
        what = f"version {stored.version} in the table, {version} in the log, or another state"
        self.blame("tables", f"object {stored.object}", what)

    async def _moved_on(self, stored: ObjectState) -> bool:
        """Its line lies behind the cut."""
        versions = {v.version: v.state for v in await self.store.object_history(stored.object)}
        return versions.get(stored.version, object()) in (stored.state, None)

    async def _queue(self, stored: ObjectState) -> None:
        name = stored.object
        expected = {(saga, mode) for saga, mode, _, _ in self.known.queues.get(name, [])}
        found = {(entry.saga, entry.mode) for entry in stored.queue}
        for saga, _ in sorted(expected ^ found):
            if await self._disagree(name, saga):
                self.blame("tables", f"object {name}", f"its lock queue and saga {saga} do not agree")

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


def place(row: LogRow) -> str:
    """Where a line stands, for people."""
    return f"chain {row.chain} position {row.position} (saga {row.saga}, seq {row.seq}, {row.kind})"


def _rows_of(record: Record) -> tuple[Effect, ...]:
    """Effects as their compensation rows have them: the rest lies in the saga's row."""
    return tuple(replace(effect, landed=False, children=()) for effect in record.effects)


async def rebuild(store: Store, into: Store) -> Verdict:
    """Fold the log of `store` into `into`, an empty store, and verify the result.

    Raises:
        Conflict: `into` is not empty.
    """
    audit = _Audit(store)
    heads = await store.heads()
    records: list[Record] = []
    starts: list[Message] = []
    async for saga, story in audit.stories(heads):
        lines = audit.lines(story)
        if lines is not None:
            record = folded(saga, lines)
            records.append(record)
            starts.append(_start(saga, lines[0]))
            audit.known.locked(record)
        elif (row := await store.saga(saga)) is not None and erased(row.record):
            # Its lines do not tell any more; what is left of it is its row, and its key must stay taken.
            records.append(row.record)
            starts += [message for message in await store.messages(saga) if message.kind == "start"]
    await into.load(_pages(store, heads), records, _states(audit.known), heads, starts)
    verdict = await verify(into)
    return replace(verdict, findings=(*audit.findings, *verdict.findings))


async def _pages(store: Store, heads: Sequence[ChainHead]) -> AsyncIterator[Sequence[LogRow]]:
    page: list[LogRow] = []
    for head in heads:
        async for row in store.chain_rows(head.id, upto=head.position):
            page.append(row)
            if len(page) == _PAGE:
                yield page
                page = []
    if page:
        yield page


def _start(saga: UUID, line: Line) -> Message:
    assert isinstance(line, Started)
    parent = {"parent": str(line.parent), "parent_step": line.parent_step} if line.parent else None
    return Message(
        id=saga,
        kind="start",
        saga=saga,
        definition=line.definition,
        version=line.version,
        key=line.key,
        request_hash=line.request_hash,
        data=line.input,
        payload=canonical(parent),
        arrived_at=line.at,
    )


def _states(objects: _Objects) -> list[ObjectState]:
    """Object rows as the log tells them; queues with holders first, then by when they began to wait."""
    found: list[ObjectState] = []
    for name in sorted({*objects.states, *objects.queues, *objects.asked}):
        version, state = objects.states.get(name, (0, NULL))
        places = sorted(objects.queues.get(name, []), key=lambda p: (not p[2], p[3], p[0]))
        queue = tuple(
            QueueEntry(saga=saga, mode="exclusive" if mode == "exclusive" else "shared", ticket=n, since=at)
            for n, (saga, mode, _, at) in enumerate(places, 1)
        )
        found.append(ObjectState(object=name, version=version, state=state or NULL, queue=queue))
    return found
