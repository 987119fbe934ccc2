"""Sagas, their log, their locks, and who executes them.

Kind: expand (there was nothing before).
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.Text().with_variant(postgresql.UUID(), "postgresql")
INSTANT = sa.BigInteger().with_variant(postgresql.TIMESTAMP(timezone=True), "postgresql")
QUEUE = sa.Text().with_variant(postgresql.ARRAY(sa.Text()), "postgresql")


def _table(name: str, *parts: Any, key: Sequence[str], fillfactor: int | None = None) -> None:
    """A table whose key is led by tenant and lane."""
    options: dict[str, Any] = {} if fillfactor is None else {"postgresql_with": {"fillfactor": fillfactor}}
    op.create_table(
        name,
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("lane", sa.Text, nullable=False),
        *parts,
        sa.PrimaryKeyConstraint("tenant", "lane", *key, name=f"pk_{name}"),
        **options,
    )


def _index(
    name: str, table: str, *columns: str, where: str = "", lacks: str = "", unique: bool = False
) -> None:
    """An index led by tenant and lane, over rows that fulfil `where` and whose flag `lacks` is not set."""
    # SQLite writes `NOT flag` as `flag = 0`, and the planner goes by the letter.
    conditions: list[sa.ColumnElement[bool] | sa.TextClause] = [sa.text(where)] if where else []
    conditions += [sa.not_(sa.column(lacks, sa.Boolean))] if lacks else []
    condition = sa.and_(*conditions) if conditions else None
    op.create_index(
        name,
        table,
        ["tenant", "lane", *columns],
        unique=unique,
        postgresql_where=condition,
        sqlite_where=condition,
    )


def _one_of(table: str, column: str, values: str) -> sa.CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values.split())
    return sa.CheckConstraint(f"{column} IN ({listed})", name=f"ck_{table}_{column}")


def _column(name: str, kind: Any, *, null: bool = False, default: str | None = None) -> sa.Column[Any]:
    # Keys are given, never counted up by the database.
    return sa.Column(name, kind, nullable=null, server_default=default, autoincrement=False)


def upgrade() -> None:
    _saga()
    _saga_indexes()
    _log()
    _chain_and_object()
    _compensation()
    _inbox()
    _outbox_and_worker()
    for statement in POSTGRESQL if op.get_context().dialect.name == "postgresql" else SQLITE:
        op.execute(statement)


def downgrade() -> None:
    for table in ("worker", "outbox", "inbox", "compensation", "object", "chain", "log", "saga"):
        op.drop_table(table)
    if op.get_context().dialect.name == "postgresql":
        for function in ("guard()", "holds(text[], text)", "refuse(text[], text)", "append_only()"):
            op.execute(f"DROP FUNCTION sagacity_{function}")


def _saga() -> None:
    _table(
        "saga",
        _column("id", ID),
        _column("definition", sa.Text),
        _column("version", sa.Integer),
        _column("definition_hash", sa.Text),
        _column("key", sa.Text),
        _column("state", sa.Text),
        _column("status", sa.Text),
        _column("waits_for", sa.Text, null=True),
        _column("reason", sa.Text, null=True),
        _column("paused", sa.Boolean),
        _column("revision", sa.Integer),
        _column("seq", sa.Integer),
        _column("epoch", sa.Integer),
        _column("owner", ID, null=True),
        _column("arrivals", sa.Integer, default="0"),
        _column("heard", sa.Integer, default="0"),
        _column("created_at", INSTANT),
        _column("updated_at", INSTANT),
        _column("due_at", INSTANT, null=True),
        _column("wake_at", INSTANT, null=True),
        _column("parent", ID, null=True),
        _column("parent_step", sa.Text, null=True),
        _column("rolls_back", ID, null=True),
        _column("schema_version", sa.Integer),
        _column("input", sa.Text),
        _column("memo", sa.Text),
        _one_of(
            "saga", "status", "pending running waiting compensating stuck committed rolled_back abandoned"
        ),
        _one_of("saga", "waits_for", "lock signal approval timer retry child"),
        sa.CheckConstraint("(status = 'waiting') = (waits_for IS NOT NULL)", name="ck_saga_waiting"),
        key=("id",),
        fillfactor=80,
    )


def _saga_indexes() -> None:
    _index("saga_definition", "saga", "definition", "id")
    _index("saga_due", "saga", "wake_at", where="owner IS NULL AND wake_at IS NOT NULL")
    _index("saga_rung", "saga", "id", where="owner IS NULL AND arrivals != heard")
    _index("saga_owner", "saga", "owner", where="owner IS NOT NULL")
    _index("saga_rolls_back", "saga", "rolls_back", where="rolls_back IS NOT NULL")
    _index("saga_queued", "saga", "id", where="waits_for = 'lock'")
    _index("saga_open", "saga", "status", "id", where="(status NOT IN ('committed', 'running'))")


def _log() -> None:
    _table(
        "log",
        _column("chain", sa.Integer),
        _column("position", sa.BigInteger),
        _column("saga", ID),
        _column("seq", sa.Integer),
        _column("kind", sa.Text),
        _column("object", sa.Text, null=True),
        _column("version", sa.BigInteger, null=True),
        _column("schema_version", sa.Integer),
        _column("at", INSTANT),
        _column("data", sa.Text, null=True),
        _column("digest", sa.LargeBinary),
        _column("hash", sa.LargeBinary),
        key=("chain", "position"),
    )
    _index("log_saga", "log", "saga", "seq", unique=True)
    _index("log_object", "log", "object", "version", where="object IS NOT NULL", unique=True)


def _chain_and_object() -> None:
    _table(
        "chain",
        _column("id", sa.Integer),
        _column("owner", ID, null=True),
        _column("epoch", sa.Integer),
        _column("position", sa.BigInteger),
        _column("hash", sa.LargeBinary),
        key=("id",),
        fillfactor=50,
    )
    _table(
        "object",
        _column("object", sa.Text),
        _column("version", sa.BigInteger),
        _column("state", sa.Text),
        _column("queue", QUEUE),
        _column("tickets", sa.BigInteger),
        _column("schema_version", sa.Integer),
        key=("object",),
        fillfactor=50,
    )


def _compensation() -> None:
    _table(
        "compensation",
        _column("saga", ID),
        _column("n", sa.Integer),
        _column("step", sa.Text),
        _column("visit", sa.Integer),
        _column("key", sa.Text),
        _column("undo", sa.Text, null=True),
        _column("safe_on_nothing", sa.Boolean),
        _column("status", sa.Text),
        _column("result", sa.Text),
        _column("undo_attempts", sa.Integer),
        _column("undo_since", INSTANT, null=True),
        _column("undo_due_at", INSTANT, null=True),
        _column("error", sa.Text, null=True),
        _column("schema_version", sa.Integer),
        _one_of("compensation", "status", "armed landed void undone gave_up"),
        key=("saga", "n"),
        fillfactor=80,
    )
    _index("compensation_gave_up", "compensation", "saga", where="status = 'gave_up'")


def _inbox() -> None:
    _table(
        "inbox",
        _column("id", ID),
        _column("kind", sa.Text),
        _column("saga", ID),
        _column("definition", sa.Text, null=True),
        _column("version", sa.Integer, null=True),
        _column("key", sa.Text, null=True),
        _column("request_hash", sa.Text, null=True),
        _column("name", sa.Text, null=True),
        _column("data", sa.Text),
        _column("payload", sa.Text),
        _column("actor", sa.Text, null=True),
        _column("arrived_at", INSTANT),
        _column("done", sa.Boolean),
        _column("rung", sa.Boolean),
        _column("taken_by", ID, null=True),
        _column("schema_version", sa.Integer),
        key=("id",),
        fillfactor=80,
    )
    _index("inbox_saga", "inbox", "saga")
    _index("inbox_start_key", "inbox", "key", "definition", where="kind = 'start'", unique=True)
    _index("inbox_start_open", "inbox", "id", where="kind = 'start'", lacks="done")
    _index("inbox_unrung", "inbox", "id", lacks="rung")


def _outbox_and_worker() -> None:
    _table(
        "outbox",
        _column("id", ID),
        _column("key", sa.Text),
        _column("saga", ID),
        _column("seq", sa.Integer),
        _column("kind", sa.Text),
        _column("data", sa.Text),
        _column("sent", sa.Boolean),
        _column("schema_version", sa.Integer),
        key=("id",),
        fillfactor=80,
    )
    _index("outbox_unsent", "outbox", "key", "seq", lacks="sent")
    _table(
        "worker",
        _column("id", ID),
        _column("name", sa.Text),
        _column("definitions", sa.Text),
        _column("started_at", INSTANT),
        _column("lease_until", INSTANT),
        _column("alive", sa.Boolean),
        key=("id",),
        fillfactor=50,
    )


# As the store declares them on the day of this migration.
SQLITE = (
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
POSTGRESQL = (
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
    """CREATE OR REPLACE FUNCTION sagacity_refuse(losers text[], hint text) RETURNS boolean
