"""SQLite's deferred foreign keys, looked at before a roll-back: no commit comes that would look at them.

PostgreSQL is told to look at once (`SET CONSTRAINTS ALL IMMEDIATE`); SQLite has no such word. So the tables
that have such a key are searched for rows without a parent. What was broken before the statements ran is not
theirs: a commit would not refuse it either.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection

from sagacity.store.base import OwnTableError

_Broken = Counter[tuple[Any, ...]]
"""(table, rowid, parent, which key): how often."""


def checked(conn: Connection, work: Callable[[], Any]) -> Any:
    """What `work` answers, if a commit behind it would find every reference whole.

    Args:
        conn: in a transaction, which the caller rolls back.
        work: runs statements on `conn`.

    Raises:
        OwnTableError: it would not; the rows are named.
    """
    nested = conn.begin_nested()
    answer = work()
    after = _broken(conn, _deferring(conn))
    if not after:
        nested.commit()
        return answer
    tables = {found[0] for found in after}
    nested.rollback()
    made = after - _broken(conn, tables)
    if made:
        raise OwnTableError(f"a constraint of the user's own tables failed: {_told(made)}")
    return work()


def _deferring(conn: Connection) -> set[str]:
    """Tables whose references are looked at only by a commit."""
    waits = conn.exec_driver_sql("PRAGMA defer_foreign_keys").scalar_one()
    query = "SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE '%REFERENCES%'"
    if not waits:
        query += " AND sql LIKE '%DEFERRED%'"
    return set(conn.exec_driver_sql(query).scalars())


def _broken(conn: Connection, tables: set[str]) -> _Broken:
    found: _Broken = Counter()
    for table in sorted(tables):
        quoted = conn.dialect.identifier_preparer.quote_identifier(table)
        found.update(tuple(row) for row in conn.exec_driver_sql(f"PRAGMA foreign_key_check({quoted})"))
    return found


def _told(made: _Broken) -> str:
    table, row, parent, _ = min(made, key=str)
    more = f" and {made.total() - 1} more" if made.total() > 1 else ""
    return f"foreign key: row {row} of {table} has no {parent}{more}"
