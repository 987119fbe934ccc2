"""Indexes on what is told of with time and on plans that wait for a second person.

Kind: expand (two new indexes; nothing that was there is changed).
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_INDEXES = (
    ("outbox_matter", "outbox", "id", "kind = 'attention'"),
    ("plan_second", "plan", "expires_at", "status = 'open' AND tier = 3"),
)


def upgrade() -> None:
    for name, table, column, where in _INDEXES:
        condition = sa.text(where)
        op.create_index(
            name,
            table,
            ["tenant", "lane", column],
            unique=False,
            postgresql_where=condition,
            sqlite_where=condition,
        )


def downgrade() -> None:
    for name, table, _, _ in reversed(_INDEXES):
        op.drop_index(name, table)
