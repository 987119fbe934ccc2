"""The store of a dry run: the engine's own in memory, lane `dry`, laid over what the live lane has.

A participant that the run has not changed shows its live state; one that it has, its own. Live locks
are looked at and written down for the report. The run's own sagas queue among themselves as ever.
"""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar
from uuid import UUID

from sagacity.clock import Clock
from sagacity.dry.live import Live
from sagacity.errors import StoreError
from sagacity.model.unit import Batch, ChainHead, Claimed, ObjectState, Unit, Written
from sagacity.store import batch as batches
from sagacity.store.base import OwnRow, RowImages, RowsBusy
from sagacity.store.memory import MemoryDatabase
from sagacity.store.quick import QuickStore

T = TypeVar("T")

Seen = Callable[[Sequence[Unit]], Coroutine[Any, Any, None]]
"""Told of the units of a batch, before and after it is written."""


class DryStore(QuickStore):
    """See the module.

    Args:
        live: what lies under it.
        before, after: told of every batch; a worker may die in there.
        rested: told whenever a saga was put down.

    Attributes:
        looked: the live state of every object that the run has looked at.
        rows: images of the user's own rows, in the order in which sagas changed them.
        away: why the live lane could not be looked at; the run is over then.
    """

    def __init__(
        self,
        database: MemoryDatabase,
        *,
        clock: Clock,
        live: Live,
        before: Seen,
        after: Seen,
        rested: Callable[[], None],
    ) -> None:
        super().__init__(database, tenant=live.tenant, lane="dry", clock=clock)
        self.live = live
        self.looked: dict[str, ObjectState] = {}
        self.rows: list[tuple[str, RowImages]] = []
        self.away: StoreError | None = None
        self._statements: list[tuple[UUID, Sequence[OwnRow]]] = []
        self._before = before
        self._after = after
        self._rested = rested

    def _over(self, states: Mapping[str, ObjectState]) -> dict[str, ObjectState]:
        """`states` of the run, where it has changed nothing yet with what the live lane shows."""
        untouched = [name for name, state in states.items() if state.version == 0]
        missing = [name for name in untouched if name not in self.looked]
        if missing:
            self.looked.update(self._asked(lambda: self.live.objects(missing)))
        shown = {name: replace(states[name], state=self.looked[name].state) for name in untouched}
        return {**states, **shown}

    def _asked(self, ask: Callable[[], T]) -> T:
        """What the live lane answers; where it is away, that is no part of what is rehearsed."""
        try:
            return ask()
        except RowsBusy:
            raise
        except StoreError as error:
            self.away = error
            self._rested()
            raise

    async def objects(self, objects: Sequence[str]) -> dict[str, ObjectState]:
        """The run's view of them."""
        return self._over(await super().objects(objects))

    async def rest(self, saga: UUID, worker: UUID, claimed: Claimed) -> bool:
        """As ever; told."""
        done = await super().rest(saga, worker, claimed)
        self._rested()
        return done

    async def hand_back(self, worker: UUID, sagas: Sequence[UUID]) -> None:
        """As ever; told."""
        await super().hand_back(worker, sagas)
        self._rested()

    async def write(self, batch: Batch) -> Written:
        """As ever, between two looks."""
        await self._before(batch.units)
        written = await super().write(batch)
        written = Written(arrivals=written.arrivals, objects=self._over(written.objects))
        await self._after(batch.units)
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
        """The statements run in the live database and are rolled back; the unit is written here."""
        images: Mapping[str, RowImages] = {}
        changing = [row for row in rows if row.statements]
        if changing:
            self._statements.append((saga, changing))
            try:
                images = self._asked(lambda: self.live.rehearse(self._statements))
            except BaseException:
                self._statements.pop()
                raise
        unit = compose(images)
        batch = self._batch_of(head, unit, worker)
        await self._before((unit,))
        written = await self._write_known(lambda conn: batches.write(conn, self._scope, batch))
        self.rows += images.items()
        written = Written(arrivals=written.arrivals, objects=self._over(written.objects))
        await self._after((unit,))
        return written, batch.new_head
