"""Work inside a transaction that belongs to the caller.

Four kinds of handle are taken as they are. The engine's rows then live and die with the
caller's commit, and the engine ends nothing that it did not begin.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection, event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Session, scoped_session

from sagacity.errors import InputError

Answer = TypeVar("Answer")
_AWAITED = "sagacity: to call after the commit"
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


def after_commit(session: Any, call: Callable[[], None]) -> None:
    """Have `call` called once the caller's transaction has committed, from whatever thread does that.

    Only sessions tell when they have committed; for a bare connection nothing is called. One call for
    however much a transaction has stored.
    """
    inner = session.sync_session if isinstance(session, AsyncSession) else session
    inner = inner() if isinstance(inner, scoped_session) else inner
    if not isinstance(inner, Session):
        return
    if _AWAITED not in inner.info:
        inner.info[_AWAITED] = []
        event.listen(inner, "after_commit", _committed)
    if call not in inner.info[_AWAITED]:
        inner.info[_AWAITED].append(call)


def _committed(session: Session) -> None:
    if session.in_nested_transaction():
        return  # only a savepoint's end
    calls, session.info[_AWAITED] = session.info[_AWAITED], []
    for call in calls:
        call()


def _checked(conn: Connection, dialect: str) -> Connection:
    if conn.dialect.name != dialect:
        raise InputError(
            f"the session is on {conn.dialect.name} and the store on {dialect}: "
            "use a session on the store's own database"
        )
    return conn
