"""The migrations build exactly the declared schema, whole or not at all, however often they are run."""

import asyncio
import itertools
import re
import sqlite3
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import pytest
from sqlalchemy import Connection, NullPool, create_engine, event, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from sagacity.bundle import folder
from sagacity.errors import SchemaAhead, SchemaBehind, StoreError
from sagacity.store import functions, migrate, schema
from sagacity.store.open import open_store
from sagacity.store.private import PrivatePostgres
from tests.contract.conftest import KINDS

T = TypeVar("T")
Bare = Callable[[], str]

_numbers = itertools.count(1)
_SCRIPTS = sorted((folder("migrations") / "versions").glob("*.py"))
_VERSIONS = migrate.known()
_OURS = "relnamespace = 'public'::regnamespace AND relname NOT LIKE 'sagacity_version%'"
_PG_EXTRAS = (
    "SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY 1",
    "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1",
    f"SELECT pg_get_indexdef(pg_class.oid) FROM pg_class WHERE relkind = 'i' AND {_OURS} ORDER BY 1",
    f"SELECT relname, reloptions::text FROM pg_class WHERE relkind = 'r' AND {_OURS} ORDER BY 1",
)


@pytest.fixture(params=KINDS)
def bare(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bare]:
    """Makes databases without any table, one for each call."""
    if request.param == "sqlite":
        yield lambda: f"sqlite:///{tmp_path}/bare_{next(_numbers)}.db"
        return
    server: PrivatePostgres = request.getfixturevalue("pg_server")
    made: list[str] = []

    def one() -> str:
        made.append(f"bare_{next(_numbers)}")
        return server.create_database(made[-1])

    yield one
    for name in made:
        server.drop_database(name)


