# ruff: noqa: D102 - what each method promises is written in store/base.py, once
"""The part of a store that is the same on every database.

Each method names a function over a connection and says whether it reads or writes. What differs
lies in the few methods that a database's own store fills in: how work gets a connection and a
transaction, what time it is, and how a batch is written.
"""

import asyncio
import copy
from abc import abstractmethod
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any, Self
from uuid import UUID

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from sagacity.chain import Link, extend
from sagacity.clock import Clock
from sagacity.errors import StoreError
from sagacity.model.gauges import Gauges
from sagacity.model.record import Effect, Status
from sagacity.model.unit import (
    Batch,
    ChainHead,
    Claimed,
    LogRow,
    Message,
    Notice,
    ObjectState,
    Unit,
    WaitGraph,
    WorkerInfo,
)
from sagacity.model.views import Count, HistoryLine, LockView, ObjectVersion, ObjectView, SagaSummary
from sagacity.store import callers, claims, gauges, inbox, logreads, migrate, outbox, reads
from sagacity.store import tally as tallied
from sagacity.store.base import Filter, OwnRow, Receipt, SagaRow, Served
from sagacity.store.desk import Answer, PortableOffice, Work
from sagacity.store.rows import Scope

__all__ = ["Answer", "PortableStore", "Work"]

_CHAIN_TRIES = 20


