"""What only the embedded store has: a file that may be absent, foreign, locked or not writable."""

import asyncio
import os
import re
import sqlite3
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import event

from sagacity.errors import (
    ConfigError,
    SchemaBehind,
    StoreError,
    StoreReadOnly,
    StoreUnavailable,
    UnsafeSettings,
)
from sagacity.model.unit import OutcomeUnknown, Unit
from sagacity.store import sqlite
from sagacity.store.base import Store
from sagacity.store.open import open_store
from sagacity.testing import PATIENCE
from tests.contract.builders import Bench, bench, first, start_message


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sagas.db"


@pytest.fixture
async def opened(path: Path) -> AsyncIterator[Store]:
    """A store as in production: the database's clock, flushed commits."""
    store = open_store(f"sqlite:///{path}")
    await store.open()
    yield store
    await store.close()


async def refused(url: str, kind: type[Exception], match: str) -> None:
    store = open_store(url)
    with pytest.raises(kind, match=match):
        await store.open()
    await store.close()


@pytest.mark.parametrize("driver", ["sqlite", "sqlite+pysqlite", "sqlite+aiosqlite"])
async def test_an_absent_file_is_created_and_migrated(tmp_path: Path, driver: str) -> None:
    store = open_store(f"{driver}:///{tmp_path}/new.db")
    await store.open()
    await store.put([start_message("k")])
    await store.close()
    again = open_store(f"sqlite:///{tmp_path}/new.db")
    await again.open()
    assert await again.find("Order", "k") is not None
    await again.close()


async def test_many_processes_may_meet_at_an_absent_file(path: Path) -> None:
    stores = [open_store(f"sqlite:///{path}") for _ in range(4)]
    await asyncio.gather(*(store.open() for store in stores))
    for store in stores:
        await store.put([start_message()])
        await store.close()


async def test_commits_are_flushed_and_readers_do_not_wait_for_writers(opened: Store, path: Path) -> None:
    raw = sqlite3.connect(path)
    assert raw.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    raw.execute("BEGIN IMMEDIATE")
    assert await opened.counts() == {}
    raw.close()
    conn = cast(sqlite.SqliteStore, opened)._conn
    assert conn is not None
    driver = conn.connection.driver_connection
    assert driver is not None
    assert driver.execute("PRAGMA synchronous").fetchone() == (2,)
    assert driver.execute("PRAGMA foreign_keys").fetchone() == (1,)


async def test_the_database_tells_the_time(opened: Store) -> None:
    before = datetime.now(UTC)
    told = await opened.now()
    assert abs(told - before) < timedelta(seconds=2)
    assert told.tzinfo is UTC


async def test_a_file_with_other_tables_is_refused_with_the_command_that_mends_it(path: Path) -> None:
    with sqlite3.connect(path) as raw:
        raw.execute("CREATE TABLE customer (id INTEGER PRIMARY KEY)")
    raw.close()
    await refused(f"sqlite:///{path}", SchemaBehind, "sagacity migrate")


@pytest.fixture
def junk(path: Path) -> None:
    path.write_bytes(b"not a database, but long enough to look at " * 50)


@pytest.mark.usefixtures("junk")
async def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    await refused(f"sqlite:///{path}", StoreError, "not a sound SQLite database")


async def test_a_folder_or_an_absent_folder_is_refused(tmp_path: Path) -> None:
    await refused(f"sqlite:///{tmp_path}", StoreUnavailable, "is a folder")
    await refused(f"sqlite:///{tmp_path}/none/sagas.db", StoreUnavailable, "does not exist: create it")


async def test_a_file_that_cannot_be_written_is_refused(opened: Store, path: Path) -> None:
    await opened.close()
    await refused(
        f"sqlite:///file:{path}?mode=ro&uri=true", StoreReadOnly, "give this process write permission"
    )


