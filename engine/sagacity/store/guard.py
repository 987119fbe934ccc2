"""A guard for the user's own tables: a row that a saga has locked is written by that saga only.

The engine's lock is a row in its own table; other programs do not know it. Where the guard's
trigger is installed on a user's table, PostgreSQL asks it for them. A transaction that writes for
a saga says so in the setting `sagacity.saga`.
"""

from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import Connection, Table, text, update
from sqlalchemy.exc import SQLAlchemyError

from sagacity.errors import InputError
from sagacity.store import functions, images
from sagacity.store.base import OwnRow, OwnTableError

REFUSED: Final = functions.GUARDED
"""SQLSTATE of a write that the guard refused."""

TRIGGER: Final = "sagacity_guard"


def install(
    conn: Connection, table: Table, *, type: str, key: str, tenant: str = "main", lane: str = "live"
) -> None:
    """Guard a user's table; installing it again replaces it.

    Args:
        conn: on the store's database; may create triggers on the table.
        table: the user's table.
        type: the participant's type, as in `type:id`.
        key: name of the column that is the id.
        tenant: whose sagas' locks count.
        lane: of which lane; a dry saga locks nothing.

    Raises:
        InputError: not PostgreSQL, or no such column.
    """
    if conn.dialect.name != "postgresql":
        raise InputError(f"a guard needs PostgreSQL, this is {conn.dialect.name}: leave it out here")
    if key not in table.c:
        raise InputError(f"table {table.name} has no column {key!r}: name the column that is the object's id")
    remove(conn, table)
    arguments = ", ".join(_literal(value) for value in (tenant, lane, type, table.c[key].name))
    conn.exec_driver_sql(
        f"CREATE TRIGGER {TRIGGER} BEFORE INSERT OR UPDATE OR DELETE ON {_name(conn, table)} "
        f"FOR EACH ROW EXECUTE FUNCTION sagacity_guard({arguments})"
    )


def remove(conn: Connection, table: Table) -> None:
    """Take the guard off a table; harmless where there is none."""
    conn.exec_driver_sql(f"DROP TRIGGER IF EXISTS {TRIGGER} ON {_name(conn, table)}")


def touch(conn: Connection, rows: Iterable[OwnRow]) -> None:
    """Update rows of guarded tables to what they are.

    Only so is a writer stopped that took its snapshot before the lock was there: where it goes on
    with the row afterwards, PostgreSQL sees that the row has changed under it.

    Raises:
        OwnTableError: the row cannot be updated.
    """
    try:
        guarded = [row for row in rows if is_guarded(conn, row.table)]
        if not guarded:
            return
        conn.execute(text("SELECT set_config('sagacity.admits', 'on', true)"))
        for row in sorted(guarded, key=lambda row: row.object):
            column = row.table.c[row.key]
            conn.execute(update(row.table).where(column == images.key_of(row)).values({column: column}))
        conn.execute(text("SELECT set_config('sagacity.admits', '', true)"))
    except SQLAlchemyError as error:
        raise OwnTableError(f"a row of the user's own tables could not be guarded: {error}") from error


def ensure(conn: Connection, *, row: OwnRow, tenant: str, lane: str) -> None:
    """Guard the table of `row` (its `object` is `type:`), where it exists and is not guarded yet."""
    exists = conn.scalar(text("SELECT to_regclass(:name)"), {"name": _name(conn, row.table)})
    if exists is not None and not is_guarded(conn, row.table):
        install(conn, row.table, type=row.object.partition(":")[0], key=row.key, tenant=tenant, lane=lane)


def is_guarded(conn: Connection, table: Table) -> bool:
    """Whether the table carries the guard's trigger."""
    query = text(
        "SELECT EXISTS (SELECT 1 FROM pg_trigger WHERE tgname = :trigger AND tgrelid = to_regclass(:name))"
    )
    return bool(conn.scalar(query, {"trigger": TRIGGER, "name": _name(conn, table)}))


def _name(conn: Connection, table: Table) -> str:
    """The table's name as SQL takes it, with its schema."""
    name: str = conn.dialect.identifier_preparer.format_table(table)
    return name


def _literal(value: Any) -> str:
    return "'" + str(value).replace("'", "''") + "'"
