"""A store in memory that looks before it asks: most questions of a lone worker have nothing to find.

The one idea: whether there is anything at all is one plain statement of SQLite's own, a thirtieth of what the
store's statement costs. Where there is, the store is asked as ever, so nothing is decided here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, bindparam, select, update

from sagacity.errors import StoreUnavailable
from sagacity.model.unit import ChainHead, Claimed, Message, WorkerInfo
from sagacity.model.views import HistoryLine
from sagacity.store import schema
from sagacity.store.base import Served
from sagacity.store.compiled import Asked, Returning, among, plain
from sagacity.store.memory import MemoryStore
from sagacity.store.portable import Answer, Work
from sagacity.store.rows import history_line_of, message_of, message_values, worker_values
from sagacity.store.sqlite import naming
from sagacity.store.types import micros

_AWAKE = "SELECT 1 FROM saga WHERE owner IS NULL AND (arrivals <> heard OR wake_at <= ?) LIMIT 1"
_STARTS = "SELECT 1 FROM inbox WHERE kind = 'start' AND NOT done AND taken_by IS NULL LIMIT 1"
_UNRUNG = "SELECT 1 FROM inbox WHERE NOT rung LIMIT 1"
_BELL = "UPDATE saga SET arrivals = arrivals + 1 WHERE id = ?"
_MAIL = "SELECT 1 FROM inbox WHERE NOT done AND kind <> 'start' LIMIT 1"
_TAKEN = "SELECT 1 FROM inbox WHERE NOT done AND taken_by IS NOT NULL LIMIT 1"
_OWNED = "SELECT 1 FROM saga WHERE owner IS NOT NULL LIMIT 1"
_CHAINS = "SELECT 1 FROM chain LIMIT 1"
_STANDING = "SELECT owner IS NOT NULL, arrivals <> heard FROM saga"


@cache
def _take() -> Returning:
    """Every start that nobody has taken, now taken by `by_worker`."""
    table = schema.inbox
    free = update(table).where(schema.IS_START, schema.UNREAD, table.c.taken_by.is_(None))
    return Returning(free.values(taken_by=bindparam("by_worker")).returning(*table.c), table.c)


@cache
def _story() -> Asked:
    return among(select(schema.log), schema.log.c.saga)


class QuickStore(MemoryStore):
    """See the module. One worker at a time works on it, and the next one only when the last is dead.

    Attributes:
        over: the run is over, and the database is about to be emptied: nothing is handed back any more.
    """

    over = False
    _dead = False

    async def open(self) -> None:
        """As ever; what SQLAlchemy takes for one long transaction is begun and ended below it."""
        await super().open()
        conn = self._database.connection
        if not conn.in_transaction():
            conn.begin()
            self._database.raw.rollback()

    def _transact(self, mode: str, work: Work[Answer], *, flush: bool = True) -> Answer:
        """Nobody else is there: a look needs no transaction, and a write needs the driver's alone."""
        conn = self._conn
        if conn is None:
            raise StoreUnavailable("the store is not open")
        with naming(self._url):
            if mode == "DEFERRED":
                return work(conn)
            raw = self._database.raw
            raw.execute("BEGIN")
            try:
                answer = work(conn)
            except BaseException:
                raw.rollback()
                raise
            raw.commit()
            return answer

    def _any(self, statement: str, *values: Any) -> bool:
        found = self._database.raw.execute(statement, values).fetchone()
        return found is not None

    def standing(self) -> tuple[bool, bool, bool]:
        """Whether there is a saga; one that somebody has in hand; one that was told something unheard."""
        rows = self._database.raw.execute(_STANDING).fetchall()
        return bool(rows), any(owned for owned, _ in rows), any(unheard for _, unheard in rows)

    async def post(self, message: Message) -> None:
        """Put a message that is new, as its one sender knows; its saga's bell rings if it has begun."""
        fresh = message.kind == "start"

        def work(conn: Connection) -> None:
            rung = fresh or self._database.raw.execute(_BELL, (str(message.saga),)).rowcount > 0
            plain(schema.inbox).run(conn, self._scope, [message_values(message, done=False, rung=rung)])

        await self._write(work)

    async def claim(self, worker: UUID, definitions: Served, *, limit: int) -> list[Claimed]:
        """As ever."""
        assert self._clock is not None
        if not self._any(_AWAKE, micros(self._clock.now())):
            return []
        return await super().claim(worker, definitions, limit=limit)

    async def claim_starts(self, worker: UUID, definitions: Served, *, limit: int) -> list[Message]:
        """All that there are, oldest first: its one worker serves all that the run can start."""
        del definitions, limit
        if not self._any(_STARTS):
            return []
        found = _take().run(self._database.connection, {"by_worker": worker})
        return sorted(map(message_of, found), key=lambda message: message.id)

    async def ring(self, *, limit: int = 500) -> int:
        """As ever."""
        return await super().ring(limit=limit) if self._any(_UNRUNG) else 0

    async def ring_sagas(self, sagas: Sequence[UUID]) -> None:
        """As ever."""
        if sagas:
            await super().ring_sagas(sagas)

    async def mail(self, sagas: Sequence[UUID]) -> dict[UUID, tuple[Message, ...]]:
        """As ever, but for the starts, which whoever asks has in hand."""
        return await super().mail(sagas) if self._any(_MAIL) else {}

    async def held(self, worker: UUID) -> list[UUID]:
        """As ever."""
        return await super().held(worker) if self._any(_OWNED) or self._any(_TAKEN) else []

    async def now(self) -> datetime:
        """The clock's."""
        assert self._clock is not None
        return self._clock.now()

    async def definition_hashes(self, names: Sequence[str]) -> dict[tuple[str, int], str]:
        """Nothing: all that is here was started with the definitions that are served."""
        del names
        return {}

    async def register(self, worker: WorkerInfo) -> ChainHead:
        """As ever; the first one gets the first chain."""
        if self._any(_CHAINS):
            return await super().register(worker)
        head = ChainHead(id=1, epoch=1, position=0, hash=b"")

        def work(conn: Connection) -> ChainHead:
            plain(schema.worker).run(conn, self._scope, [worker_values(worker)])
            plain(schema.chain).run(conn, self._scope, [{**asdict(head), "owner": worker.id}])
            return head

        return await self._write(work)

    async def history(self, saga: UUID, *, after: int = -1, limit: int | None = None) -> list[HistoryLine]:
        """As ever."""
        if after >= 0 or limit is not None:
            return await super().history(saga, after=after, limit=limit)
        found = _story().run(self._database.connection, self._scope, [saga])
        return sorted(map(history_line_of, found), key=lambda line: line.seq)

    async def unserved(self, definitions: Mapping[str, int]) -> set[tuple[str, int]]:
        """Nothing: its one worker serves all that the run can start."""
        del definitions
        return set()

    async def heartbeat(self, worker: UUID, lease: timedelta) -> bool:
        """A lease lasts longer than any run; one of no time at all is the stage's way to end it."""
        if lease:
            return True
        self._dead = True
        return await super().heartbeat(worker, lease)

    async def take_over(self) -> list[UUID]:
        """As ever, once somebody is dead."""
        if not self._dead:
            return []
        self._dead = False
        return await super().take_over()

    async def unregister(self, worker: UUID) -> None:
        """As ever, until the run is over."""
        if not self.over:
            await super().unregister(worker)