class PortableStore(PortableOffice):
    """A store's portable methods over four that its database fills in.

    Attributes:
        tenant, lane: what it serves.
        dialect: SQLAlchemy's name of the database.
    """

    dialect: str

    def __init__(self, *, tenant: str, lane: str, clock: Clock | None) -> None:
        self.tenant = tenant
        self.lane = lane
        self._scope = Scope(tenant, lane)
        self._clock = clock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._hinting: set[asyncio.Task[None]] = set()

    def beside(self, lane: str) -> Self:
        """See the contract."""
        other = copy.copy(self)
        other.lane = lane
        other._scope = Scope(self.tenant, lane)
        other._hinting = set()
        return other

    async def check(self) -> None:
        await self._read(migrate.check)

    # --- the inbox ----------------------------------------------------------------------------------

    async def put(self, messages: Sequence[Message], *, session: Any = None) -> list[Receipt]:
        if session is None:
            return await self._write(lambda conn: inbox.put(conn, self._scope, messages, ring=True))
        self._loop = asyncio.get_running_loop()
        receipts = await callers.inside(session, self.dialect, partial(self._put_in, messages))
        callers.after_commit(session, self._hint_soon)
        return receipts

    def put_sync(self, messages: Sequence[Message], *, session: Any) -> list[Receipt]:
        """See the contract."""
        receipts = callers.inside_sync(session, self.dialect, partial(self._put_in, messages))
        callers.after_commit(session, self._hint_soon)
        return receipts

    def _put_in(self, messages: Sequence[Message], conn: Connection) -> list[Receipt]:
        return inbox.put(conn, self._scope, messages, ring=False)

    def _hint_soon(self) -> None:
        """A caller's transaction has committed: hint, from the store's own loop."""
        if self._loop is None or self._loop.is_closed():
            return
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._start_hint)

    def _start_hint(self) -> None:
        task = asyncio.get_running_loop().create_task(self.hint())
        self._hinting.add(task)
        task.add_done_callback(self._hinting.discard)

    @abstractmethod
    async def hint(self) -> None:
        """See the contract."""

    async def find(self, definition: str, key: str) -> UUID | None:
        return await self._read(lambda conn: inbox.find(conn, self._scope, definition, key))

    async def ring(self, *, limit: int = 500) -> int:
        return await self._lease(lambda conn: inbox.ring(conn, self._scope, limit=limit))

    async def claim_starts(self, worker: UUID, definitions: Served, *, limit: int) -> list[Message]:
        def work(conn: Connection) -> list[Message]:
            if not claims.is_alive(conn, self._scope, worker):
                return []
            return inbox.claim_starts(conn, self._scope, worker, definitions, limit=limit)

        return await self._lease(work)

    async def mail(self, sagas: Sequence[UUID]) -> dict[UUID, tuple[Message, ...]]:
        return await self._read(lambda conn: inbox.mail(conn, self._scope, sagas))

    async def give_back_starts(self, worker: UUID, messages: Sequence[UUID]) -> None:
        await self._lease(lambda conn: inbox.give_back_starts(conn, self._scope, worker, messages))

    # --- who executes -------------------------------------------------------------------------------

    async def register(self, worker: WorkerInfo) -> ChainHead:
        return await self._own_chain(lambda conn: claims.register(conn, self._scope, worker))

    async def guard(self, rows: Sequence[OwnRow]) -> None:
        """See the contract; where the database has no guard there is nothing to do."""
        del rows

    async def open_chain(self, worker: UUID) -> ChainHead:
        return await self._own_chain(lambda conn: claims.open_chain(conn, self._scope, worker))

    async def _own_chain(self, work: Work[ChainHead]) -> ChainHead:
        """Again where two made the same new chain at once."""
        for left in reversed(range(_CHAIN_TRIES)):
            try:
                return await self._write(work)
            except IntegrityError as error:
                if not left:
                    raise StoreError(f"no chain of its own for the worker: {error.orig}") from error
        raise AssertionError("the last try either returns or raises")

    async def heartbeat(self, worker: UUID, lease: timedelta) -> bool:
        return await self._lease(
            lambda conn: claims.heartbeat(conn, self._scope, worker, lease, now=self._instant(conn))
        )

    async def unregister(self, worker: UUID) -> None:
        await self._write(lambda conn: claims.unregister(conn, self._scope, worker, now=self._instant(conn)))

    async def take_over(self) -> list[UUID]:
        return await self._write(lambda conn: claims.take_over(conn, self._scope, now=self._instant(conn)))

    async def fence(self, chain: int, *, owner: UUID | None = None) -> ChainHead:
        return await self._write(lambda conn: claims.fence(conn, self._scope, chain, owner=owner))

    async def workers(self) -> list[WorkerInfo]:
        return await self._read(lambda conn: claims.workers(conn, self._scope, now=self._instant(conn)))

    async def claim(self, worker: UUID, definitions: Served, *, limit: int) -> list[Claimed]:
        return await self._lease(
            lambda conn: claims.claim(
                conn, self._scope, worker, definitions, limit=limit, now=self._instant(conn)
            )
        )

    async def unserved(self, definitions: Mapping[str, int]) -> set[tuple[str, int]]:
        """See the contract."""
        return await self._read(
            lambda conn: claims.unserved(conn, self._scope, definitions, now=self._instant(conn))
        )

    async def reclaim(self, saga: UUID, worker: UUID) -> Claimed | None:
        return await self._lease(lambda conn: claims.reclaim(conn, self._scope, saga, worker))

    async def reload(self, saga: UUID, worker: UUID, epoch: int) -> Claimed | None:
        return await self._read(lambda conn: claims.reload(conn, self._scope, saga, worker, epoch))

    async def hand_back(self, worker: UUID, sagas: Sequence[UUID]) -> None:
        await self._lease(
            lambda conn: claims.hand_back(conn, self._scope, worker, sagas, now=self._instant(conn))
        )

    async def held(self, worker: UUID) -> list[UUID]:
        return await self._read(lambda conn: claims.held(conn, self._scope, worker))

    async def rest(self, saga: UUID, worker: UUID, claimed: Claimed) -> bool:
        return await self._lease(lambda conn: claims.rest(conn, self._scope, saga, worker, claimed))

    async def ring_sagas(self, sagas: Sequence[UUID]) -> None:
        await self._lease(lambda conn: inbox.ring_bells(conn, self._scope, sagas))

    async def wait_graph(self) -> WaitGraph:
        return await self._snapshot(lambda conn: reads.wait_graph(conn, self._scope))

    # --- reading ------------------------------------------------------------------------------------

    async def saga(self, saga: UUID) -> SagaRow | None:
        return await self._read(lambda conn: reads.saga(conn, self._scope, saga))

    async def messages(self, saga: UUID) -> list[Message]:
        return await self._read(lambda conn: inbox.messages(conn, self._scope, saga))

    async def sagas(self, narrowed: Filter) -> list[SagaSummary]:
        return await self._snapshot(
            lambda conn: reads.sagas(conn, self._scope, narrowed, now=self._instant(conn))
        )

    async def counts(self, *, definition: str | None = None) -> dict[Status, int]:
        return await self._snapshot(lambda conn: reads.counts(conn, self._scope, definition=definition))

    async def tally(self, *, definition: str | None = None, upto: int = 20_000) -> dict[Status, Count]:
        return await self._snapshot(
            lambda conn: tallied.tally(
                conn, self._scope, definition=definition, upto=upto, now=self._instant(conn)
            )
        )

    async def gauges(self) -> Gauges:
        return await self._snapshot(lambda conn: gauges.gauges(conn, self._scope, now=self._instant(conn)))

    async def statuses(self, sagas: Sequence[UUID]) -> dict[UUID, SagaSummary]:
        return await self._snapshot(lambda conn: reads.statuses(conn, self._scope, sagas))

    async def history(self, saga: UUID, *, after: int = -1, limit: int | None = None) -> list[HistoryLine]:
        return await self._read(
            lambda conn: logreads.history(conn, self._scope, saga, after=after, limit=limit)
        )

    async def objects(self, objects: Sequence[str]) -> dict[str, ObjectState]:
        return await self._read(lambda conn: reads.objects(conn, self._scope, objects))

    async def object(self, object: str) -> ObjectView:
        return await self._read(lambda conn: reads.object(conn, self._scope, object))

    async def object_history(
        self, object: str, *, after: int = 0, limit: int | None = None
    ) -> list[ObjectVersion]:
        return await self._read(
            lambda conn: logreads.object_history(conn, self._scope, object, after=after, limit=limit)
        )

    async def locks(self, *, object: str | None = None, saga: UUID | None = None) -> list[LockView]:
        return await self._read(lambda conn: reads.locks(conn, self._scope, object=object, saga=saga))

    async def rolled_back_by(self, saga: UUID) -> UUID | None:
        return await self._read(lambda conn: reads.rolled_back_by(conn, self._scope, saga))

    async def definition_hashes(self, names: Sequence[str]) -> dict[tuple[str, int], str]:
        return await self._read(lambda conn: reads.definition_hashes(conn, self._scope, names))

    async def effects_of(self, saga: UUID) -> list[Effect]:
        return await self._read(lambda conn: reads.effects_of(conn, self._scope, saga))

    # --- the log, whole -----------------------------------------------------------------------------

    async def heads(self) -> list[ChainHead]:
        return await self._read(lambda conn: logreads.heads(conn, self._scope))

    async def chain_rows(self, chain: int, *, upto: int) -> AsyncIterator[LogRow]:
        after = 0
        while page := await self._read(
            partial(logreads.chain_page, scope=self._scope, chain=chain, after=after, upto=upto)
        ):
            for row in page:
                yield row
            after = page[-1].position

    async def chain_links(self, chain: int, *, after: int, upto: int) -> AsyncIterator[Sequence[Link]]:
        while page := await self._read(
            partial(logreads.chain_links, scope=self._scope, chain=chain, after=after, upto=upto)
        ):
            yield page
            after = page[-1][0]

    async def rows_by_saga(self, heads: Sequence[ChainHead]) -> AsyncIterator[LogRow]:
        upto = {head.id: head.position for head in heads}
        after: tuple[UUID, int] | None = None
        while page := await self._read(partial(logreads.saga_lines_page, scope=self._scope, after=after)):
            for row in logreads.within(page, upto):
                yield row
            after = (page[-1].saga, page[-1].seq)

    async def sagas_whole(self) -> AsyncIterator[SagaRow]:
        after: UUID | None = None
        while page := await self._read(partial(logreads.saga_page, scope=self._scope, after=after)):
            for row in page:
                yield row
            after = page[-1].record.id

    async def objects_whole(self) -> AsyncIterator[ObjectState]:
        after: str | None = None
        while page := await self._read(partial(logreads.object_page, scope=self._scope, after=after)):
            for row in page:
                yield row
            after = page[-1].object

    async def effects_whole(self) -> AsyncIterator[tuple[UUID, Effect]]:
        after: tuple[UUID, int] | None = None
        while page := await self._read(partial(logreads.effect_page, scope=self._scope, after=after)):
            for saga, effect in page:
                yield saga, effect
            after = (page[-1][0], page[-1][1].n)

    async def known_messages(self, ids: Sequence[UUID]) -> frozenset[UUID]:
        return await self._read(partial(logreads.known_messages, scope=self._scope, ids=tuple(ids)))

    # --- notices ------------------------------------------------------------------------------------

    async def notices(self, *, limit: int, after: str = "") -> list[tuple[UUID, Notice]]:
        return await self._read(lambda conn: outbox.notices(conn, self._scope, limit=limit, after=after))

    async def notices_sent(self, ids: Sequence[UUID]) -> None:
        await self._write(lambda conn: outbox.notices_sent(conn, self._scope, ids))

    async def tell_of(
        self, lasting: Sequence[Notice], *, early: Collection[str] = (), unsure: tuple[str, ...] = ()
    ) -> int:
        return await self._write(
            lambda conn: outbox.tell_of(conn, self._scope, lasting, early=early, unsure=unsure)
        )

    def _batch_of(self, head: ChainHead, unit: Unit, worker: UUID) -> Batch:
        """One unit alone as a batch behind `head`."""
        rows = extend(head, [unit], tenant=self.tenant, lane=self.lane)
        return Batch(head=head, rows=rows, units=(unit,), worker=worker)
