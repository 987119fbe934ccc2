"""From what `--store` says to an address that a store can be opened with.

`postgres` means a private server in `.sagacity/pg` of the current folder. It is ours, so its
schema is brought up to date without asking; every other store is migrated only on request.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

PRIVATE = "postgres"
FOLDER = Path(".sagacity/pg")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where sagas live. `private`: on a server that ends with us."""

    url: str
    private: bool = False

    @property
    def is_sqlite(self) -> bool:
        """Whether one process at a time writes there."""
        return self.url.startswith("sqlite")


@asynccontextmanager
async def place(store: str, *, migrated: bool = True) -> AsyncIterator[Place]:
    """The address of `store`; a private server is up, and its schema current, for as long as this lasts.

    Args:
        store: a URL, or `postgres`.
        migrated: bring the private server's schema up to date.

    Raises:
        StoreError: the private server does not start.
    """
    if store != PRIVATE:
        yield Place(url=store)
        return
    from sagacity.store.private import PrivatePostgres

    server = await asyncio.to_thread(PrivatePostgres.ensure, FOLDER)
    try:
        if migrated:
            from sagacity.store.migrate import upgrade_at

            await upgrade_at(server.url())
        yield Place(url=server.url(), private=True)
    finally:
        await asyncio.to_thread(server.stop)


def check_there(store: str) -> None:
    """See that there is something to look at: looking makes no store.

    Raises:
        Stop: there is not; the message names the file and the fix.
    """
    from sagacity.cli.failures import Exit, Stop

    missing = absent(store)
    if missing is not None:
        raise Stop(
            Exit.USAGE,
            f"sagacity: there is no store at {missing.absolute()}: nothing was made; correct --store or "
            "SAGACITY_STORE,\nor call this in the folder where it lies (`sagacity run` and `sagacity start` "
            "make a new one)",
        )


def absent(store: str) -> Path | None:
    """Where `store` should lie and does not; None where it does, or is not on this disk."""
    if store == PRIVATE:
        # Its data may lie elsewhere, but the folder is made with the server.
        return None if FOLDER.is_dir() else FOLDER
    kind, separator, rest = store.partition(":///")
    name = rest.removeprefix("file:").partition("?")[0]
    if not separator or not kind.startswith("sqlite") or name in ("", ":memory:"):
        return None
    path = Path(unquote(name) if rest.startswith("file:") else name)
    return None if path.exists() else path
