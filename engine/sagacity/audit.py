"""`verify` and `rebuild`: the log is the truth, and the tables are what folding it gives.

Both read one consistent cut (all chain heads in one statement) and page up to it, so they can
run beside working workers.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from sagacity.chain import ChainCheck
from sagacity.fold import folded
from sagacity.model.canonical import NULL, Json, canonical
from sagacity.model.lines import Applied, Line, Locked, Started, read_line
from sagacity.model.record import Effect, Record
from sagacity.model.unit import ChainHead, LogRow, Message, ObjectState, QueueEntry
from sagacity.model.views import Finding, Verdict
from sagacity.runtime.rollbacks import lines_of
from sagacity.store.base import SagaRow, Store

_PAGE = 500


@dataclass(slots=True)
class _Objects:
    """What the log says of participants: last applied state, and who stands in which queue."""

    states: dict[str, tuple[int, Json]] = field(default_factory=dict)
    queues: dict[str, list[tuple[UUID, str, bool, Any]]] = field(default_factory=dict)
    versions: dict[str, set[int]] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)

    def told(self, line: Line) -> None:
        """Take in what a line says of objects."""
        if isinstance(line, Applied):
            self._applied(line)
        elif isinstance(line, Locked):
            self.asked.update(lock.object for lock in line.locks)

    def _applied(self, line: Applied) -> None:
        self.versions.setdefault(line.object, set()).add(line.version)
        if line.version > self.states.get(line.object, (0, NULL))[0]:
            self.states[line.object] = (line.version, NULL if line.own_table else line.after)

    def locked(self, record: Record) -> None:
        for lock in record.locks:
            place = (record.id, lock.mode, lock.granted, record.updated_at)
            self.queues.setdefault(lock.object, []).append(place)


async def verify(store: Store) -> Verdict:
    """Check the chains, and that folding the log gives the tables. Read-only.

    Each finding names the line, saga or object it is about.
    """
    heads = await store.heads()
    findings: list[Finding] = []
    lines = 0
    for head in heads:
        lines += await _chain(store, head, findings)
    objects = _Objects()
    sagas = await _sagas(store, heads, objects, findings)
    count = await _objects(store, objects, findings)
    return Verdict(lines=lines, sagas=sagas, objects=count, findings=tuple(findings))


async def _chain(store: Store, head: ChainHead, findings: list[Finding]) -> int:
    check = ChainCheck(head.id, tenant=store.tenant, lane=store.lane)
    lines = 0
    async for row in store.chain_rows(head.id, upto=head.position):
        lines += 1
        fault = check.follow(row)
        if fault is not None:
            findings.append(Finding(check="chain", where=_place(row), what=fault))
    if check.position != head.position or (check.hash != head.hash and not _broken(findings, head)):
        what = f"the head says {head.position}, the lines end at {check.position}"
        findings.append(Finding(check="chain", where=f"chain {head.id}", what=f"{what}: its end was changed"))
    return lines


def _broken(findings: Sequence[Finding], head: ChainHead) -> bool:
    return any(f.where.startswith(f"chain {head.id} position {head.position} ") for f in findings)


def _place(row: LogRow) -> str:
    return f"chain {row.chain} position {row.position} (saga {row.saga}, seq {row.seq}, {row.kind})"


async def _stories(
    store: Store, heads: Sequence[ChainHead], findings: list[Finding]
) -> AsyncIterator[tuple[UUID, list[LogRow]]]:
    """Every saga with its lines, gaps in the sequence reported."""
    story: list[LogRow] = []
    async for row in store.rows_by_saga(heads):
        if story and story[0].saga != row.saga:
            yield story[0].saga, story
            story = []
        if row.seq != len(story):
            what = f"seq {row.seq} stands where {len(story)} is expected: a line is missing or twice"
            findings.append(Finding(check="story", where=_place(row), what=what))
        story.append(row)
    if story:
        yield story[0].saga, story


def _lines(story: Iterable[LogRow], findings: list[Finding]) -> list[Line] | None:
    """The story as values; None where lines were erased or cannot be read."""
    found: list[Line] = []
    for row in story:
        if row.data is None:
            return None
        try:
            line = read_line(row.kind, row.data, at=row.at, object=row.object, version=row.version)
        except (KeyError, ValueError) as error:
            what = f"it cannot be read: {type(error).__name__}: {str(error).splitlines()[0]}"
            findings.append(Finding(check="story", where=_place(row), what=what))
            return None
        found.append(line)
    return found


async def _sagas(store: Store, heads: Sequence[ChainHead], objects: _Objects, findings: list[Finding]) -> int:
    rows = store.sagas_whole()
    row = await anext(rows, None)
    count = 0
    async for saga, story in _stories(store, heads, findings):
        count += 1
        while row is not None and row.record.id < saga:
            await _unlogged(store, row, findings)
            row = await anext(rows, None)
        stored = row if row is not None and row.record.id == saga else None
        if stored is not None:
            row = await anext(rows, None)
        await _saga(store, saga, story, stored, objects, findings)
    while row is not None:
        await _unlogged(store, row, findings)
        row = await anext(rows, None)
    return count


async def _unlogged(store: Store, row: SagaRow, findings: list[Finding]) -> None:
    """A saga row without lines in the cut: new since then, or written past the log."""
    if not await store.history(row.record.id, limit=1):
        what = "the table has it, the log does not"
        findings.append(Finding(check="tables", where=f"saga {row.record.id}", what=what))


async def _saga(
    store: Store,
    saga: UUID,
    story: list[LogRow],
    stored: SagaRow | None,
    objects: _Objects,
    findings: list[Finding],
) -> None:
    lines = _lines(story, findings)
    if lines is None:
        return
    try:
        record = folded(saga, lines)
    except (ValueError, IndexError, KeyError) as error:
        what = f"its lines do not make a saga: {error}"
        findings.append(Finding(check="story", where=f"saga {saga}", what=what))
        return
    for line in lines:
        objects.told(line)
    if stored is not None and stored.record.seq > record.seq:
        record = folded(saga, lines_of(await store.history(saga)))
        stored = await store.saga(saga)
    objects.locked(record)
    if stored is None:
        findings.append(
            Finding(check="tables", where=f"saga {saga}", what="the log has it, the table does not")
        )
        return
    _compare(record, stored.record, findings)
    if record.effects and tuple(await store.effects_of(saga)) != tuple(map(_row_of, record.effects)):
        what = "its compensation rows are not what its lines say"
        findings.append(Finding(check="tables", where=f"saga {saga}", what=what))


def _row_of(effect: Effect) -> Effect:
    """An effect as its compensation row has it: the rest of it lies in the saga's row."""
    return replace(effect, landed=False, children=())


