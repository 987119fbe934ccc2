"""Work inside a transaction that belongs to the caller.

Four kinds of handle are taken as they are. The engine's rows then live and die with the
caller's commit, and the engine ends nothing that it did not begin.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Session, scoped_session

from sagacity.errors import InputError

Answer = TypeVar("Answer")
_KINDS = "an AsyncSession, AsyncConnection, Session or Connection"


async def inside(session: Any, dialect: str, work: Callable[[Connection], Answer]) -> Answer:
    """Run `work` on the caller's transaction.

    Args:
        session: one of the four kinds.
        dialect: `postgresql` or `sqlite`: what the store lies on.
        work: gets the connection.

    Raises:
        InputError: another kind of object, or one on another kind of database.
    """
    if isinstance(session, AsyncSession):
        return await session.run_sync(lambda inner: work(_checked(inner.connection(), dialect)))
    if isinstance(session, AsyncConnection):
        return await session.run_sync(lambda inner: work(_checked(inner, dialect)))
    return inside_sync(session, dialect, work)


def inside_sync(session: Any, dialect: str, work: Callable[[Connection], Answer]) -> Answer:
    """The same for the two synchronous kinds.

    Raises:
        InputError: another kind of object, or one on another kind of database.
    """
    if isinstance(session, (Session, scoped_session)):
        return work(_checked(session.connection(), dialect))
    if isinstance(session, Connection):
        return work(_checked(session, dialect))
    raise InputError(f"session is {type(session).__name__}: pass {_KINDS} of SQLAlchemy")


def _checked(conn: Connection, dialect: str) -> Connection:
    if conn.dialect.name != dialect:
        raise InputError(
            f"the session is on {conn.dialect.name} and the store on {dialect}: "
            "use a session on the store's own database"
        )
    return conn
