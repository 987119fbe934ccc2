"""What operators plan, select and hold: three tables, and indexes on what they did and what they paused.

Kind: expand (three new tables and two indexes; nothing that was there is changed).
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ID = sa.Text().with_variant(postgresql.UUID(), "postgresql")
INSTANT = sa.BigInteger().with_variant(postgresql.TIMESTAMP(timezone=True), "postgresql")


def _table(name: str, *parts: Any) -> None:
    """A table whose key is tenant, lane and id."""
    op.create_table(
        name,
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("lane", sa.Text, nullable=False),
        _column("id", ID),
        *parts,
        sa.PrimaryKeyConstraint("tenant", "lane", "id", name=f"pk_{name}"),
    )


def _column(name: str, kind: Any = sa.Text, *, null: bool = False) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=null, autoincrement=False)


def _index(name: str, table: str, *columns: str, where: Any = None, unique: bool = False) -> None:
    """An index led by tenant and lane."""
    options = {} if where is None else {"postgresql_where": where, "sqlite_where": where}
    op.create_index(name, table, ["tenant", "lane", *columns], unique=unique, **options)


def upgrade() -> None:
    _plan()
    _selection()
    _token()
    _index("log_act", "log", "at", "chain", "position", where=sa.text("kind IN ('act', 'act_refused')"))
    _index("saga_paused", "saga", "status", "id", where=sa.column("paused", sa.Boolean).is_(True))


def downgrade() -> None:
    op.drop_index("saga_paused", "saga")
    op.drop_index("log_act", "log")
    for table in ("token", "selection", "plan"):
        op.drop_table(table)


def _plan() -> None:
    _table(
        "plan",
        _column("verb"),
        _column("args"),
        _column("tier", sa.Integer),
        _column("items"),
        _column("hash"),
        _column("selection", ID, null=True),
        _column("newcomers", sa.Integer),
        _column("status"),
        _column("made_by"),
        _column("made_at", INSTANT),
        _column("expires_at", INSTANT),
        _column("reason", null=True),
        _column("ticket", null=True),
        _column("approved_by", null=True),
        _column("rejected_by", null=True),
        _column("applied_at", INSTANT, null=True),
        _column("applied_by", null=True),
        _column("break_glass", sa.Boolean),
        _column("acknowledged_by", null=True),
        _column("schema_version", sa.Integer),
        sa.CheckConstraint(
            "status IN ('open', 'approved', 'applied', 'rejected', 'expired')", name="ck_plan_status"
        ),
    )
    _index("plan_open", "plan", "id", where=sa.text("status = 'open'"))
    # SQLite writes a bare flag as `flag = 1`, and the planner goes by the letter.
    broken = sa.and_(sa.column("break_glass", sa.Boolean), sa.text("acknowledged_by IS NULL"))
    _index("plan_glass", "plan", "id", where=broken)


def _selection() -> None:
    _table(
        "selection",
        _column("filter"),
        _column("made_by"),
        _column("made_at", INSTANT),
        _column("sagas"),
        _column("complete", sa.Boolean),
        _column("schema_version", sa.Integer),
    )


def _token() -> None:
    _table(
        "token",
        _column("name"),
        _column("hash"),
        _column("roles"),
        _column("definitions", null=True),
        _column("kind"),
        _column("made_by"),
        _column("made_at", INSTANT),
        _column("expires_at", INSTANT),
        _column("revoked_at", INSTANT, null=True),
        _column("last_used_at", INSTANT, null=True),
        _column("schema_version", sa.Integer),
    )
    _index("token_hash", "token", "hash", unique=True)
