"""The tables, declared once for both databases.

Every key leads with tenant and lane, so no query of one tenant or lane can meet a row of
another. A row of the first six changes only in a transaction that appends its line to `log` (leases
and bells aside), so folding the log gives those again; the rest is what came from outside.

    saga          one saga as it now is                 log     what happened, append-only, chained
    compensation  one effect and how it is made good    chain   where each chain of the log stands
    object        one participant and its lock queue    outbox  what listeners are told

    inbox  what came in from outside      worker     who executes, and until when
    plan   what an operator wants done    selection  a filter, resolved once     token  who may come in
"""

from typing import Any

from sqlalchemy import (
    DDL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ColumnElement,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    and_,
    event,
    literal_column,
    not_,
)

from sagacity.model.operating import TOP_TIER, PlanStatus
from sagacity.model.record import EffectStatus, Status, WaitsFor
from sagacity.store.types import Id, Queue, UtcInstant

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


def _text(name: str, *, null: bool = False) -> Column[str]:
    return Column(name, Text, nullable=null)


def _int(name: str, *, null: bool = False, default: str | None = None) -> Column[int]:
    return Column(name, Integer, nullable=null, server_default=default)


def _long(name: str, *, null: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=null, autoincrement=False)


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False)


def _id(name: str, *, null: bool = False) -> Column[Any]:
    return Column(name, Id, nullable=null)


def _at(name: str, *, null: bool = False) -> Column[Any]:
    return Column(name, UtcInstant, nullable=null)


def _scope() -> tuple[Column[str], Column[str]]:
    return _text("tenant"), _text("lane")


def _pk(*names: str) -> PrimaryKeyConstraint:
    return PrimaryKeyConstraint("tenant", "lane", *names)


def _one_of(column: str, values: Any) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


def text_constant(value: str) -> ColumnElement[str]:
    """`value` written into the SQL, not bound: only so does a planner see that a partial index fits."""
    return literal_column(f"'{value}'", Text)


def _index(name: str, table: Table, *columns: str, where: ColumnElement[bool], unique: bool = False) -> None:
    """A partial index, led by tenant and lane, with the same condition on both databases."""
    Index(
        name,
        *(table.c[column] for column in ("tenant", "lane", *columns)),
        unique=unique,
        postgresql_where=where,
        sqlite_where=where,
    )


saga = Table(
    "saga",
    metadata,
    *_scope(),
    _id("id"),
    _text("definition"),
    _int("version"),
    _text("definition_hash"),
    _text("key"),
    _text("state"),  # ids of the active leaf states, joined by a space
    _text("status"),
    _text("waits_for", null=True),
    _text("reason", null=True),
    _flag("paused"),
    _int("revision"),
    _int("seq"),
    _int("epoch"),
    _id("owner", null=True),
    _int("arrivals", default="0"),
    _int("heard", default="0"),
    _at("created_at"),
    _at("updated_at"),
    _at("due_at", null=True),
    _at("wake_at", null=True),  # for scheduling only: null while owned; no part of the record
    _id("parent", null=True),
    _text("parent_step", null=True),
    _id("rolls_back", null=True),
    _int("schema_version"),
    _text("input"),
    _text("memo"),
    _pk("id"),
    _one_of("status", Status),
    _one_of("waits_for", WaitsFor),
    CheckConstraint("(status = 'waiting') = (waits_for IS NOT NULL)", name="waiting"),
    Index("saga_definition", "tenant", "lane", "definition", "id"),
    postgresql_with={"fillfactor": 80},
)

FREE = saga.c.owner.is_(None)
"""Nobody owns the saga."""
RUNG = and_(FREE, saga.c.arrivals != saga.c.heard)
"""A free saga whose bell nobody has answered."""
OPEN_MATTERS = saga.c.status.not_in([text_constant(Status.COMMITTED), text_constant(Status.RUNNING)])
"""Neither in full swing nor well ended: what operators look for."""
QUEUED = saga.c.waits_for == text_constant(WaitsFor.LOCK)
"""It stands in a lock's queue."""
PAUSED = saga.c.paused.is_(True)
"""An operator let it stand; in these letters, for SQLite's planner goes by them."""

_index("saga_due", saga, "wake_at", where=and_(FREE, saga.c.wake_at.is_not(None)))
_index("saga_rung", saga, "id", where=RUNG)
_index("saga_owner", saga, "owner", where=saga.c.owner.is_not(None))
_index("saga_rolls_back", saga, "rolls_back", where=saga.c.rolls_back.is_not(None))
_index("saga_queued", saga, "id", where=QUEUED)
_index("saga_open", saga, "status", "id", where=OPEN_MATTERS)
_index("saga_paused", saga, "status", "id", where=PAUSED)

