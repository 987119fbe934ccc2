"""A store in memory that looks before it asks: most questions of a lone worker have nothing to find.

The one idea: whether there is anything at all is one plain statement of SQLite's own, a thirtieth of what the
store's statement costs. Where there is, the store is asked as ever, so nothing is decided here.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from sagacity.model.unit import Claimed, Message
from sagacity.store import schema
from sagacity.store.base import Served
from sagacity.store.compiled import plain
from sagacity.store.memory import MemoryStore
from sagacity.store.rows import message_values
from sagacity.store.types import micros

_AWAKE = "SELECT 1 FROM saga WHERE owner IS NULL AND (arrivals <> heard OR wake_at <= ?) LIMIT 1"
_STARTS = "SELECT 1 FROM inbox WHERE kind = 'start' AND NOT done AND taken_by IS NULL LIMIT 1"
_UNRUNG = "SELECT 1 FROM inbox WHERE NOT rung LIMIT 1"
_BELL = "UPDATE saga SET arrivals = arrivals + 1 WHERE id = ?"
_STANDING = "SELECT owner IS NOT NULL, arrivals <> heard FROM saga"


class QuickStore(MemoryStore):
    """See the module. One worker at a time works on it, and the next one only when the last is dead.

    Attributes:
        over: the run is over, and the database is about to be emptied: nothing is handed back any more.
    """

    over = False
    _dead = False

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
        """As ever."""
        return await super().claim_starts(worker, definitions, limit=limit) if self._any(_STARTS) else []

    async def ring(self, *, limit: int = 500) -> int:
        """As ever."""
        return await super().ring(limit=limit) if self._any(_UNRUNG) else 0

    async def ring_sagas(self, sagas: Sequence[UUID]) -> None:
        """As ever."""
        if sagas:
            await super().ring_sagas(sagas)

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
