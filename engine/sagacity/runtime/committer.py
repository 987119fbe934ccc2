"""Group commit: many sagas' units in one durable write, each acknowledged or refused on its own.

Whoever is ready when the previous batch is done goes into the next; nobody waits for a timer.
A refused batch names its losers; the rest is chained anew and sent again, so one failing
member fails alone. Acknowledged means flushed.

After a broken answer nobody guesses: the chain's epoch is raised and its head read in one
statement, which at once keeps a straggler out and tells whether the batch landed.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from sagacity import chain
from sagacity.clock import Clock
from sagacity.errors import HistoryLost, StoreError, StoreUnavailable
from sagacity.model.unit import (
    Batch,
    BatchRefused,
    ChainHead,
    HeadMoved,
    Loss,
    ObjectState,
    OutcomeUnknown,
    Unit,
    Written,
    holders,
)
from sagacity.store.base import Store
from sagacity.telemetry.watching import Meter


class Lost(Exception):
    """This unit was refused; the others of its batch were not."""

    def __init__(self, loss: Loss) -> None:
        super().__init__(loss.value)
        self.loss = loss


@dataclass(frozen=True, slots=True, kw_only=True)
class Ack:
    """The unit is durable.

    Attributes:
        arrivals: bells so far; None: the answer was lost, read the saga again.
        objects: the objects that the batch touched, as they are now; empty where the answer was lost.
    """

    arrivals: int | None
    objects: dict[str, ObjectState]


@dataclass(slots=True)
class _Member:
    unit: Unit
    done: "asyncio.Future[Ack]"


class Committer:
    """Writes units to one chain. One per worker; `run` is its task."""

    def __init__(
        self,
        store: Store,
        *,
        worker: UUID,
        head: ChainHead,
        clock: Clock,
        batch: int,
        freed: Callable[[set[UUID]], None],
        meter: Meter | None = None,
    ) -> None:
        self._store = store
        self._meter = meter
        self._worker = worker
        self.head = head
        self._clock = clock
        self._batch = batch
        self._freed = freed
        self._waiting: list[_Member] = []
        self._bell = asyncio.Event()
        self._closed: BaseException | None = None
        self._busy: dict[str, ObjectState] = {}

    async def submit(self, unit: Unit) -> Ack:
        """Write `unit`; return when it is durable.

        Raises:
            Lost: it was refused, and why. HistoryLost, StoreError: the committer has stopped.
        """
        if self._closed is not None:
            raise self._closed
        if unit.optimistic and self._known_busy(unit):
            raise Lost(Loss.BUSY)
        member = _Member(unit, asyncio.get_running_loop().create_future())
        self._waiting.append(member)
        self._bell.set()
        return await asyncio.shield(member.done)

    def _known_busy(self, unit: Unit) -> bool:
        return any(lock.object in self._busy for lock in unit.admit)

    async def run(self) -> None:
        """Write batches until cancelled or until the chain is lost."""
        try:
            while True:
                await self._bell.wait()
                await self._clock.sleep(0)  # whoever is ready in this turn of the loop comes along
                members = self._next()
                if not self._waiting:
                    self._bell.clear()
                await self._write(members)
        except BaseException as error:
            self._close(error)
            raise

    def _close(self, error: BaseException) -> None:
        cause = error if isinstance(error, StoreError) else StoreUnavailable("the committer has stopped")
        self._closed = cause
        for member in self._waiting:
            if not member.done.done():
                member.done.set_exception(cause)
        self._waiting.clear()

    def _next(self) -> list[_Member]:
        """The next batch: at most one unit per saga and per changed object, in order of arrival."""
        taken: list[_Member] = []
        rest: list[_Member] = []
        seen: set[object] = set()
        asked: set[str] = set()
        for member in self._waiting:
            unit = member.unit
            keys = {unit.saga, *(change.object for change in unit.changes)}
            if len(taken) >= self._batch or not seen.isdisjoint(keys):
                rest.append(member)
            elif unit.optimistic and any(lock.object in asked for lock in unit.admit):
                member.done.set_exception(Lost(Loss.BUSY))
            else:
                seen |= keys
                asked.update(lock.object for lock in unit.admit)
                taken.append(member)
        self._waiting = rest
        return taken

    async def _write(self, members: list[_Member]) -> None:
        since = 0.0 if self._meter is None else self._clock.monotonic()
        while members:
            try:
                batch = self._chained(members)
            except (TypeError, ValueError) as error:
                await self._halve(members, StoreError(f"its lines cannot be written: {error}"))
                return
            try:
                written = await self._store.write(batch)
            except BatchRefused as refused:
                members = _without(members, refused.losers)
                continue
            except OutcomeUnknown:
                if not await self._landed(batch):
                    continue
                self._acknowledge(members, Written(arrivals={}, objects={}))
                return  # the head is where the fence found it, one epoch further
            except HeadMoved:
                raise StoreUnavailable(
                    f"chain {self.head.id} was taken over: this worker's lease had run out"
                ) from None
            except StoreUnavailable:
                await self._clock.sleep(0.05)
                continue
            except StoreError as error:
                await self._halve(members, error)
                return
            self.head = batch.new_head
            self._acknowledge(members, written)
            if self._meter is not None:
                self._meter.written(batch.units, self._clock.monotonic() - since)
            return

    def _chained(self, members: list[_Member]) -> Batch:
        units = tuple(member.unit for member in members)
        rows = chain.extend(self.head, units, tenant=self._store.tenant, lane=self._store.lane)
        return Batch(head=self.head, rows=rows, units=units, worker=self._worker)

    async def _halve(self, members: list[_Member], error: StoreError) -> None:
        """An error that names nobody: split until the one that causes it stands alone."""
        if len(members) == 1:
            members[0].done.set_exception(error)
            return
        middle = len(members) // 2
        await self._write(members[:middle])
        await self._write(members[middle:])

    async def _landed(self, batch: Batch) -> bool:
        """Fence the chain and see whether the batch is in it."""
        head = await fenced(self._store, self._clock, batch.head, owner=self._worker)
        self.head = head
        return head.position == batch.new_head.position and head.hash == batch.new_head.hash

    def _acknowledge(self, members: list[_Member], written: Written) -> None:
        for name, state in written.objects.items():
            if state.queue:
                self._busy[name] = state
            else:
                self._busy.pop(name, None)
        woken: set[UUID] = set()
        for member in members:
            woken |= next_holders(member.unit, written.objects)
            ack = Ack(arrivals=written.arrivals.get(member.unit.saga), objects=written.objects)
            if not member.done.done():
                member.done.set_result(ack)
        woken -= {member.unit.saga for member in members}
        if woken:
            self._freed(woken)


def _without(members: list[_Member], losers: dict[UUID, Loss]) -> list[_Member]:
    kept: list[_Member] = []
    for member in members:
        loss = losers.get(member.unit.saga)
        if loss is None:
            kept.append(member)
        elif not member.done.done():
            member.done.set_exception(Lost(loss))
    if len(kept) == len(members):
        raise StoreError(f"a batch was refused for sagas that are not in it: {losers}")
    return kept


def next_holders(unit: Unit, objects: dict[str, ObjectState]) -> set[UUID]:
    """Sagas that may have come to the front because `unit` freed its locks."""
    found: set[UUID] = set()
    for lock in unit.free:
        state = objects.get(lock.object)
        if state is None or not state.queue:
            continue
        # Behind a shared lock only an exclusive one is new at the front; others held it already.
        if lock.mode == "exclusive" or state.queue[0].mode == "exclusive":
            found.update(holders(state.queue))
    return found


async def fenced(store: Store, clock: Clock, expected: ChainHead, *, owner: UUID) -> ChainHead:
    """Raise the epoch of `owner`'s chain and read its head, however long the database takes to come back.

    Raises:
        HistoryLost: the head stands behind what was acknowledged.
        StoreUnavailable: the chain is somebody else's by now; what was sent may or may not be in it.
    """
    delay = 0.02
    while True:
        try:
            head = await store.fence(expected.id, owner=owner)
            break
        except HeadMoved as moved:
            raise StoreUnavailable(f"{moved}: this worker's lease had run out") from None
        except (StoreUnavailable, OutcomeUnknown):
            await clock.sleep(delay)
            delay = min(delay * 2, 1.0)
    if head.position < expected.position:
        raise HistoryLost(
            f"chain {head.id} stands at {head.position}, but {expected.position} was acknowledged: "
            "lines were lost by a restore or failover; look with `sagacity verify`"
        )
    return head
