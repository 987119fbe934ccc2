"""How Alembic runs our migrations: on the connection it is handed, in the transaction that is open there.

The version table is our own, for users have Alembic's in the same database. On PostgreSQL a lock
that ends with the transaction lets several processes migrate at once: one works, the others find it done.
"""

from typing import Final

from alembic import context
from sqlalchemy import text

from sagacity.store.migrate import VERSION_TABLE

LOCK: Final = 0x5A6AC177
"""Key of the advisory lock; any number that is ours."""


def _on_connection() -> None:
    connection = context.config.attributes["connection"]
    if connection.dialect.name == "postgresql":
        # Another process may take its time; it ends by itself.
        connection.execute(text("SELECT set_config('lock_timeout', '0', true)"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
    context.configure(connection=connection, version_table=VERSION_TABLE, transactional_ddl=True)
    with context.begin_transaction():
        context.run_migrations()


def _as_sql() -> None:
    context.configure(
        dialect_name=context.config.attributes["dialect"],
        dialect_opts={"paramstyle": "named"},  # others double every percent sign
        version_table=VERSION_TABLE,
        literal_binds=True,
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    _as_sql()
else:
    _on_connection()