async def test_a_file_that_this_process_may_not_write_is_refused(
    opened: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    await refused(f"sqlite:///{path}", StoreReadOnly, "give this process write permission")


async def test_a_database_in_memory_is_refused_unless_loss_is_accepted() -> None:
    await refused("sqlite://", UnsafeSettings, "loses everything")
    await refused("sqlite:///:memory:", UnsafeSettings, "give a file")
    store = open_store("sqlite://", accept_loss=True)
    await store.open()
    desk = await bench(store)
    saga = await desk.begin()
    assert await store.saga(saga.id) is not None
    await store.close()


async def test_a_connection_that_does_not_flush_is_refused(path: Path) -> None:
    store = open_store(f"sqlite:///{path}")

    def careless(raw: Any, _record: Any) -> None:
        raw.execute("PRAGMA journal_mode = WAL")
        raw.execute("PRAGMA synchronous = NORMAL")

    cast(Any, store)._set_up = careless
    with pytest.raises(UnsafeSettings, match="synchronous=1 here: acknowledged commits could be lost"):
        await store.open()
    await store.close()


@pytest.mark.parametrize("url", ["mysql://x/y", "no url", "sqlite", "", "oracle:///x"])
def test_other_urls_are_refused_with_those_that_work(url: str) -> None:
    with pytest.raises(ConfigError, match="sqlite:///FILE or postgresql://"):
        open_store(url)


async def test_a_store_that_is_not_open_says_so(path: Path) -> None:
    store = open_store(f"sqlite:///{path}")
    with pytest.raises(StoreUnavailable, match="not open"):
        await store.counts()
    await store.close()
    await store.open()
    await store.open()
    await store.close()
    await store.close()
    with pytest.raises(StoreUnavailable, match="not open"):
        await store.counts()


async def test_a_writer_who_does_not_end_is_told_by_name(
    path: Path, opened: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_FOR", timedelta(milliseconds=50))
    hasty = open_store(f"sqlite:///{path}")
    await hasty.open()
    raw = sqlite3.connect(path)
    raw.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailable, match="write lock"):
        await hasty.put([start_message()])
    raw.rollback()
    raw.close()
    await hasty.put([start_message()])
    await hasty.close()


async def test_another_connections_commit_is_a_hint_at_the_next_look_within_a_tenth_of_a_second(
    path: Path, opened: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    version = sqlite.SqliteStore._version

    def looking(self: sqlite.SqliteStore) -> int:
        looks.append(1)
        return version(self)

    monkeypatch.setattr(sqlite.SqliteStore, "_version", looking)
    other = open_store(f"sqlite:///{path}")
    await other.open()
    earlier = asyncio.create_task(opened.hinted())
    await asyncio.wait([earlier], timeout=0.1)
    earlier.cancel()
    await asyncio.wait([earlier])
    waiting = asyncio.create_task(opened.hinted())
    await asyncio.wait([waiting], timeout=0.1)
    assert not waiting.done()
    await other.put([start_message()])
    before = len(looks)
    await asyncio.wait_for(waiting, PATIENCE.total_seconds())
    assert len(looks) - before <= 2, "one may have been under way"
    assert timedelta(milliseconds=100) >= sqlite.WATCH_EVERY
    await other.close()


async def test_what_is_acknowledged_is_flushed_and_a_lease_is_not_waited_for(opened: Store) -> None:
    conn = cast(Any, opened)._conn
    levels: list[int] = []

    def committed(_: object) -> None:
        levels.append(conn.connection.driver_connection.execute("PRAGMA synchronous").fetchone()[0])

    desk = await bench(opened)
    event.listen(conn, "commit", committed)
    await opened.put([start_message()])
    await opened.claim(desk.worker, ["Order"], limit=10)
    await desk.begin()
    await opened.ring()
    await opened.heartbeat(desk.worker, timedelta(seconds=10))
    await opened.fence(desk.head.id)
    event.remove(conn, "commit", committed)
    normal, full = 1, 2
    assert levels == [full, normal, full, normal, normal, full]


async def test_its_own_commits_are_no_hint(opened: Store) -> None:
    await opened.put([start_message()])
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(opened.hinted(), 0.2)


@pytest.mark.parametrize("ticks", range(6))
async def test_whoever_waits_for_hints_is_cancelled_also_in_the_moment_a_hint_comes(
    opened: Store, ticks: int
) -> None:
    async def listen() -> None:
        while True:
            await opened.hinted()

    listening = asyncio.create_task(listen())
    await asyncio.sleep(0.03)
    await opened.hint()
    for _ in range(ticks):
        await asyncio.sleep(0)
    listening.cancel()
    await asyncio.wait([listening], timeout=1)
    assert listening.cancelled()


async def test_looking_for_work_reads_what_is_to_be_done_and_not_the_history(opened: Store) -> None:
    desk = await bench(opened)
    saga = await desk.begin()
    conn = cast(sqlite.SqliteStore, opened)._conn
    assert conn is not None
    plans: list[str] = []

    def explain(_: object, cursor: sqlite3.Cursor, statement: str, given: Any, *_more: object) -> None:
        if statement.startswith(("SELECT", "WITH")):
            raw = cursor.connection.execute(f"EXPLAIN QUERY PLAN {statement}", given)
            plans.extend(row[3] for row in raw)

    event.listen(conn, "before_cursor_execute", explain)
    await opened.claim(desk.worker, ["Order"], limit=10)
    await opened.claim_starts(desk.worker, ["Order"], limit=10)
    await opened.ring()
    await opened.wait_graph()
    await opened.rolled_back_by(saga.id)
    await opened.notices(limit=10)
    await opened.unregister(desk.worker)
    event.remove(conn, "before_cursor_execute", explain)
    scanned = [plan for plan in plans if plan.startswith(("SCAN", "SEARCH")) and not _narrow(plan)]
    assert scanned == []
    assert len(plans) > 10


def _narrow(plan: str) -> bool:
    """By a partial index, by a whole key, or a table that stays small."""
    partial = r"INDEX (saga_(due|rung|owner|queued|rolls_back)|inbox_(start_open|unrung)|outbox_unsent) "
    small = r"(SEARCH|SCAN) (chain|worker|locked|CONSTANT)\b"
    return re.search(rf"{partial}|{small}|\bid=\?\)|saga=\?\)", plan) is not None


async def broken_commit(opened: Store, before: Callable[[sqlite3.Connection], None]) -> tuple[Bench, Unit]:
    """Send a unit whose commit breaks, after `before` had its way with the driver's connection."""
    desk, unit = await bench(opened), first()
    conn = cast(sqlite.SqliteStore, opened)._conn
    assert conn is not None
    driver = conn.connection.driver_connection
    assert driver is not None

    def break_off(_: object) -> None:
        before(driver)
        raise sqlite3.OperationalError("disk I/O error")

    event.listen(conn, "commit", break_off)
    try:
        await desk.send(unit)
    finally:
        event.remove(conn, "commit", break_off)
    return desk, unit


@pytest.mark.parametrize(("happened", "position"), [("commit", 1), ("rollback", 0)])
async def test_a_commit_that_breaks_has_an_unknown_outcome_and_fence_tells_it(
    opened: Store, happened: str, position: int
) -> None:
    with pytest.raises(OutcomeUnknown):
        await broken_commit(opened, lambda driver: getattr(driver, happened)())
    (head,) = await opened.heads()
    assert (await opened.fence(head.id)).position == position
    assert sum((await opened.counts()).values()) == position


async def test_a_commit_that_is_refused_leaves_nothing_and_the_store_goes_on(opened: Store) -> None:
    with pytest.raises(StoreError, match="disk I/O error"):
        await broken_commit(opened, lambda driver: None)
    assert await opened.counts() == {}
    desk = await bench(opened)
    await desk.begin()
    assert sum((await opened.counts()).values()) == 1


async def test_what_collides_without_a_name_is_a_store_error(opened: Store) -> None:
    desk = await bench(opened)
    saga = await desk.begin()
    batch = desk.batch([first()])
    twice = replace(batch, rows=tuple(replace(row, saga=saga.id) for row in batch.rows))
    with pytest.raises(StoreError, match="refused the batch"):
        await opened.write(twice)
