"""What a dry run may see of the live lane: states, queues, the time, and its own tables as they would become.

It only reads. The one thing that runs statements runs them in a transaction that is always rolled back.
"""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeVar
from uuid import UUID

from sagacity.clock import Clock, SystemClock
from sagacity.model.canonical import NULL, Json, canonical
from sagacity.model.record import Status
from sagacity.model.unit import ObjectState
from sagacity.model.views import LockView
from sagacity.runtime.timekeeper import Timekeeper
from sagacity.store.base import Filter, OwnRow, RowImages, Store
from sagacity.testing.clock import NOON

T = TypeVar("T")

_NEWEST = 20
"""Sagas among which recorded answers are looked for."""

_ANEW = 30.0
"""Seconds after which the database is asked for its time again."""

Statements = Sequence[tuple[UUID, Sequence[OwnRow]]]
"""Statements on the user's own tables, in order, with the sagas that run them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What a step's effect really answered. `at`: when; None: to the very saga that is played again."""

    answer: Json
    at: datetime | None = None


class Live(Protocol):
    """The live lane, as a dry run sees it. Every call waits: virtual time stands still meanwhile."""

    tenant: str

    def now(self) -> datetime:
        """The database's instant."""

    def objects(self, names: Sequence[str]) -> Mapping[str, ObjectState]:
        """Committed states; absent ones as version 0."""

    def locks(self, name: str) -> Sequence[LockView]:
        """Who stands in the object's queue."""

    def answers(self, definition: str) -> Mapping[str, Recorded]:
        """The newest result of each step of the flow in the newest sagas that are in the log."""

    def rehearse(self, statements: Statements) -> Mapping[str, RowImages]:
        """The rows of the last of `statements` before and after, all of them having run; nothing stays.

        Raises:
            OwnTableError: a statement failed.
        """


class Nowhere:
    """A live lane with nothing in it but what it is given: for exploring a flow away from any store.

    Args:
        tenant: whose.
        at: the instant at which runs begin.
        objects: states of engine-owned participants by `type:id`, as values.
    """

    def __init__(
        self, *, tenant: str = "main", at: datetime = NOON, objects: Mapping[str, Any] | None = None
    ) -> None:
        self.tenant = tenant
        self._at = at
        self._states = {name: canonical(state) for name, state in (objects or {}).items()}

    def now(self) -> datetime:
        """The instant it was made with."""
        return self._at

    def objects(self, names: Sequence[str]) -> Mapping[str, ObjectState]:
        """What it was given; nothing else was ever changed."""
        states = {name: self._states.get(name) for name in names}
        return {
            name: ObjectState(object=name, version=int(state is not None), state=state or NULL)
            for name, state in states.items()
        }

    def locks(self, name: str) -> Sequence[LockView]:
        """Nobody holds anything."""
        del name
        return ()

    def answers(self, definition: str) -> Mapping[str, Recorded]:
        """Nothing was ever answered."""
        del definition
        return {}

    def rehearse(self, statements: Statements) -> Mapping[str, RowImages]:
        """No row is here, so none is changed."""
        return {row.object: RowImages(before=NULL, after=NULL) for row in statements[-1][1]}


class Instants:
    """The database's time for many runs: asked for once in a while and counted on; never ahead of it.

    Args:
        store: opened.
        clock: port; counts.
    """

    def __init__(self, store: Store, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._time = Timekeeper(store, self._clock)
        self._asked = float("-inf")

    async def now(self) -> datetime:
        """The database's instant."""
        if self._clock.monotonic() - self._asked > _ANEW:
            await self._time.sync()
            self._asked = self._clock.monotonic()
        return self._time.now()


class LiveStore:
    """The live lane of a store that is open on another loop.

    What was read once is kept, so all paths of one exploration begin at the same state.

    Args:
        store: opened, of the live lane.
        loop: the loop on which it was opened; not the one that calls.
        at: the database's instant, where it is known.
    """

    def __init__(self, store: Store, loop: asyncio.AbstractEventLoop, *, at: datetime | None = None) -> None:
        self.tenant = store.tenant
        self._store = store
        self._loop = loop
        self._now = at
        self._objects: dict[str, ObjectState] = {}
        self._locks: dict[str, Sequence[LockView]] = {}

    def _wait(self, call: Coroutine[Any, Any, T]) -> T:
        answer: Future[T] = asyncio.run_coroutine_threadsafe(call, self._loop)
        return answer.result()

    def now(self) -> datetime:
        """As the run began."""
        if self._now is None:
            self._now = self._wait(self._store.now())
        return self._now

    def objects(self, names: Sequence[str]) -> Mapping[str, ObjectState]:
        """As they were when they were first looked at."""
        missing = [name for name in names if name not in self._objects]
        if missing:
            self._objects.update(self._wait(self._store.objects(missing)))
        return {name: self._objects[name] for name in names}

    def locks(self, name: str) -> Sequence[LockView]:
        """As they were when they were first looked at."""
        if name not in self._locks:
            looked = self._objects.get(name)
            if looked is not None and not looked.queue:
                return ()
            self._locks[name] = self._wait(self._store.locks(object=name))
        return self._locks[name]

    def answers(self, definition: str) -> Mapping[str, Recorded]:
        """From the newest committed sagas, as they are now."""
        return self._wait(self._answers(definition))

    async def _answers(self, definition: str) -> Mapping[str, Recorded]:
        found: dict[str, Recorded] = {}
        newest = Filter(definition=definition, status=(Status.COMMITTED,), limit=_NEWEST)
        for listed in await self._store.sagas(newest):
            row = await self._store.saga(listed.id)
            for step, answer in row.record.results.items() if row is not None else ():
                if answer != NULL:
                    found.setdefault(step, Recorded(answer=answer, at=listed.updated_at))
        return found

    def rehearse(self, statements: Statements) -> Mapping[str, RowImages]:
        """See the protocol."""
        return self._wait(self._store.rehearse(statements))
