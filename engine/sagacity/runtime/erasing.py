"""Erasing what a saga knew: the one change that the append-only log lets through.

The lines stay, with their digests, so the chain still verifies; what they said is gone, together
with the saga's input and results and what its messages carried. Whoever erases is a worker for a
moment, for only a chain's owner writes lines.
"""

from datetime import timedelta
from uuid import UUID

from sagacity.errors import Conflict, NotFound, RefusedAct
from sagacity.fold import fold
from sagacity.ids import IdSource
from sagacity.model import lines as L
from sagacity.model.record import Record
from sagacity.model.unit import BatchRefused, ChainHead, Unit, WorkerInfo
from sagacity.store.base import Store

_LEASE = timedelta(minutes=1)
_KEPT = frozenset(
    kind.kind
    for kind in (
        *(L.Locked, L.Granted, L.Intent, L.Spawned, L.Slept, L.Awaiting, L.TimedOut, L.Joined),
        *(L.NotTried, L.Interrupted, L.Adopted, L.ChildEnded, L.RollbackAsked, L.Committed, L.Erased),
        *(L.Paused, L.Resumed, L.Skipped, L.Forced, L.LockReleased),
    )
)
"""Lines that hold nothing of the user's: names of steps and objects, instants, ids."""


async def erase(store: Store, saga: UUID, *, reason: str, actor: str | None, ids: IdSource) -> int:
    """Erase what the lines of a saga say, and of the saga that rolled it back; returns how many were erased.

    Raises:
        NotFound: no such saga. RefusedAct: it is not over, or its rollback is not. Conflict: a worker has
            one of them in hand just now: ask again for the rest.
    """
    linked = await store.rolled_back_by(saga)
    if linked is None:
        return await _erase(store, saga, reason=reason, actor=actor, ids=ids)
    # It was given a copy of all that this one knew, and goes first: while it runs, it needs that.
    first = await _erase(store, linked, reason=reason, actor=actor, ids=ids)
    return first + await _erase(store, saga, reason=reason, actor=actor, ids=ids)


async def _erase(store: Store, saga: UUID, *, reason: str, actor: str | None, ids: IdSource) -> int:
    row = await store.saga(saga)
    if row is None and saga not in await store.statuses([saga]):
        raise NotFound(f"no saga {saga}")
    if row is None or not row.record.status.final:
        raise RefusedAct("only a saga that is over can be erased: it still needs what it knows")
    seqs = await _to_erase(store, saga)
    if not seqs:
        return 0
    now = await store.now()
    worker = ids()
    info = WorkerInfo(id=worker, name="erase", definitions={}, started_at=now, lease_until=now + _LEASE)
    head = await store.register(info)
    try:
        line = L.Erased(saga=saga, seqs=seqs, reason=reason, actor=actor, at=now)
        await _write(store, saga, line, head, worker)
    finally:
        await store.unregister(worker)
    return len(seqs)


async def _to_erase(store: Store, saga: UUID) -> tuple[int, ...]:
    """Lines with something of the user's in them."""
    found = [line for line in await store.history(saga) if line.data is not None and line.kind not in _KEPT]
    objects = await store.objects([line.object for line in found if line.object is not None])
    # The line of an object's present version says what the object itself says: without it, it could
    # not be rebuilt, and nothing would be hidden.
    return tuple(
        line.seq for line in found if line.object is None or line.version != objects[line.object].version
    )


async def _write(store: Store, saga: UUID, line: L.Erased, head: ChainHead, worker: UUID) -> None:
    claimed = await store.reclaim(saga, worker)
    if claimed is None or claimed.mail:
        raise Conflict(f"a worker has saga {saga} in hand, or has yet to read what came for it: try again")
    before = claimed.record
    record: Record = fold(before, line)
    unit = Unit(
        record=record,
        before=before.revision,
        epoch=claimed.epoch,
        arrivals=claimed.arrivals,
        release=True,
        lines=(line,),
        effects=record.effects,
    )
    try:
        await store.erase(saga, line.seqs, unit, head, worker)
    except BatchRefused:
        raise Conflict(f"something came in for saga {saga} meanwhile: try again") from None