log = Table(
    "log",
    metadata,
    *_scope(),
    _int("chain"),
    _long("position"),
    _id("saga"),
    _int("seq"),
    _text("kind"),
    _text("object", null=True),
    _long("version", null=True),
    _int("schema_version"),
    _at("at"),
    _text("data", null=True),
    Column("digest", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    _pk("chain", "position"),
    Index("log_saga", "tenant", "lane", "saga", "seq", unique=True),
)
_index("log_object", log, "object", "version", where=log.c.object.is_not(None), unique=True)
IS_ACT = log.c.kind.in_([text_constant("act"), text_constant("act_refused")])
"""An operator did something, or was not let."""
_index("log_act", log, "at", "chain", "position", where=IS_ACT)

chain = Table(
    "chain",
    metadata,
    *_scope(),
    _int("id"),
    _id("owner", null=True),  # null: idle, the next worker may take it
    _int("epoch"),
    _long("position"),
    Column("hash", LargeBinary, nullable=False),
    _pk("id"),
    postgresql_with={"fillfactor": 50},
)

object = Table(
    "object",
    metadata,
    *_scope(),
    _text("object"),  # type:id
    _long("version"),
    _text("state"),
    Column("queue", Queue, nullable=False),
    _long("tickets"),  # given out so far: fencing numbers only grow
    _int("schema_version"),
    _pk("object"),
    postgresql_with={"fillfactor": 50},
)

compensation = Table(
    "compensation",
    metadata,
    *_scope(),
    _id("saga"),
    _int("n"),
    _text("step"),
    _int("visit"),
    _text("key"),
    _text("undo", null=True),
    _flag("safe_on_nothing"),
    _text("status"),
    _text("result"),
    _int("undo_attempts"),
    _at("undo_since", null=True),
    _at("undo_due_at", null=True),
    _text("error", null=True),
    _int("schema_version"),
    _pk("saga", "n"),
    _one_of("status", EffectStatus),
    postgresql_with={"fillfactor": 80},
)
GAVE_UP = compensation.c.status == text_constant(EffectStatus.GAVE_UP)
"""A compensation that ran out of attempts."""
_index("compensation_gave_up", compensation, "saga", where=GAVE_UP)

inbox = Table(
    "inbox",
    metadata,
    *_scope(),
    _id("id"),
    _text("kind"),
    _id("saga"),
    _text("definition", null=True),
    _int("version", null=True),
    _text("key", null=True),
    _text("request_hash", null=True),
    _text("name", null=True),
    _text("data"),
    _text("payload"),
    _text("actor", null=True),
    _at("arrived_at"),
    _flag("done"),
    _flag("rung"),  # its saga's bell was rung (a start has no bell: always true)
    _id("taken_by", null=True),
    _int("schema_version"),
    _pk("id"),
    Index("inbox_saga", "tenant", "lane", "saga"),
    postgresql_with={"fillfactor": 80},
)
IS_START = inbox.c.kind == text_constant("start")
"""The row starts a saga, whose id is the row's."""
UNREAD = not_(inbox.c.done)
"""No unit consumed the row yet."""
UNRUNG = not_(inbox.c.rung)
"""Stored in a caller's transaction; a worker rings its bell later."""
_index("inbox_start_key", inbox, "key", "definition", where=IS_START, unique=True)  # also finds by key alone
_index("inbox_start_open", inbox, "id", where=and_(IS_START, UNREAD))
_index("inbox_unrung", inbox, "id", where=UNRUNG)

outbox = Table(
    "outbox",
    metadata,
    *_scope(),
    _id("id"),
    _text("key"),
    _id("saga"),
    _int("seq"),
    _text("kind"),
    _text("data"),
    _flag("sent"),
    _int("schema_version"),
    _pk("id"),
    postgresql_with={"fillfactor": 80},
)
UNSENT = not_(outbox.c.sent)
"""Listeners have not acknowledged the notice."""
_index("outbox_unsent", outbox, "key", "seq", where=UNSENT)
IS_MATTER = outbox.c.kind == text_constant("attention")
"""It tells of what came to need a human with time, not of a line; it stays while that lasts."""
_index("outbox_matter", outbox, "id", where=IS_MATTER)

worker = Table(
    "worker",
    metadata,
    *_scope(),
    _id("id"),
    _text("name"),
    _text("definitions"),  # JSON: name → [version, hash]
    _at("started_at"),
    _at("lease_until"),
    _flag("alive"),
    _pk("id"),
    postgresql_with={"fillfactor": 50},
)

plan = Table(
    "plan",
    metadata,
    *_scope(),
    _id("id"),
    _text("verb"),
    _text("args"),
    _int("tier"),
    _text("items"),  # JSON: every item, as it was shown
    _text("hash"),
    _id("selection", null=True),
    _int("newcomers"),
    _text("status"),
    _text("made_by"),
    _at("made_at"),
    _at("expires_at"),
    _text("reason", null=True),
    _text("ticket", null=True),
    _text("approved_by", null=True),
    _text("rejected_by", null=True),
    _at("applied_at", null=True),
    _text("applied_by", null=True),
    _flag("break_glass"),
    _text("acknowledged_by", null=True),  # who has seen that the glass was broken
    _int("schema_version"),
    _pk("id"),
    _one_of("status", PlanStatus),
)
UNDECIDED = plan.c.status == text_constant(PlanStatus.OPEN)
"""Neither approved nor applied nor rejected; whether it has expired, the clock says."""
TOP = plan.c.tier == literal_column(str(TOP_TIER), Integer)
"""It needs a second person."""
GLASS_OPEN = and_(plan.c.break_glass, plan.c.acknowledged_by.is_(None))
"""Applied without the second person, and nobody else has looked at it since."""
_index("plan_open", plan, "id", where=UNDECIDED)
_index("plan_second", plan, "expires_at", where=and_(UNDECIDED, TOP))
_index("plan_glass", plan, "id", where=GLASS_OPEN)

selection = Table(
    "selection",
    metadata,
    *_scope(),
    _id("id"),
    _text("filter"),
    _text("made_by"),
    _at("made_at"),
    _text("sagas"),  # JSON: their ids
    _flag("complete"),
    _int("schema_version"),
    _pk("id"),
)

token = Table(
    "token",
    metadata,
    *_scope(),
    _id("id"),
    _text("name"),
    _text("hash"),
    _text("roles"),  # JSON: names
    _text("definitions", null=True),  # JSON: names; null: all
    _text("kind"),
    _text("made_by"),
    _at("made_at"),
    _at("expires_at"),
    _at("revoked_at", null=True),
    _at("last_used_at", null=True),
    _int("schema_version"),
    _pk("id"),
    Index("token_hash", "tenant", "lane", "hash", unique=True),
)

# --- the log is append-only -------------------------------------------------------------------------
# One change passes: `data` to null, where an `erased` line of that saga names the line's seq.

APPEND_ONLY_SQLITE = (
    """CREATE TRIGGER log_no_update BEFORE UPDATE ON log
WHEN NOT (NEW.data IS NULL AND OLD.kind <> 'erased'
  AND (NEW.tenant, NEW.lane, NEW.chain, NEW.position, NEW.saga, NEW.seq, NEW.kind,
    NEW.object, NEW.version, NEW.schema_version, NEW.at, NEW.digest, NEW.hash)
  IS (OLD.tenant, OLD.lane, OLD.chain, OLD.position, OLD.saga, OLD.seq, OLD.kind,
    OLD.object, OLD.version, OLD.schema_version, OLD.at, OLD.digest, OLD.hash)
  AND EXISTS (SELECT 1 FROM log AS e, json_each(e.data, '$.seqs') AS named
    WHERE e.tenant = OLD.tenant AND e.lane = OLD.lane AND e.saga = OLD.saga
      AND e.kind = 'erased' AND named.value = OLD.seq))
BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END""",
    """CREATE TRIGGER log_no_delete BEFORE DELETE ON log
BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END""",
)
"""SQLite's triggers, one statement each."""

APPEND_ONLY_POSTGRESQL = (
    """CREATE FUNCTION sagacity_append_only() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
  IF TG_OP = 'UPDATE' THEN
    IF NEW.data IS NULL AND OLD.kind <> 'erased'
      AND (NEW.tenant, NEW.lane, NEW.chain, NEW.position, NEW.saga, NEW.seq, NEW.kind,
        NEW.object, NEW.version, NEW.schema_version, NEW.at, NEW.digest, NEW.hash)
      IS NOT DISTINCT FROM (OLD.tenant, OLD.lane, OLD.chain, OLD.position, OLD.saga, OLD.seq, OLD.kind,
        OLD.object, OLD.version, OLD.schema_version, OLD.at, OLD.digest, OLD.hash)
      AND EXISTS (SELECT 1 FROM log AS e,
          json_array_elements_text(e.data::json -> 'seqs') AS named(seq)
        WHERE e.tenant = OLD.tenant AND e.lane = OLD.lane AND e.saga = OLD.saga
          AND e.kind = 'erased' AND named.seq::int = OLD.seq)
    THEN RETURN NEW;
    END IF;
  END IF;
  RAISE EXCEPTION 'the log is append-only' USING ERRCODE = 'SG002';
END $body$""",
    """CREATE TRIGGER log_append_only BEFORE UPDATE OR DELETE ON log
FOR EACH ROW EXECUTE FUNCTION sagacity_append_only()""",
    """CREATE TRIGGER log_no_truncate BEFORE TRUNCATE ON log
FOR EACH STATEMENT EXECUTE FUNCTION sagacity_append_only()""",
)
"""PostgreSQL's function and triggers, one statement each."""


def _after_log(statements: tuple[str, ...], dialect: str) -> None:
    for statement in statements:
        ddl = DDL(statement.replace("%", "%%"))  # type: ignore[no-untyped-call]
        event.listen(log, "after_create", ddl.execute_if(dialect=dialect))


_after_log(APPEND_ONLY_SQLITE, "sqlite")
_after_log(APPEND_ONLY_POSTGRESQL, "postgresql")