async def on(url: str, work: Callable[[Connection], T]) -> T:
    """Run `work` in a transaction."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "postgresql":
        served = create_async_engine(parsed.set(drivername="postgresql+asyncpg"), poolclass=NullPool)
        async with served.begin() as outer:
            return await outer.run_sync(work)
    engine = create_engine(parsed, poolclass=NullPool, connect_args={"isolation_level": None})
    event.listen(engine, "begin", lambda conn: conn.exec_driver_sql("BEGIN IMMEDIATE"))
    with engine.begin() as conn:
        return work(conn)


def described(conn: Connection) -> dict[str, Any]:
    """Everything about the schema that the database tells."""
    looked = inspect(conn)
    tables = [name for name in looked.get_table_names() if name != migrate.VERSION_TABLE]
    found: dict[str, Any] = {name: _table(looked, name) for name in sorted(tables)}
    if conn.dialect.name == "postgresql":
        found["extras"] = [[tuple(row) for row in conn.exec_driver_sql(query)] for query in _PG_EXTRAS]
    else:
        query = "SELECT sql FROM sqlite_master WHERE type IN ('index', 'trigger') AND sql <> '' ORDER BY name"
        # Blanks are where the writer of the statement put them.
        found["extras"] = [re.sub(r"\s+", " ", row[0]) for row in conn.exec_driver_sql(query)]
    return found


def _table(looked: Any, name: str) -> dict[str, Any]:
    columns = [
        (column["name"], str(column["type"]), column["nullable"], column["default"])
        for column in looked.get_columns(name)
    ]
    return {
        "columns": columns,
        "key": looked.get_pk_constraint(name),
        "foreign": looked.get_foreign_keys(name),
        "uniques": looked.get_unique_constraints(name),
        "indexes": sorted(
            (i["name"], tuple(i["column_names"]), bool(i["unique"])) for i in looked.get_indexes(name)
        ),
        "checks": sorted((c["name"], c["sqltext"]) for c in looked.get_check_constraints(name)),
    }


async def test_what_the_migrations_build_is_what_is_declared(bare: Bare) -> None:
    declared, migrated = bare(), bare()
    await on(declared, schema.metadata.create_all)
    assert await migrate.upgrade_at(migrated) == (None, migrate.required())
    expected = await on(declared, described)
    assert len(expected["saga"]["columns"]) == len(schema.saga.c)
    assert await on(migrated, described) == expected


async def test_down_and_up_again_gives_the_same(bare: Bare) -> None:
    url = bare()
    await migrate.upgrade_at(url)
    before = await on(url, described)
    await on(url, migrate.downgrade)
    empty = await on(url, described)
    assert not any(empty["extras"])
    assert set(empty) == {"extras"}
    await migrate.upgrade_at(url)
    assert await on(url, described) == before


async def test_a_second_time_changes_nothing(bare: Bare) -> None:
    url = bare()
    await migrate.upgrade_at(url)
    before = await on(url, described)
    newest = migrate.required()
    assert await migrate.upgrade_at(url) == (newest, newest)
    assert await on(url, described) == before


async def test_several_at_once_in_one_process_take_turns(bare: Bare) -> None:
    url = bare()
    found = await asyncio.gather(*(migrate.upgrade_at(url) for _ in range(4)))
    assert sorted(str(before) for before, _ in found) == [*[migrate.required()] * 3, "None"]


async def test_who_is_cancelled_while_waiting_passes_the_turn_on(bare: Bare) -> None:
    url = bare()
    migrations = [asyncio.create_task(migrate.upgrade_at(url)) for _ in range(3)]
    await asyncio.sleep(0)
    migrations[1].cancel()
    await asyncio.gather(*migrations, return_exceptions=True)
    async with asyncio.timeout(30):
        newest = migrate.required()
        assert await migrate.upgrade_at(url) == (newest, newest)


async def test_several_processes_at_once_all_end_well(bare: Bare) -> None:
    url = bare()
    code = f"import asyncio; from sagacity.store import migrate; asyncio.run(migrate.upgrade_at({url!r}))"
    starting = (
        asyncio.create_subprocess_exec(sys.executable, "-c", code, stderr=asyncio.subprocess.PIPE)
        for _ in range(3)
    )
    running = await asyncio.gather(*starting)
    told = await asyncio.gather(*(process.communicate() for process in running))
    assert [process.returncode for process in running] == [0, 0, 0], told
    await on(url, migrate.check)


async def test_a_migration_that_breaks_leaves_nothing(bare: Bare) -> None:
    url = bare()
    await on(url, lambda conn: conn.exec_driver_sql("CREATE TABLE worker (mine INTEGER)"))
    before = await on(url, described)
    with pytest.raises(StoreError, match="worker"):
        await migrate.upgrade_at(url)
    assert await on(url, described) == before
    assert await on(url, migrate.current) is None


async def test_a_store_from_the_future_is_refused(bare: Bare) -> None:
    url = bare()
    await migrate.upgrade_at(url)
    await on(url, lambda conn: conn.execute(text("UPDATE sagacity_version SET version_num = '9999'")))
    for attempt in (migrate.upgrade_at(url), _opened(url)):
        with pytest.raises(SchemaAhead, match=r"is at 9999.*upgrade this installation"):
            await attempt


async def test_a_store_without_our_tables_is_refused_with_the_command_that_mends_it(bare: Bare) -> None:
    url = bare()
    await on(url, lambda conn: conn.exec_driver_sql("CREATE TABLE theirs (id INTEGER)"))
    with pytest.raises(SchemaBehind, match="sagacity migrate"):
        await _opened(url)
    await migrate.upgrade_at(url)
    await _opened(url)


async def test_an_older_store_is_refused_with_both_versions(
    bare: Bare, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = bare()
    await migrate.upgrade_at(url)
    monkeypatch.setattr(migrate, "known", lambda: (*_VERSIONS, "9998"))
    with pytest.raises(
        SchemaBehind, match=rf"is at {_VERSIONS[-1]}, this version needs 9998: run `sagacity migrate`"
    ):
        await _opened(url)


async def _opened(url: str) -> None:
    store = open_store(url, accept_loss=True)
    await store.open()
    await store.close()


async def test_the_users_own_alembic_is_left_alone(bare: Bare) -> None:
    url = bare()

    def theirs(conn: Connection) -> None:
        conn.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32))")
        conn.exec_driver_sql("INSERT INTO alembic_version VALUES ('abc')")

    await on(url, theirs)
    await migrate.upgrade_at(url)
    found = await on(url, lambda conn: conn.exec_driver_sql("SELECT version_num FROM alembic_version").all())
    assert [tuple(row) for row in found] == [("abc",)]


async def test_the_printed_sql_builds_the_same(bare: Bare) -> None:
    printed, migrated = bare(), bare()
    await migrate.upgrade_at(migrated)
    if printed.startswith("sqlite"):
        with closing(sqlite3.connect(printed.removeprefix("sqlite:///"))) as file:
            file.executescript(migrate.sql("sqlite"))
    else:
        driver = await asyncpg.connect(printed)
        try:
            await driver.execute(migrate.sql("postgresql"))
        finally:
            await driver.close()
    assert await on(printed, described) == await on(migrated, described)
    await on(printed, migrate.check)


@pytest.mark.parametrize(
    "script", sorted((folder("migrations") / "versions").glob("*.py")), ids=lambda p: p.stem
)
def test_each_migration_says_whether_the_release_before_runs_on_it(script: Path) -> None:
    assert re.match(r"\d{4}_[a-z0-9_]+$", script.stem)
    assert re.search(r"^Kind: (expand|contract) \(.+\)\.$", script.read_text(), re.MULTILINE)


def test_the_migrations_carry_the_functions_word_for_word() -> None:
    script = _SCRIPTS[0].read_text()
    assert all(statement in script for statement in functions.FUNCTIONS)


async def test_the_log_of_a_migrated_store_is_append_only(bare: Bare) -> None:
    url = bare()
    await migrate.upgrade_at(url)

    def stored(statement: str) -> Awaitable[Any]:
        return on(url, lambda conn: conn.execute(text(statement)))

    await stored(
        "INSERT INTO log (tenant, lane, chain, position, saga, seq, kind, schema_version, at, digest, hash) "
        f"VALUES ('main', 'live', 1, 1, '{'0' * 8}-0000-0000-0000-{'0' * 12}', 0, 'committed', 1, "
        + ("1, x'', x'')" if url.startswith("sqlite") else "'epoch', '', '')")
    )
    for forbidden in ("UPDATE log SET kind = 'other'", "DELETE FROM log"):
        with pytest.raises(Exception, match="the log is append-only"):
            await stored(forbidden)
