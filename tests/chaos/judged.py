"""The judge at the database's side: it sees every batch as it is written, and the tables beside it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from uuid import UUID

import sqlalchemy as sa

from sagacity.clock import Clock
from sagacity.definition.flow import Flow
from sagacity.invariants import Broken, Call, Judge
from sagacity.model.canonical import loaded
from sagacity.model.record import Effect, Record
from sagacity.model.unit import Batch, ChainHead, LogRow, ObjectState, Unit, Written
from sagacity.store import schema
from sagacity.store.base import OwnRow, RowImages
from sagacity.store.memory import MemoryDatabase, MemoryStore
from sagacity.store.rows import effect_of, object_of, record_of
from sagacity.testing.outside import Entry

_IDS: sa.BindParameter[object] = sa.bindparam("ids", expanding=True)
_SAGAS = sa.select(schema.saga).where(schema.saga.c.id.in_(_IDS))
_EFFECTS = (
    sa.select(schema.compensation)
    .where(schema.compensation.c.saga.in_(_IDS))
    .order_by(schema.compensation.c.saga, schema.compensation.c.n)
)
_OBJECTS = sa.select(schema.object).where(schema.object.c.object.in_(_IDS))
"""One database holds one tenant in a simulation; statements are made once, for making them costs most."""


class JudgedStore(MemoryStore):
    """The database, with a judge who is fed with all that is written, at once.

    Attributes:
        found: what was broken, in the order in which it was seen.
        batches: how many were judged.
    """

    def __init__(
        self, database: MemoryDatabase, *, tenant: str, clock: Clock | None, flows: Mapping[str, Flow]
    ) -> None:
        super().__init__(database, tenant=tenant, lane="live", clock=clock)
        pinned = {(name, flow.version): flow for name, flow in flows.items()}
        self.judge = Judge(tenant=tenant, lane="live", flows=pinned)
        self.found: list[Broken] = []
        self._intended: set[str] = set()
        self.batches = 0

    async def write(self, batch: Batch) -> Written:
        written = await super().write(batch)
        await self._judged(batch.rows)
        return written

    async def write_with_rows(
        self,
        *,
        head: ChainHead,
        worker: UUID,
        saga: UUID,
        rows: Sequence[OwnRow],
        compose: Callable[[Mapping[str, RowImages]], Unit],
    ) -> tuple[Written, ChainHead]:
        made: list[Batch] = []

        def composed(images: Mapping[str, RowImages]) -> Unit:
            unit = compose(images)
            made.append(self._batch_of(head, unit, worker))
            return unit

        answer = await super().write_with_rows(
            head=head, worker=worker, saga=saga, rows=rows, compose=composed
        )
        await self._judged(made[-1].rows)
        return answer

    async def _judged(self, rows: Iterable[LogRow]) -> None:
        """I5 and I6 after this very batch, for all that it touched; the judge's own rules for its lines."""
        rows = tuple(rows)
        self._intended.update(loaded(row.data)["key"] for row in rows if row.kind == "intent" and row.data)
        self.batches += 1
        self.found += self.judge.batch(rows)
        sagas, effects, objects = await self._read(lambda conn: _stored(conn, rows))
        self.found += self.judge.tables(sagas=sagas, effects=effects, objects=objects)

    def call(self, entry: Entry) -> None:
        """I14: whatever arrives outside, or is taken back there, has its intent in the log by then."""
        key = entry.undoes or entry.key
        if key not in self._intended:
            self.found.append(Broken(invariant="I14", where=key, why=f"{entry.call} came before its intent"))

    async def judge_whole(self, entries: Iterable[Entry]) -> list[Broken]:
        """At the end: all tables, the outside's ledger, and what only the whole can tell."""
        sagas = {row.record.id: row.record async for row in self.sagas_whole()}
        objects = {state.object: state async for state in self.objects_whole()}
        effects = {saga: await self.effects_of(saga) for saga in sagas}
        found = self.judge.tables(sagas=sagas, effects=effects, objects=objects, whole=True)
        found += self.judge.ledger(called(entry) for entry in entries)
        return [*found, *self.judge.end()]


def _stored(
    conn: sa.Connection, rows: Iterable[LogRow]
) -> tuple[dict[UUID, Record], dict[UUID, list[Effect]], dict[str, ObjectState]]:
    """What stands in the tables of all that these lines are about."""
    rows = tuple(rows)
    ids = sorted({row.saga for row in rows})
    sagas = {row.id: record_of(row) for row in conn.execute(_SAGAS, {"ids": ids})}
    effects: dict[UUID, list[Effect]] = {saga: [] for saga in sagas}
    for row in conn.execute(_EFFECTS, {"ids": ids}):
        effects[row.saga].append(effect_of(row))
    names = {lock.object for record in sagas.values() for lock in record.locks}
    names |= {row.object for row in rows if row.object is not None}
    found = conn.execute(_OBJECTS, {"ids": sorted(names)}) if names else ()
    return sagas, effects, {row.object: object_of(row) for row in found}


def called(entry: Entry) -> Call:
    """A line of the simulated ledger as the checker takes it."""
    return Call(
        external=entry.external,
        call=entry.call,
        key=entry.key,
        outcome=entry.outcome,
        undoes=entry.undoes,
        at=f"{entry.at:.6f}",
    )
