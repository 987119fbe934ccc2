"""What went wrong on PostgreSQL, in the words of the contract.

Errors are told apart by SQLSTATE or by the driver's class, never by their text. The one question
that matters is whether the server said no (then nothing happened) or the line went dead (then
nobody knows yet).
"""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_none

from sagacity.errors import SagacityError, StoreError, StoreReadOnly, StoreUnavailable

_AGAIN = frozenset({"40001", "40P01"})  # serialization failure, deadlock: rolled back, may be repeated
_AGAIN_TRIES = 10
LOCK_TIMED_OUT = "55P03"
"""Somebody else held a row for longer than `lock_timeout`; the statement was not carried out."""
_TIMED_OUT = frozenset({LOCK_TIMED_OUT, "57014", "25P03"})  # lock, statement, idle in transaction
_READ_ONLY = "25006"
_GONE = ("08", "57P", "53", "28", "3D000")
"""Beginnings of the states in which the server cannot be used now, or not by us; 53: it is out of room."""

LOST = (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What the driver raises when the line is dead, or the answer did not come in time.

Its internal error too: a line that dies in the very moment in which a statement goes out leaves the driver's
own state half-way, and the next word on it is refused like that.
"""

MET = (DBAPIError, asyncpg.PostgresError, PoolTimeout, *LOST)
"""All that is raised where the database is asked; SQLAlchemy's pool has a time-out of its own class."""


def state_of(error: BaseException | None) -> str:
    """The SQLSTATE that came with `error`; empty where the server said nothing."""
    inner = error.orig if isinstance(error, DBAPIError) else error
    return getattr(inner, "sqlstate", None) or ""


def _may_be_repeated(error: BaseException) -> bool:
    return state_of(error) in _AGAIN or state_of(error.__cause__) in _AGAIN


def again() -> AsyncRetrying:
    """Repeats what was definitely rolled back by a deadlock; bounded, and at once: the winner is through."""
    return AsyncRetrying(
        retry=retry_if_exception(_may_be_repeated),
        stop=stop_after_attempt(_AGAIN_TRIES),
        wait=wait_none(),
        reraise=True,
    )


def is_unknown(error: BaseException) -> bool:
    """Whether nobody knows if the statement took effect: the line died before an answer came."""
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or is_unknown_state(state_of(error))
    if isinstance(error, asyncpg.DataError):
        return False  # an argument the driver could not encode: it was never sent
    return isinstance(error, LOST) or is_unknown_state(state_of(error))


def is_unknown_state(state: str) -> bool:
    """Whether the server ended the connection as it answered."""
    return state.startswith(("08", "57P"))


def named(error: BaseException) -> SagacityError:
    """A definite error as the contract names it."""
    state, text = state_of(error), _told(error)
    if state == _READ_ONLY:
        return StoreReadOnly(f"the server accepts no writes ({text}): connect to the primary")
    if state in _TIMED_OUT:
        return StoreUnavailable(f"the database did not get to it in time: {text}")
    if state.startswith(_GONE) or (isinstance(error, LOST) and not isinstance(error, asyncpg.DataError)):
        return StoreUnavailable(f"the database cannot be reached: {text}")
    if isinstance(error, PoolTimeout):
        return StoreUnavailable(f"no connection to the database came free in time: {text}")
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return StoreUnavailable(f"the connection to the database broke: {text}")
    return StoreError(f"the database refused: {text}" + (f" (SQLSTATE {state})" if state else ""))


def _told(error: BaseException) -> str:
    """The first line of what the server or the driver said."""
    inner = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    text = str(inner.__cause__ or inner) or type(inner).__name__
    return text.partition("\n")[0]


@contextmanager
def naming() -> Iterator[None]:
    """Errors of the database leave the block as the contract names them.

    An `IntegrityError` passes: whoever caused the collision knows what it means.
    """
    try:
        yield
    except IntegrityError:
        raise
    except MET as error:
        raise named(error) from error
