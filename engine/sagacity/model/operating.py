"""The words of operators' acts: verbs, roles, plans. Plain frozen records, the same for every face.

A plan names exactly what it will touch; nothing that is not in it is touched when it is applied
(`docs/adr/0007-plan-then-apply.md`).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal
from uuid import UUID

from sagacity.model.canonical import NULL, Json


class Verb(StrEnum):
    """What an operator can do. Each has one meaning, in every face."""

    RETRY = "retry"
    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    SIGNAL = "signal"
    SKIP = "skip"
    FORCE = "force"
    ABANDON = "abandon"
    RELEASE_LOCK = "release-lock"
    ROLLBACK = "rollback"
    ACK = "ack"


TIER: dict[Verb, int] = {
    Verb.RETRY: 1,
    Verb.PAUSE: 1,
    Verb.RESUME: 1,
    Verb.SIGNAL: 1,
    Verb.ACK: 1,
    Verb.CANCEL: 2,
    Verb.SKIP: 3,
    Verb.FORCE: 3,
    Verb.ABANDON: 3,
    Verb.RELEASE_LOCK: 3,
    Verb.ROLLBACK: 3,
}
"""How dangerous each verb is when it is for one saga; a bulk counts higher."""

REASON_FROM = 8
"""Characters a reason must at least have."""
BULK_FROM = 20
"""More sagas than this in one plan are a bulk."""
PLAN_FOR = timedelta(minutes=15)
"""How long a plan can be applied."""
SELECTION_UPTO = 10_000
"""Sagas that one selection, and so one plan, may name."""
TOP_TIER = 3


GLASS = "break_glass"
"""What is acknowledged where a second person was needed and not asked."""


class Role(StrEnum):
    """What somebody may do; see the tiers in the ADR. `admin` has all of them."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    SENIOR = "senior"
    APPROVER = "approver"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who acts.

    Attributes:
        id: `local:NAME` (command line with a store), `token:NAME`, `oidc:SUBJECT`, or `dev` and `second`.
        roles: what they may do.
        definitions: the definitions that their roles hold for; None: all.
        kind: people may approve; services and agents may not.
    """

    id: str
    roles: frozenset[Role]
    definitions: frozenset[str] | None = None
    kind: Literal["person", "service", "agent"] = "person"

    def may(self, role: Role, definition: str | None = None) -> bool:
        """Whether they have `role` (senior includes operator, everybody is a viewer), for `definition`."""
        if definition is not None and self.definitions is not None and definition not in self.definitions:
            return False
        wanted = {role, Role.ADMIN}
        if role is Role.OPERATOR:
            wanted.add(Role.SENIOR)
        return bool(wanted & self.roles) or (role is Role.VIEWER and bool(self.roles))


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What is to be done, to what: the sagas by id, or a stored selection.

    Attributes:
        args: canonical JSON object with what the verb needs: signal {name, data}; skip {result, landed};
            force {to, landed, break_edge}; release-lock {object, fence, holder}; ack {kind}; others {}.
    """

    verb: Verb
    sagas: tuple[UUID, ...] = ()
    selection: UUID | None = None
    args: Json = NULL


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanItem:
    """What a plan does to one saga.

    Attributes:
        revision: the saga's `seq` when it was planned; apply and worker refuse another one.
        refusal: why the verb is not possible here; None: it is. A refused item is shown and left alone.
        before, after: where it stands and where it will (`waiting in shipped`), in words.
        effects: calls that become real, and those that never will, one sentence each, marked `+` or `!`.
        locks: what is freed and who is next, one sentence each.
        unknown: what cannot be known before it is done.
    """

    saga: UUID
    definition: str
    key: str
    revision: int
    refusal: str | None
    before: str
    after: str
    effects: tuple[str, ...] = ()
    locks: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


class PlanStatus(StrEnum):
    """The life of a plan. `open` may need an approval; only `open` and `approved` can be applied."""

    OPEN = "open"
    APPROVED = "approved"
    APPLIED = "applied"
    REJECTED = "rejected"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One plan, as stored.

    Attributes:
        hash: SHA-256, in hex, over verb, arguments and items: what an approval is bound to.
        selection: the selection it was made from, if it was.
        newcomers: how many sagas match that selection's filter by now and are not included.
        reason, ticket, applied_at, applied_by: set when it is applied.
        approved_by, rejected_by: the second person.
        break_glass: it was applied without the second person that it needed.
        acknowledged_by: who else has looked at that since.
    """

    id: UUID
    verb: Verb
    args: Json
    tier: int
    items: tuple[PlanItem, ...]
    hash: str
    made_by: str
    made_at: datetime
    expires_at: datetime
    status: PlanStatus = PlanStatus.OPEN
    selection: UUID | None = None
    newcomers: int = 0
    reason: str | None = None
    ticket: str | None = None
    approved_by: str | None = None
    rejected_by: str | None = None
    applied_at: datetime | None = None
    applied_by: str | None = None
    break_glass: bool = False
    acknowledged_by: str | None = None

    @property
    def touches(self) -> tuple[PlanItem, ...]:
        """What apply will act on: the items that are not refused."""
        return tuple(item for item in self.items if item.refusal is None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """A filter, resolved once. `complete` is False where it stopped at the limit."""

    id: UUID
    filter: str
    made_by: str
    made_at: datetime
    sagas: tuple[UUID, ...]
    complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemOutcome:
    """What became of one item of an applied plan: pending, done, or refused with the log's reason."""

    saga: UUID
    state: Literal["pending", "done", "refused"]
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A credential for a program or a person without a browser. The secret itself is nowhere stored.

    Attributes:
        hash: SHA-256 of the secret, in hex; unique.
        definitions: those that the roles hold for; None: all.
        revoked_at: from then on it is refused, expired or not.
        last_used_at: roughly; it may lie some time behind.
    """

    id: UUID
    name: str
    hash: str
    roles: frozenset[Role]
    definitions: frozenset[str] | None
    kind: Literal["person", "service", "agent"]
    made_by: str
    made_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ActLine:
    """One line `act` or `act_refused` of the log, for the audit.

    Attributes:
        data: what the line says: verb, actor, approver, reason, plan, ticket, before, after; None: erased.
    """

    saga: UUID
    seq: int
    at: datetime
    kind: str
    data: Json | None
    chain: int
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionItem:
    """One thing that nothing will move by itself, or that somebody should know of.

    Attributes:
        saga: None for what is about a plan alone.
        since: since when it stands like this.
        detail: one sentence.
    """

    saga: UUID | None
    definition: str
    key: str
    since: datetime
    detail: str
    plan: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionGroup:
    """Items that look alike: the same kind, definition, state and error (digits and ids aside).

    Attributes:
        kind: see `decide/attention.py`.
        fingerprint: a short text that is the same for all of them, and stays the same.
        what: one sentence about all of them.
        count: how many; at least so many where `exact` is False.
        first_seen, last_seen: when the oldest, and when the newest came to stand like this.
        items: the oldest, at most 20.
    """

    kind: str
    fingerprint: str
    definition: str
    version: int | None
    state: str
    what: str
    count: int
    exact: bool
    first_seen: datetime
    last_seen: datetime
    items: tuple[AttentionItem, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One link of the chain that a saga waits for: `text` says what it waits for, in one sentence.

    Attributes:
        object: the participant whose lock the one before waits for; None for the first.
    """

    saga: UUID
    definition: str
    key: str
    object: str | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class May:
    """Whether somebody may do something to a saga. `refusal` None: they may; `asked`: what it takes."""

    verb: Verb
    saga: UUID
    tier: int
    refusal: str | None
    asked: tuple[str, ...]