def _compare(record: Record, stored: Record, findings: list[Finding]) -> None:
    if stored == record:
        return
    names = [name for name in Record.__dataclass_fields__ if getattr(stored, name) != getattr(record, name)]
    what = f"{', '.join(names)} in the table is not what its lines say"
    findings.append(Finding(check="tables", where=f"saga {record.id}", what=what))


async def _objects(store: Store, objects: _Objects, findings: list[Finding]) -> int:
    count = 0
    left = dict(objects.states)
    queues = dict(objects.queues)
    async for stored in store.objects_whole():
        count += 1
        name = stored.object
        version, state = left.pop(name, (0, NULL))
        places = {(saga, mode) for saga, mode, _, _ in queues.pop(name, [])}
        if (stored.version, stored.state) != (version, state) and not _known(objects, stored):
            what = f"version {stored.version} in the table, {version} in the log, or another state"
            findings.append(Finding(check="tables", where=f"object {name}", what=what))
        if {(e.saga, e.mode) for e in stored.queue} != places:
            what = "its lock queue is not what the log says"
            findings.append(Finding(check="tables", where=f"object {name}", what=what))
    for name in (*left, *queues):
        findings.append(Finding(check="tables", where=f"object {name}", what="the table lacks it"))
    for name, versions in objects.versions.items():
        if len(versions) != max(versions):
            findings.append(Finding(check="story", where=f"object {name}", what="a version is missing"))
    return count


def _known(objects: _Objects, stored: ObjectState) -> bool:
    """Its line lies behind the cut: the object moved on while we looked."""
    return stored.version > objects.states.get(stored.object, (0, NULL))[0] and bool(objects.states)


async def rebuild(store: Store, into: Store) -> Verdict:
    """Fold the log of `store` into `into`, an empty store, and verify the result.

    Raises:
        Conflict: `into` is not empty.
    """
    heads = await store.heads()
    findings: list[Finding] = []
    objects = _Objects()
    records: list[Record] = []
    starts: list[Message] = []
    async for saga, story in _stories(store, heads, findings):
        lines = _lines(story, findings)
        if lines is None:
            continue
        record = folded(saga, lines)
        records.append(record)
        starts.append(_start(saga, lines[0]))
        objects.locked(record)
        for line in lines:
            objects.told(line)
    await into.load(_pages(store, heads), records, _states(objects), heads, starts)
    verdict = await verify(into)
    return Verdict(
        lines=verdict.lines,
        sagas=verdict.sagas,
        objects=verdict.objects,
        findings=(*findings, *verdict.findings),
    )


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
        found.append(ObjectState(object=name, version=version, state=state, queue=queue))
    return found
