"""The contract of the operators' office: plans, selections, tokens, and what operators did.

Part of `Store` (`store/base.py`), which inherits it. These rows are what came from outside: no fold
of the log gives them again, and nothing here moves a saga. Only a message in its inbox does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol
from uuid import UUID

from sagacity.decide.attention import Limits
from sagacity.model.operating import ActLine, Plan, PlanStatus, Selection, Token, Verb
from sagacity.model.record import Status, WaitsFor
from sagacity.model.unit import Message, WorkerInfo
from sagacity.model.views import LockView, SagaSummary

if TYPE_CHECKING:
    from sagacity.store.base import SagaRow


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanFilter:
    """Which plans to list; empty fields do not narrow. `before` pages: ids below it, newest first.

    Attributes:
        status: as stored; `open` also gives those that have expired since.
        needs_second: only those that need a second person.
        unexpired_at: only those whose time has not run out by then.
        glass_open: only those applied without a second person that nobody has acknowledged.
        limit: so many at most, and never more than 500.
    """

    status: tuple[PlanStatus, ...] = ()
    verb: Verb | None = None
    made_by: str | None = None
    needs_second: bool = False
    unexpired_at: datetime | None = None
    glass_open: bool = False
    before: UUID | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanPage:
    """Some plans, newest first. `next`: what the page behind it is `before`; None: there is none."""

    plans: tuple[Plan, ...]
    next: UUID | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFilter:
    """Which tokens to list; empty fields do not narrow. `before` pages: ids below it, newest first.

    Attributes:
        name: as issued; several had it, if those before were revoked or are over.
        limit: so many at most, and never more than 500.
    """

    name: str | None = None
    id: UUID | None = None
    before: UUID | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ActsFilter:
    """Which audit lines to read; empty fields do not narrow.

    Attributes:
        before: (at, chain, position) of the last line of the page before; newest first.
        since: lines from this instant on.
        limit: so many at most, and never more than 1,000.
    """

    before: tuple[datetime, int, int] | None = None
    since: datetime | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One condition of a search; several must all hold.

    Attributes:
        field: definition, status, state (one of its leaves), key, waits, paused, error (a part of the reason
            or of the last error, letters a to z in either case): one of `values`; created, due (when it
            moves by itself, while nobody owns it): compared with `at`.
    """

    field: str
    values: tuple[str, ...] = ()
    compare: str = ""
    at: datetime | None = None
    negated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A saga of a plan that stands elsewhere than it was planned for; `revision` None: it is gone."""

    saga: UUID
    planned: int
    revision: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LockBoard:
    """The places in the queues of locked objects, the most waited-for object first.

    Attributes:
        complete: False where there were more sagas with locks than were looked at.
    """

    locks: tuple[LockView, ...]
    complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Matter:
    """One saga that may need a human.

    Attributes:
        since: when it last moved.
        due_at: when a worker should take it up.
        acked: kinds of attention that somebody has acknowledged since it moved.
        tried_since: since when something is tried again and again; None: nothing failed, or it was not read.
        asked: objects whose locks it waits for, where that was read.
    """

    saga: UUID
    definition: str
    version: int
    key: str
    status: Status
    waits_for: WaitsFor | None
    state: str
    paused: bool
    error: str | None
    since: datetime
    due_at: datetime | None
    acked: frozenset[str]
    tried_since: datetime | None = None
    asked: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Matters:
    """What the attention page is made from; each at most one row longer than the limit.

    Attributes:
        stuck: the oldest first. gave_up: sagas with a compensation that gave up.
        overdue: due and not taken up. endless: nothing is scheduled. retrying: due again before long.
        rung: they have mail that nobody has read. lost: their worker is gone.
        queued: they wait for a lock. starts: they lie in the inbox for too long.
        workers: those whose lease holds.
    """

    stuck: tuple[Matter, ...]
    gave_up: frozenset[UUID]
    paused: tuple[Matter, ...]
    overdue: tuple[Matter, ...]
    endless: tuple[Matter, ...]
    retrying: tuple[Matter, ...]
    rung: tuple[Matter, ...]
    lost: tuple[Matter, ...]
    queued: tuple[Matter, ...]
    starts: tuple[Matter, ...]
    workers: tuple[WorkerInfo, ...]


class Office(Protocol):
    """What a store keeps for operators, within its tenant and lane."""

    async def put_plan(self, plan: Plan) -> None:
        """Store a new plan.

        Raises:
            StoreError: its id is taken.
        """

    async def plan(self, plan: UUID) -> Plan | None:
        """A plan as stored. One whose time has run out is still `open` here: compare `expires_at`."""

    async def plans(self, narrowed: PlanFilter) -> PlanPage:
        """A page of them. It ends early, after one plan at least, where their items are over 4 MB of JSON."""

    async def move_plan(self, plan: Plan, *, expect: Sequence[PlanStatus], unexpired: bool = True) -> bool:
        """Write what can change of a plan, if it still stands in one of `expect`.

        What can change: status, reason, ticket, approved_by, rejected_by, applied_at, applied_by,
        break_glass, acknowledged_by. Compare-and-set: False, and nothing written, where it stands elsewhere
        (or is not there), its hash is another, or, with `unexpired`, its time has run out.
        """

    async def apply_plan(
        self, plan: Plan, messages: Sequence[Message], *, expect: Sequence[PlanStatus]
    ) -> tuple[Moved, ...] | None:
        """`move_plan` and `put` of `messages` in one transaction: whole or not at all.

        Returns: nothing () where it is done; those sagas of `plan.touches` whose revision is no longer the
        planned one, and nothing was written; None where `move_plan` would say False.

        Raises:
            NotFound: see `put`.
        """

    async def overtaken(self, plans: Sequence[Plan], /, *, upto: int = 2_000) -> frozenset[UUID]:
        """Those of these plans that `apply_plan` would refuse, for a saga stands elsewhere by now.

        No more than `upto` sagas are looked up; a plan of which some were not looked up counts as good.
        """

    async def put_selection(self, selection: Selection) -> None:
        """Store a selection.

        Raises:
            StoreError: its id is taken.
        """

    async def selection(self, selection: UUID) -> Selection | None:
        """A selection as stored."""

    async def put_token(self, token: Token) -> None:
        """Store a new token.

        Raises:
            StoreError: its id or its hash is taken.
        """

    async def token_by_hash(self, hash: str) -> Token | None:
        """The token whose secret has this hash, also a revoked or expired one: the caller looks."""

    async def tokens(self, narrowed: TokenFilter) -> list[Token]:
        """A page of them, revoked and expired ones too, newest first; a short one is the last."""

    async def revoke_token(self, token: UUID) -> bool:
        """Refuse it from now on. False: there is none, or it was revoked before."""

    async def token_used(self, token: UUID) -> None:
        """Note that it was used now; may be lost with the machine. The caller does not do it every time."""

    async def acts(self, narrowed: ActsFilter) -> list[ActLine]:
        """Lines `act` and `act_refused` of all sagas, newest first."""

    async def acts_of(self, sagas: Sequence[UUID]) -> list[ActLine]:
        """Those lines of these sagas, by saga and seq."""

    async def sagas_by_id(self, sagas: Sequence[UUID]) -> "dict[UUID, SagaRow]":
        """These sagas as stored; those without a row are left out."""

    async def search(
        self, terms: Sequence[Term], *, limit: int, before: UUID | None = None
    ) -> list[SagaSummary]:
        """Sagas (not starts that still lie in the inbox) that all terms hold for, newest first.

        With `error` among the terms it looks at no more than 20,000 sagas that the others hold for.
        """

    async def matters(self, limits: Limits) -> Matters:
        """What may need a human, as one moment had it."""

    async def lock_board(self, *, limit: int = 1_000) -> LockBoard:
        """Who holds and who waits, looked up from at most `limit` unfinished sagas of each sort."""
