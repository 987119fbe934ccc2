"""Connections to PostgreSQL: every wait on them is bounded, and a hot one is what it claims to be.

The statement that writes batches is fast only under planner settings of its own. A pooler between
us and the server may drop them silently, so they are read back before the connection is used.
"""

import asyncio
import weakref
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import asyncpg
from sqlalchemy.engine import URL

from sagacity.errors import StoreError, UnsafeSettings
from sagacity.store import hot
from sagacity.store.failures import LOST, is_unknown, named

CONNECT_SECONDS: Final = 10.0
COMMAND_SECONDS: Final = 60.0

_SETTINGS: Final = {
    "application_name": "sagacity",
    "lock_timeout": "30s",
    "statement_timeout": "60s",
    "idle_in_transaction_session_timeout": "60s",
    "tcp_user_timeout": "10s",
    # Whom nobody owns, and whose bell nobody answered, are few among millions: that the planner cannot know.
    "enable_seqscan": "off",
}
_FLUSH: Final = ("fsync", "synchronous_commit", "full_page_writes")
_POOLED: Final = (
    "a pooler between drops session settings; give Sagacity a direct connection, or one in session mode"
)
_KEPT: Final = 4
"""Idle hot connections that are kept."""

if TYPE_CHECKING:
    Driver: TypeAlias = asyncpg.Connection[Any]
else:
    Driver = asyncpg.Connection  # generic for the type checker only


class Address:
    """Where the server is, and how to get a connection to it."""

    def __init__(self, url: URL) -> None:
        plain = url.set(drivername="postgresql")
        self._dsn = plain.render_as_string(hide_password=False)
        self.shown = plain.render_as_string(hide_password=True)
        self._lines: weakref.WeakSet[Driver] = weakref.WeakSet()

    async def connect(self, settings: Mapping[str, str] | None = None) -> Driver:
        """A connection on which everything has a time limit.

        Raises:
            StoreUnavailable: no server there, or it does not let us in. StoreError: a pooler in between.
        """
        try:
            driver: Driver = await asyncpg.connect(
                self._dsn,
                timeout=CONNECT_SECONDS,
                command_timeout=COMMAND_SECONDS,
                server_settings=_SETTINGS | dict(settings or {}),
                # Never forgotten and never planned anew: the hot statement is long, and generic by choice.
                max_cacheable_statement_size=0,
                max_cached_statement_lifetime=0,
            )
            self._lines.add(driver)
            return driver
        except asyncpg.ProtocolViolationError as error:
            raise StoreError(f"{self.shown}: {error}: {_POOLED}") from error
        except (asyncpg.PostgresError, ValueError, *LOST) as error:
            told = named(error)
            raise type(told)(f"{self.shown}: {told}") from error

    def cut(self) -> None:
        """Give up every connection: who waits on one learns at once that it is dead, and asks anew."""
        for driver in list(self._lines):
            driver.terminate()

    @contextmanager
    def cut_unless_answered(self, seconds: float) -> Iterator[None]:
        """Where the block takes longer, the link to the server is taken for dead, and everything on it.

        A link that swallows what it is given brings no error: somebody has to lose patience, and one
        who asks for little and often does it for all.
        """
        timer = asyncio.get_running_loop().call_later(seconds, self.cut)
        try:
            yield
        finally:
            timer.cancel()


class HotConnections:
    """Connections that run the hot statement: taken, used for one batch, and put back."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._idle: list[Driver] = []

    @asynccontextmanager
    async def one(self) -> AsyncIterator[Driver]:
        """A connection for one batch. One whose state is in doubt is not used again.

        Raises:
            StoreUnavailable: no connection. StoreError: its settings do not hold.
        """
        driver = self._fresh_idle() or await self._made()
        try:
            yield driver
        except BaseException as error:
            # A cancelled or timed-out command may still be running in the server.
            if not isinstance(error, Exception) or is_unknown(error):
                driver.terminate()
            raise
        finally:
            if driver.is_closed() or len(self._idle) >= _KEPT:
                driver.terminate()
            else:
                self._idle.append(driver)

    def _fresh_idle(self) -> Driver | None:
        while self._idle:
            driver = self._idle.pop()
            if not driver.is_closed():
                return driver
        return None

    async def _made(self) -> Driver:
        driver = await self._address.connect(hot.SETTINGS)
        try:
            await check_settings(driver, hot.SETTINGS)
        except BaseException:
            driver.terminate()
            raise
        return driver

    async def close(self) -> None:
        """Let go of the idle ones."""
        while self._idle:
            self._idle.pop().terminate()


async def check_settings(driver: Driver, wanted: Mapping[str, str]) -> None:
    """Whether the session has the settings that it was opened with.

    Raises:
        StoreError: it has not.
    """
    rows = await driver.fetch(
        "SELECT name, setting FROM pg_settings WHERE name = ANY($1::text[])", list(wanted)
    )
    found = {row["name"]: row["setting"] for row in rows}
    dropped = sorted(name for name, value in wanted.items() if found.get(name) != value)
    if dropped:
        raise StoreError(f"session settings do not hold ({', '.join(dropped)}): {_POOLED}")


async def check_flush(driver: Driver) -> None:
    """Whether what the server acknowledges is safe.

    Raises:
        UnsafeSettings: an acknowledged commit could be lost.
    """
    rows = await driver.fetch(
        "SELECT name FROM pg_settings WHERE name = ANY($1::text[]) AND setting = 'off'", list(_FLUSH)
    )
    if off := sorted(row["name"] for row in rows):
        raise UnsafeSettings(
            f"{', '.join(off)} is off on the server: acknowledged commits could be lost; "
            "turn it on, or accept that with --i-accept-loss"
        )