LANGUAGE plpgsql AS $body$
BEGIN
  RAISE EXCEPTION 'the batch was refused'
    USING ERRCODE = 'SG001', DETAIL = array_to_string(losers, ','), HINT = hint;
END $body$""",
    """CREATE OR REPLACE FUNCTION sagacity_holds(queue text[], saga text) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $body$
SELECT EXISTS (
  SELECT 1 FROM unnest(queue) WITH ORDINALITY AS mine(entry, place)
  WHERE substr(mine.entry, 2, 36) = saga
    AND (mine.place = 1 OR mine.place < coalesce(
      (SELECT min(other.place) FROM unnest(queue) WITH ORDINALITY AS other(entry, place)
       WHERE left(other.entry, 1) = 'x'), mine.place + 1)))
$body$""",
    """CREATE OR REPLACE FUNCTION sagacity_guard() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $body$
DECLARE
  saga text := coalesce(current_setting('sagacity.saga', true), '');
  touched text[] := '{}';
  participant text;
  queued text[];
BEGIN
  IF TG_OP <> 'INSERT' THEN touched := touched || (to_jsonb(OLD) ->> TG_ARGV[3]); END IF;
  IF TG_OP <> 'DELETE' THEN touched := touched || (to_jsonb(NEW) ->> TG_ARGV[3]); END IF;
  IF current_setting('sagacity.admits', true) IS DISTINCT FROM 'on' THEN
    FOR participant, queued IN
      SELECT o.object, o.queue FROM unnest(touched) AS k(key)
      JOIN object AS o
        ON o.tenant = TG_ARGV[0] AND o.lane = TG_ARGV[1] AND o.object = TG_ARGV[2] || ':' || k.key
    LOOP
      IF cardinality(queued) > 0 AND NOT sagacity_holds(queued, saga) THEN
        RAISE EXCEPTION 'row % of table % is locked by saga %',
            substr(participant, length(TG_ARGV[2]) + 2), TG_TABLE_NAME, substr(queued[1], 2, 36)
          USING ERRCODE = 'SG003', TABLE = TG_TABLE_NAME, SCHEMA = TG_TABLE_SCHEMA,
            DETAIL = participant || ' is in transaction',
            HINT = 'Wait until the saga has ended (sagacity show ' || substr(queued[1], 2, 36)
              || '), or cancel it (sagacity cancel ' || substr(queued[1], 2, 36) || ').';
      END IF;
    END LOOP;
  END IF;
  IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
  RETURN NEW;
END $body$""",
    """DO $do$ BEGIN
  EXECUTE format('ALTER FUNCTION sagacity_guard() SET search_path = %I, pg_temp', current_schema());
END $do$""",
)
