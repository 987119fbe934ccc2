"""Putting a dry run away: its sagas, whole, into lane `dry` of the real store, and its report with them.

Each saga is one unit with all its lines, on a chain of that lane, so it is hashed, folded and verified like
any other. What it says of versions is set to that lane's own, where runs of one object stand one behind
the other.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from sagacity.chain import extend
from sagacity.definition.flow import Flow
from sagacity.dry.play import Played
from sagacity.dry.report import Report, read_report
from sagacity.errors import Conflict, NotFound
from sagacity.fold import folded
from sagacity.ids import new_id
from sagacity.model import lines as L
from sagacity.model.canonical import NULL
from sagacity.model.record import Status
from sagacity.model.unit import Batch, BatchRefused, ChainHead, Message, ObjectChange, Unit, WorkerInfo
from sagacity.model.views import HistoryLine
from sagacity.store.base import Store

_TRIES = 20
_LEASE = timedelta(minutes=1)


async def shelve(store: Store, flow: Flow, played: Played, report: Report) -> None:
    """Store a run's sagas, the one that was rehearsed last: it is there when all are.

    Args:
        store: opened, of the live lane; what is written is seen in lane `dry` only.
        flow: what was rehearsed.
        played: what came of it.
        report: what is told of it.

    Raises:
        StoreError: the database refused. Conflict: others store dry runs of the same objects without end.
    """
    dry = store.beside("dry")
    worker = new_id()
    now = await dry.now()
    info = WorkerInfo(
        id=worker,
        name="dry run",
        definitions={flow.name: (flow.version, flow.hash)},
        started_at=now,
        lease_until=now + _LEASE,
    )
    head = await dry.register(info)
    try:
        last = [saga for saga in played.records if saga != played.saga]
        for saga in (*last, played.saga):
            head = await _put(dry, played, saga, report, head=head, worker=worker)
    finally:
        await dry.unregister(worker)


async def _put(
    dry: Store, played: Played, saga: UUID, report: Report, *, head: ChainHead, worker: UUID
) -> ChainHead:
    for _ in range(_TRIES):
        unit = await _unit(dry, played, saga, report)
        rows = extend(head, [unit], tenant=dry.tenant, lane=dry.lane)
        batch = Batch(head=head, rows=rows, units=(unit,), worker=worker)
        try:
            await dry.write(batch)
        except BatchRefused:
            continue  # another run of the same objects was stored meanwhile: behind it, then
        return batch.new_head
    raise Conflict(f"dry run {played.saga} could not be stored: others of the same objects come all the time")


async def _unit(dry: Store, played: Played, saga: UUID, report: Report) -> Unit:
    lines = [
        L.read_line(x.kind, x.data or "null", at=x.at, object=x.object, version=x.version)
        for x in played.stories[saga]
    ]
    changes: list[ObjectChange] = []
    states = await dry.objects([line.object for line in lines if isinstance(line, L.Applied)])
    stored = [_as_stored(line, played, saga) for line in lines]
    for n, line in enumerate(stored):
        if isinstance(line, L.Applied):
            version = states[line.object].version + 1
            stored[n] = replace(line, version=version)
            state = NULL if line.own_table else line.after
            changes.append(ObjectChange(object=line.object, version=version, state=state))
    is_run = saga == played.saga
    said = report.json() if is_run else NULL
    stored.append(L.Rehearsed(run=played.saga, verdict=report.verdict, data=said, at=lines[-1].at))
    record = folded(saga, stored)
    started = stored[0]
    assert isinstance(started, L.Started)
    return Unit(
        record=record,
        before=None,
        epoch=1,
        release=True,
        lines=tuple(stored),
        changes=tuple(changes),
        effects=record.effects,
        start=_start(saga, started),
    )


def _as_stored(line: L.Line, played: Played, saga: UUID) -> L.Line:
    """A run's key is its own; and a run that did not come to an end holds no lock."""
    if isinstance(line, L.Started):
        return replace(line, key=f"{line.key} dry {saga.hex[-12:]}")
    record = played.records[saga]
    over = record.status in (Status.COMMITTED, Status.ROLLED_BACK, Status.ABANDONED)
    return replace(line, locks=()) if isinstance(line, L.Locked) and not over else line


def _start(saga: UUID, line: L.Started) -> Message:
    return Message(
        id=saga,
        kind="start",
        saga=saga,
        definition=line.definition,
        version=line.version,
        key=line.key,
        request_hash=line.request_hash,
        data=line.input,
        arrived_at=line.at,
    )


async def stored_report(store: Store, run: UUID) -> Report:
    """The report of a dry run that was stored.

    Args:
        store: opened, of any lane.
        run: the report's own `run`.

    Raises:
        NotFound: no dry run has this id, or what it said was erased.
    """
    found = _rehearsed(await store.beside("dry").history(run))
    if found is None:
        raise NotFound(f"there is no dry run {run} in this store")
    return found


def _rehearsed(story: Sequence[HistoryLine]) -> Report | None:
    for line in reversed(story):
        if line.kind == L.Rehearsed.kind and line.data is not None:
            said = L.read_line(line.kind, line.data, at=line.at)
            assert isinstance(said, L.Rehearsed)
            return None if said.data == NULL else read_report(said.data)
    return None
