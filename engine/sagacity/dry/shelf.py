"""Putting a dry run away: its sagas, whole, into lane `dry` of the real store, and its report with them.

Each saga is one unit with all its lines, on a chain of that lane, so it is hashed, folded and verified like
any other. What it says of versions is set to that lane's own, where runs of one object stand one behind
the other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

from sagacity.chain import extend
from sagacity.clock import Clock, SystemClock
from sagacity.dry.play import Played
from sagacity.dry.report import Report, read_report
from sagacity.dry.telling import stamped
from sagacity.errors import Conflict, NotFound
from sagacity.fold import folded
from sagacity.ids import new_id
from sagacity.model import lines as L
from sagacity.model.canonical import NULL
from sagacity.model.record import Status
from sagacity.model.unit import (
    Batch,
    BatchRefused,
    ChainHead,
    Message,
    Notice,
    ObjectChange,
    ObjectState,
    Unit,
    WorkerInfo,
)
from sagacity.model.views import HistoryLine
from sagacity.store.base import Store

_TRIES = 20
_LEASE = timedelta(minutes=1)
_AT_ONCE = 64
"""Sagas in one write at the most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A run to be put away."""

    played: Played
    report: Report


class Shelf:
    """Where the dry runs of one process are put away, on one chain of lane `dry`.

    Args:
        store: opened, of the live lane; what is written is seen in lane `dry` only.
        notices: store what would have been told too, stamped, to be sent to the dry outlet.
        clock: says when the lease wants to be prolonged.
    """

    def __init__(self, store: Store, *, notices: bool = False, clock: Clock | None = None) -> None:
        self._dry = store.beside("dry")
        self._notices = notices
        self._clock = clock or SystemClock()
        self._worker: UUID | None = None
        self._head: ChainHead | None = None
        self._since = 0.0

    async def put(self, runs: Sequence[Kept]) -> None:
        """Store runs, all sagas of each; in as few writes as their objects allow.

        Raises:
            StoreError: the database refused. Conflict: others store dry runs of the same objects without end.
        """
        # The one that was rehearsed comes last of its run: it is there when all are.
        sagas = [
            (run, saga)
            for run in runs
            for saga in (*(s for s in run.played.records if s != run.played.saga), run.played.saga)
        ]
        while sagas:
            sagas = sagas[await self._written(sagas) :]

    async def close(self) -> None:
        """Let go of the chain."""
        if self._worker is not None:
            await self._dry.unregister(self._worker)
        self._worker = self._head = None

    async def _written(self, sagas: "Sequence[tuple[Kept, UUID]]") -> int:
        """Store the first of these in one write; returns how many."""
        for _ in range(_TRIES):
            head, worker = await self._chain()
            units = await self._units(sagas)
            rows = extend(head, units, tenant=self._dry.tenant, lane=self._dry.lane)
            batch = Batch(head=head, rows=rows, units=tuple(units), worker=worker)
            try:
                await self._dry.write(batch)
            except BatchRefused:
                continue  # another run of the same objects was stored meanwhile: behind it, then
            self._head = batch.new_head
            return len(units)
        raise Conflict(f"dry run {sagas[0][1]} could not be stored: others of its objects come all the time")

    async def _chain(self) -> tuple[ChainHead, UUID]:
        """Its place in the lane: taken when first needed, and again where it was lost."""
        now = self._clock.monotonic()
        if self._worker is not None and now - self._since > _LEASE.total_seconds() / 3:
            alive = await self._dry.heartbeat(self._worker, _LEASE)
            self._since, self._worker = now, self._worker if alive else None
        if self._worker is None or self._head is None:
            await self._dry.take_over()  # of processes that were killed; nobody else looks after this lane
            self._since, self._worker = now, new_id()
            at = await self._dry.now()
            info = WorkerInfo(
                id=self._worker, name="dry run", definitions={}, started_at=at, lease_until=at + _LEASE
            )
            self._head = await self._dry.register(info)
        return self._head, self._worker

    async def _units(self, sagas: "Sequence[tuple[Kept, UUID]]") -> list[Unit]:
        """Units of the first sagas, up to the one that changes again what one of these changed."""
        told = [(run, saga, _lines(run.played, saga)) for run, saga in sagas[:_AT_ONCE]]
        names = {line.object for _, _, lines in told for line in lines if isinstance(line, L.Applied)}
        states = await self._dry.objects(sorted(names)) if names else {}
        changed: set[str] = set()
        units: list[Unit] = []
        for run, saga, lines in told:
            mine = {line.object for line in lines if isinstance(line, L.Applied)}
            if mine & changed:
                break
            changed |= mine
            unit = _unit(run, saga, lines, states)
            units.append(replace(unit, notices=self._told(run.played, saga)))
        return units

    def _told(self, played: Played, saga: UUID) -> tuple[Notice, ...]:
        return stamped(played.notices, saga=saga, run=played.saga) if self._notices else ()


async def shelve(store: Store, played: Played, report: Report, *, notices: bool = False) -> None:
    """Store one run; see `Shelf`.

    Raises:
        StoreError, Conflict: as there.
    """
    shelf = Shelf(store, notices=notices)
    try:
        await shelf.put([Kept(played=played, report=report)])
    finally:
        await shelf.close()


def _lines(played: Played, saga: UUID) -> list[L.Line]:
    return [
        L.read_line(x.kind, x.data or "null", at=x.at, object=x.object, version=x.version)
        for x in played.stories[saga]
    ]


def _unit(run: Kept, saga: UUID, lines: Sequence[L.Line], states: Mapping[str, ObjectState]) -> Unit:
    played, report = run.played, run.report
    changes: list[ObjectChange] = []
    stored = [_as_stored(line, played, saga) for line in lines]
    for n, line in enumerate(stored):
        if isinstance(line, L.Applied):
            version = states[line.object].version + 1
            stored[n] = replace(line, version=version)
            state = NULL if line.own_table else line.after
            changes.append(ObjectChange(object=line.object, version=version, state=state))
    said = report.json() if saga == played.saga else NULL
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
