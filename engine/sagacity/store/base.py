"""The contract between the engine and a database: every condition a store must hold, method by method.

One store object serves one tenant and one lane. All instants that decide anything are the
database's own (`now`), unless the store was opened with a clock of the caller's, which then
stands in for it everywhere (tests, simulation). Writes are durable when a call returns.

Order of row locks, in every write: inbox, saga, object, chain; within a table by key. Two
writers that keep it cannot deadlock inside the server.
"""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from sagacity.chain import Link
from sagacity.errors import StoreUnavailable
from sagacity.model.canonical import Json
from sagacity.model.gauges import Gauges
from sagacity.model.record import Record, Status
from sagacity.model.unit import (
    Batch,
    ChainHead,
    Claimed,
    LogRow,
    Message,
    Notice,
    ObjectState,
    Statement,
    Unit,
    WaitGraph,
    WorkerInfo,
    Written,
)
from sagacity.model.views import Count, HistoryLine, LockView, ObjectVersion, ObjectView, SagaSummary
from sagacity.store.office import Office


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnRow:
    """A row of the user's own table that a unit changes (or, with no statements, only guards).

    Attributes:
        object: `type:id`.
        table: the SQLAlchemy table.
        key: name of its primary key column, compared with the object's id.
        statements: what to run, in order.
    """

    object: str
    table: Any
    key: str
    statements: tuple[Statement, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RowImages:
    """A user's row as canonical JSON before and after the unit's statements (JSON null: no such row)."""

    before: Json
    after: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What became of a message: `new` is False where it was there already."""

    saga: UUID
    new: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SagaRow:
    """A saga as stored, with what is not part of its record. `heard`: bells answered so far."""

    record: Record
    owner: UUID | None
    epoch: int
    arrivals: int
    heard: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which sagas to list; empty fields do not narrow. `before` pages: ids below it, newest first."""

    definition: str | None = None
    status: tuple[Status, ...] = ()
    key: str | None = None
    before: UUID | None = None
    limit: int = 50


Served = Sequence[str] | Mapping[str, int]
"""Definitions by name; as a mapping, each in the one version that the worker has."""


class OwnTableError(Exception):
    """A statement on the user's own table failed; its transaction was rolled back whole."""


class RowsBusy(StoreUnavailable):
    """A row of the user's own tables is held by somebody else's transaction. Nothing was written: again."""


class Store(Office, Protocol):
    """A database that holds sagas."""

    tenant: str
    lane: str

    # --- life -----------------------------------------------------------------------------------

    async def open(self) -> None:
        """Connect and check.

        Raises:
            StoreUnavailable: cannot be reached. SchemaBehind, SchemaAhead: see there (an absent SQLite
                file is created and migrated instead). UnsafeSettings: acknowledged commits could be lost,
                and `accept_loss` was not given. StoreReadOnly: the file cannot be written.
        """

    async def close(self) -> None:
        """Let go of all connections. Twice is harmless."""

    def beside(self, lane: str) -> "Store":
        """This store's view of another lane, on the same connections; it ends when this one is closed."""

    async def check(self) -> None:
        """Whether it can be used right now: it answers, and its schema is what this version needs.

        Raises:
            StoreUnavailable, SchemaBehind, SchemaAhead: it cannot.
        """

    async def now(self) -> datetime:
        """The database's instant."""

    # --- the inbox ------------------------------------------------------------------------------

    async def put(self, messages: Sequence[Message], *, session: Any = None) -> list[Receipt]:
        """Store messages, in one transaction of their own or in the caller's `session`.

        `session` is an `AsyncSession`, `AsyncConnection`, sync `Session` or `Connection` on this database.
        In an own transaction the target sagas' bells are rung along (`arrivals + 1`, unconditional); in the
        caller's, nothing of the engine's is locked and a worker rings later (`ring`). A message to a saga
        that is still only a start has no bell yet; it too is rung later.
        A start whose (definition, key) exists: same request hash gives that saga's id with `new=False`.
        A message whose id exists: `new=False`, nothing changes.

        Raises:
            KeyTaken: (definition, key) exists with another request hash. NotFound: no saga with the id
                `message.saga` (neither a row nor a start in the inbox). Nothing is stored then.
        """

    def put_sync(self, messages: Sequence[Message], *, session: Any) -> list[Receipt]:
        """`put` into a caller's synchronous `Session` or `Connection`, from synchronous code."""

    async def find(self, definition: str, key: str) -> UUID | None:
        """The saga that (definition, key) started, from the inbox's starts."""

    async def ring(self, *, limit: int = 500) -> int:
        """Ring the bells of messages (not starts) that were stored without; returns how many messages.

        Those whose saga has no row yet are left for a later call.
        """

    async def claim_starts(self, worker: UUID, definitions: Served, *, limit: int) -> list[Message]:
        """Starts that nobody has taken, oldest first, now taken by `worker`.

        Where `definitions` has versions, those of a newer one are left to a worker that has it; an older
        one's saga is begun in the worker's.

        By done flag and SKIP LOCKED, without a cursor: a row that is committed late is not passed over.
        Each is given to one worker only, until that worker is dead (`take_over`) or gives it back. A worker
        that was taken over gets none, however late its call comes.
        """

    async def mail(self, sagas: Sequence[UUID]) -> dict[UUID, tuple[Message, ...]]:
        """What is unread of these sagas, each saga's oldest first; those without are left out."""

    # --- who executes ---------------------------------------------------------------------------

    async def register(self, worker: WorkerInfo) -> ChainHead:
        """Enter a worker and give it a chain of its own: an idle one, fenced (epoch + 1), or a new one."""

    async def open_chain(self, worker: UUID) -> ChainHead:
        """One more chain for the same worker.

        Raises:
            StoreUnavailable: it was taken over.
        """

    async def heartbeat(self, worker: UUID, lease: timedelta) -> bool:
        """Prolong the lease to `now + lease`. False: it had run out and was taken over; stop writing."""

    async def unregister(self, worker: UUID) -> None:
        """A clean end: everything it still owns is handed back (runnable now), its chains become idle."""

    async def take_over(self) -> list[UUID]:
        """Fence workers whose lease ran out; returns their ids. Safe to call from many at once.

        Their chains' epochs + 1, their sagas unowned (epoch + 1, runnable now), their taken starts free.
        `heard` of those sagas becomes -1: whoever claims one next is told so (`Claimed.orphaned`), once.
        """

    async def guard(self, rows: Sequence[OwnRow]) -> None:
        """See to it that the tables of `rows` (their `object` is `type:`) carry the guard trigger.

        On PostgreSQL; where it is there already nothing is done, and a table that does not exist is left
        out. SQLite has no guard: other programs that write to the file are on their own there.

        Raises:
            ConfigError: the role may not create triggers on a table.
        """

    async def fence(self, chain: int, *, owner: UUID | None = None) -> ChainHead:
        """Epoch + 1 and read, in one statement.

        After a broken answer only this tells whether a batch landed.

        Raises:
            HeadMoved: the chain is no longer `owner`'s (where one is given): the lease ran out and somebody
                else writes it now; nothing was changed.
        """

    async def workers(self) -> list[WorkerInfo]:
        """Those whose lease holds."""

    async def claim(self, worker: UUID, definitions: Served, *, limit: int) -> list[Claimed]:
        """Sagas that nobody owns and that are due or rung, now owned by `worker` with epoch + 1.

        Due: `wake_at <= now` (deadline, timer, retry, hand-back). Rung: `arrivals <> heard`.
        A paused one has no `wake_at`, so only its bell, or its worker's death, has it claimed.
        Where `definitions` has versions, sagas that are not over are left to a worker that
        has theirs. With their unread mail, read after the arrivals, so that the bells count as
        answered (`heard = arrivals`; the mail itself stays unread until a unit consumes it). `wake_at` is
        null while owned. SKIP LOCKED; oldest due first, then the rung ones by id. A worker that was taken
        over gets none, however late its call comes.
        """

    async def unserved(self, definitions: Mapping[str, int]) -> set[tuple[str, int]]:
        """(name, version) of sagas that `claim` would give but for their version, and no live worker has."""

    async def reclaim(self, saga: UUID, worker: UUID) -> Claimed | None:
        """That very saga if nobody owns it, due or not, for a living worker that knows why; else None."""

    async def reload(self, saga: UUID, worker: UUID, epoch: int) -> Claimed | None:
        """An owned saga read again (record, arrivals, mail); None if the lease is gone."""

    async def hand_back(self, worker: UUID, sagas: Sequence[UUID]) -> None:
        """Give up owned sagas unchanged; they are runnable at once by anybody."""

    async def held(self, worker: UUID) -> list[UUID]:
        """Sagas that the worker owns and starts that it has taken: all that nobody else may touch."""

    async def rest(self, saga: UUID, worker: UUID, claimed: Claimed) -> bool:
        """Give up a claimed saga for which there is nothing to do, unchanged: asleep until due or rung.

        `wake_at` becomes the record's `due_at`, `heard` the claim's arrivals. False, and nothing done:
        a bell rang since (read the mail again: `reload`), or the lease is gone.
        """

    async def give_back_starts(self, worker: UUID, messages: Sequence[UUID]) -> None:
        """Give up taken starts that were not begun."""

    async def ring_sagas(self, sagas: Sequence[UUID]) -> None:
        """Ring the bells of these sagas (`arrivals + 1`): they came to the front of a lock's queue."""

    async def wait_graph(self) -> WaitGraph:
        """On one snapshot: every unpaused saga that waits for a lock, and all queues that it stands in."""

    # --- the batch ------------------------------------------------------------------------------

    async def write(self, batch: Batch) -> Written:
        """Write a batch, all or nothing, durable on return.

        Conditions, each of which refuses the member that fails it (`BatchRefused` names every loser found):
          - STALE: the saga's row has `unit.before` as revision and `unit.epoch` as epoch, and `batch.worker`
            owns it;
          - ARRIVALS: where `unit.arrivals` is given, the row has it;
          - KNOWN: a `unit.start` whose id or (definition, key) is new (and an inserted saga's id is new);
          - TAKEN: every inbox row in `unit.consumes` is not done yet;
          - BUSY: an `optimistic` unit is a holder of every object in `admit` after the upsert;
          - VERSION: each change's object stands at `version - 1`.
        Effects: saga rows inserted or updated (`heard` becomes `unit.arrivals` where that is given; where
        `release`, owner null and `wake_at` the record's `due_at`, else owner `batch.worker` and `wake_at`
        null), log rows inserted, objects' queues changed by the net of `free` and `admit` and states by
        `changes` in one upsert per object in key order (tickets grow), compensation rows upserted, inbox rows
        consumed and posted (one whose id, or (definition, key), exists is ignored; posts that are no starts
        are rung by `ring`), outbox rows inserted (a repeat is ignored), the chain's head moved.
        All `free` of a batch apply to an object's queue as it was; then the `admit` append, in the units'
        order. A place is identified by mode and saga; its `since` is the unit's `record.updated_at`.

        Raises:
            BatchRefused: see above. HeadMoved: the chain is not at `batch.head` with its epoch.
            OutcomeUnknown: the connection broke; call `fence`. StoreError: refused without a name, such as
                for a lock freed on an object that has no row.
        """

    async def write_with_rows(
        self,
        *,
        head: ChainHead,
        worker: UUID,
        saga: UUID,
        rows: Sequence[OwnRow],
        compose: Callable[[Mapping[str, RowImages]], Unit],
    ) -> tuple[Written, ChainHead]:
        """One unit and statements on the user's own tables, in one transaction on a chain of its own.

        First each row is locked and read, its statements run (under a lock time-out; on PostgreSQL the
        transaction carries `sagacity.saga`, which the guard trigger lets pass), and read again; a row without
        statements gets a no-op update where its table is guarded. Then `compose` makes the unit from the
        images (it may be called in another thread) and the engine's part is written as in `write`.

        Raises:
            OwnTableError: a statement failed. RowsBusy: a row was not let go within the lock time-out.
            Otherwise as `write`.
        """

    async def rehearse(self, statements: Sequence[tuple[UUID, Sequence[OwnRow]]]) -> Mapping[str, RowImages]:
        """Run each saga's statements on the user's own tables, in order, and roll all of it back.

        The images are those of the last saga's rows, as `write_with_rows` would see them. Nothing stays but
        what no transaction takes back (a sequence has moved on).

        Raises:
            OwnTableError, RowsBusy: as `write_with_rows`.
        """

    # --- reading --------------------------------------------------------------------------------

    async def saga(self, saga: UUID) -> SagaRow | None:
        """A saga as stored; None also for one that is still only in the inbox."""

    async def messages(self, saga: UUID) -> list[Message]:
        """All inbox rows of a saga, read or not, oldest first."""

    async def sagas(self, narrowed: Filter) -> list[SagaSummary]:
        """Newest first. Starts still in the inbox are listed as `pending`."""

    async def counts(self, *, definition: str | None = None) -> dict[Status, int]:
        """Sagas per status, exact, pending starts included."""

    async def tally(self, *, definition: str | None = None, upto: int = 20_000) -> dict[Status, Count]:
        """Sagas per status, pending starts included, each counted to `upto` and no further.

        So its cost does not grow with the number of sagas. Those that ended well, that run, or of one
        definition, are counted to a tenth of it: their rows must be read.
        """

    async def gauges(self) -> Gauges:
        """What is counted for those who watch: from indexes alone, all of it at one moment."""

    async def statuses(self, sagas: Sequence[UUID]) -> dict[UUID, SagaSummary]:
        """Where these stand; those still in the inbox as `pending`, unknown ids left out."""

    async def history(self, saga: UUID, *, after: int = -1, limit: int | None = None) -> list[HistoryLine]:
        """The saga's lines by seq, from behind `after`."""

    async def objects(self, objects: Sequence[str]) -> dict[str, ObjectState]:
        """These participants as committed; absent ones as version 0."""

    async def object(self, object: str) -> ObjectView:
        """One participant with its queue; version 0 where unknown."""

    async def object_history(
        self, object: str, *, after: int = 0, limit: int | None = None
    ) -> list[ObjectVersion]:
        """Its `applied` lines by version, from behind `after`."""

    async def locks(self, *, object: str | None = None, saga: UUID | None = None) -> list[LockView]:
        """All places in all queues, by object, then place."""

    async def rolled_back_by(self, saga: UUID) -> UUID | None:
        """The rollback saga that was started for a committed saga, if any."""

    async def definition_hashes(self, names: Sequence[str]) -> dict[tuple[str, int], str]:
        """(definition, version) → hash that its sagas were last started with, for `check`."""

    # --- the log, whole -------------------------------------------------------------------------

    async def heads(self) -> list[ChainHead]:
        """All chain heads, in one statement (a consistent cut)."""

    def chain_rows(self, chain: int, *, upto: int) -> AsyncIterator[LogRow]:
        """A chain's lines by position, up to and with `upto`, streamed."""

    def chain_links(self, chain: int, *, after: int, upto: int) -> AsyncIterator[Sequence[Link]]:
        """The same from behind `after`, page by page and as the chain sees them."""

    def rows_by_saga(self, heads: Sequence[ChainHead]) -> AsyncIterator[LogRow]:
        """Every line up to `heads`, ordered by (saga, seq), streamed."""

    def sagas_whole(self) -> AsyncIterator[SagaRow]:
        """Every saga row, by id, streamed."""

    def objects_whole(self) -> AsyncIterator[ObjectState]:
        """Every object row, by key, streamed."""

    async def effects_of(self, saga: UUID) -> list[Any]:
        """The compensation rows of a saga as `Effect` records, by n."""

    def effects_whole(self) -> AsyncIterator[tuple[UUID, Any]]:
        """Every compensation row as (saga, `Effect`), by saga and n, streamed."""

    async def known_messages(self, ids: Sequence[UUID]) -> frozenset[UUID]:
        """Those of `ids` that lie in the inbox, read or not."""

    async def erase(
        self, saga: UUID, seqs: Sequence[int], unit: Unit, head: ChainHead, worker: UUID
    ) -> ChainHead:
        """Set `data` of those lines to null together with `unit`'s `erased` line, in one transaction.

        With it goes what the saga's row and its inbox rows hold: `input`, `data`, `payload` become JSON null;
        and the `reason` in its outbox rows.
        """

    async def load(
        self,
        rows: AsyncIterator[Sequence[LogRow]],
        sagas: Sequence[Record],
        objects: Sequence[ObjectState],
        heads: Sequence[ChainHead],
        starts: Sequence[Message],
    ) -> None:
        """Fill an empty store with a rebuilt history (`sagacity rebuild`).

        Raises:
            Conflict: the store is not empty.
        """

    # --- notices --------------------------------------------------------------------------------

    async def notices(self, *, limit: int, after: str = "") -> list[tuple[UUID, Notice]]:
        """Unsent notices, per key only the lowest, with the row's id; by key, of keys behind `after`."""

    async def notices_sent(self, ids: Sequence[UUID]) -> None:
        """Acknowledge: they are not sent again."""

    async def tell_of(
        self, lasting: Sequence[Notice], *, early: Collection[str] = (), unsure: tuple[str, ...] = ()
    ) -> int:
        """Put those notices of kind `attention` into the outbox that do not lie there yet.

        What was put in before, was sent, and is not among them any more goes: if it comes again, it is told
        again. Called by two at once it may be told twice.

        Args:
            lasting: everything that needs a human now, each with a key that stays the same while it does.
            early: keys of those that are not put in yet; but what lies there already stays.
            unsure: how keys begin of which there may be more than are given: none of them goes.

        Returns: how many were put in.
        """

    # --- waking ---------------------------------------------------------------------------------

    async def hint(self) -> None:
        """Tell other processes that there may be something to claim; may be lost. The caller coalesces."""

    async def hinted(self) -> None:
        """Return when a hint arrived since the last call. Polling stands behind it."""
