"""Commits that touch the user's own tables: each in a transaction, on a connection and a chain of its own.

In the group, one slow statement of a user would hold up everybody's commit; apart, it holds
up its own saga only.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

from sagacity.clock import Clock
from sagacity.definition.participant import Participant, participant_of, statements
from sagacity.errors import StoreUnavailable
from sagacity.model.record import Staged
from sagacity.model.unit import BatchRefused, ChainHead, HeadMoved, OutcomeUnknown, Unit, Written
from sagacity.runtime.committer import Ack, Lost, fenced, next_holders
from sagacity.store.base import OwnRow, OwnTableError, RowImages, RowsBusy, Store
from sagacity.telemetry import tell
from sagacity.telemetry.watching import Meter

Registry = Mapping[str, type[Participant]]
Compose = Callable[[Mapping[str, RowImages]], Unit]


class Apart:
    """A few chains, each written by one commit at a time; made when first needed."""

    def __init__(
        self,
        store: Store,
        *,
        worker: UUID,
        clock: Clock,
        chains: int,
        freed: Callable[[set[UUID]], None],
        meter: Meter | None = None,
    ) -> None:
        self._store = store
        self._meter = meter
        self._worker = worker
        self._clock = clock
        self._slots = asyncio.Semaphore(chains)
        self._idle: list[ChainHead] = []
        self._freed = freed

    async def submit(self, saga: UUID, rows: Sequence[OwnRow], compose: Compose) -> Ack:
        """Run the statements of `rows` and write the unit that `compose` makes of their images.

        A row that somebody else holds is waited for, in turn with the other sagas that commit so.

        Raises:
            Lost: the unit was refused. OwnTableError: a statement failed; nothing was written.
        """
        while (ack := await self._once(saga, rows, compose)) is None:
            tell("rows.busy", saga=str(saga), objects=[row.object for row in rows])
        return ack

    async def _once(self, saga: UUID, rows: Sequence[OwnRow], compose: Compose) -> Ack | None:
        """None: a row was not let go in time."""
        async with self._slots:
            head = self._idle.pop() if self._idle else await self._store.open_chain(self._worker)
            try:
                ack, head = await self._write(head, saga, rows, compose)
            except (Lost, OwnTableError):
                self._idle.append(head)  # refused: the chain stands where it stood
                raise
            except RowsBusy:
                self._idle.append(head)
                return None
            self._idle.append(head)
            return ack

    async def _write(
        self, head: ChainHead, saga: UUID, rows: Sequence[OwnRow], compose: Compose
    ) -> tuple[Ack, ChainHead]:
        made: list[Unit] = []
        since = 0.0 if self._meter is None else self._clock.monotonic()

        def composed(images: Mapping[str, RowImages]) -> Unit:
            made.append(compose(images))
            return made[-1]

        while True:
            try:
                written, head = await self._store.write_with_rows(
                    head=head, worker=self._worker, saga=saga, rows=rows, compose=composed
                )
            except BatchRefused as refused:
                raise Lost(next(iter(refused.losers.values()))) from None
            except OutcomeUnknown:
                before, head = head.position, await fenced(self._store, self._clock, head, owner=self._worker)
                if head.position == before:
                    continue
                written = Written(arrivals={}, objects={})
            except HeadMoved:
                raise StoreUnavailable(f"chain {head.id} was taken over: the lease had run out") from None
            if self._meter is not None:
                self._meter.written(made[-1:], self._clock.monotonic() - since)
            woken = next_holders(made[-1], written.objects) - {saga}
            if woken:
                self._freed(woken)
            return Ack(arrivals=written.arrivals.get(saga), objects=written.objects), head


def guarded_tables(registry: Registry) -> tuple[OwnRow, ...]:
    """The user's tables that ask for a guard, by type."""
    return tuple(
        OwnRow(object=f"{name}:", table=cls.table, key=cls.key or "id")
        for name, cls in sorted(registry.items())
        if cls.table is not None and cls.guarded
    )


def guarded_rows(registry: Registry, unit: Unit) -> tuple[OwnRow, ...]:
    """Rows of guarded tables that the unit locks: touching them stops a writer in flight."""
    found: list[OwnRow] = []
    for lock in unit.admit:
        cls = registry.get(lock.type)
        if cls is not None and cls.table is not None and cls.guarded:
            found.append(OwnRow(object=lock.object, table=cls.table, key=cls.key or "id"))
    return tuple(found)


def changed_row(registry: Registry, name: str, operations: tuple[Staged, ...]) -> OwnRow:
    """A user's row with the statements that these operations are."""
    cls = participant_of(registry, name)
    return OwnRow(
        object=name,
        table=cls.table,
        key=cls.key or "id",
        statements=statements(registry, name, operations),
    )
