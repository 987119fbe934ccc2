"""Eight ways in which somebody who may do everything in the database tampers with history: all are found.

He is a superuser: triggers do not stop him, and he can compute hashes. What he cannot do is change what was
sent away, nor sign in its place.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from benchmarks.fill import fill
from sagacity.anchor import read_anchors
from sagacity.audit import Evidence, verify
from sagacity.chain import link
from sagacity.model.canonical import JsonText
from sagacity.model.unit import LogRow
from sagacity.runtime.anchoring import Anchoring
from sagacity.runtime.sinks import FileSink
from sagacity.store import schema
from sagacity.store.base import Store
from sagacity.store.rows import log_row_of, log_values
from sagacity.store.schema import log

KEY = b"k" * 32
Scene = Callable[[AsyncConnection], Awaitable[None]]


@pytest.fixture
async def history(store: Store, url: str, engine: AsyncEngine, tmp_path: Path) -> AsyncIterator["History"]:
    """Two finished orders, one chain each, anchored."""
    await fill(url, 2, chains=2)
    made = History(store, engine, FileSink(tmp_path / "anchors.jsonl"))
    await made.anchor()
    yield made
    if engine.dialect.name == "postgresql":
        async with engine.begin() as conn:
            await conn.exec_driver_sql("SET session_replication_role = origin")


class History:
    """A store with a past, and somebody who may do everything with it."""

    def __init__(self, store: Store, engine: AsyncEngine, sink: FileSink) -> None:
        self.store = store
        self.sink = sink
        self._engine = engine

    async def anchor(self) -> None:
        await Anchoring(self.store, self.sink, KEY).send()

    @asynccontextmanager
    async def superuser(self) -> AsyncIterator[AsyncConnection]:
        async with self._engine.begin() as conn:
            if self._engine.dialect.name == "postgresql":
                await conn.exec_driver_sql("SET LOCAL session_replication_role = replica")
            else:
                await conn.exec_driver_sql("DROP TRIGGER IF EXISTS log_no_update")
                await conn.exec_driver_sql("DROP TRIGGER IF EXISTS log_no_delete")
            yield conn

    async def found(self, *, anchored: bool = True, chains_only: bool = False) -> set[str]:
        """The invariants that `verify` names."""
        lines = await self.sink.anchors() if anchored else []
        anchors = read_anchors(lines, tenant=self.store.tenant, lane=self.store.lane)
        assert bool(anchors) is anchored
        evidence = Evidence(anchors=anchors, key=KEY)
        verdict = await verify(self.store, evidence, chains_only=chains_only)
        return {finding.invariant for finding in verdict.findings}


def at(chain: int, position: int) -> Any:
    return (log.c.chain == chain) & (log.c.position == position)


async def rows_of(conn: AsyncConnection, chain: int) -> list[LogRow]:
    query = select(log).where(log.c.chain == chain).order_by(log.c.position)
    return [log_row_of(row) for row in await conn.execute(query)]


async def test_untouched_history_is_sound(history: History) -> None:
    assert await history.found() == set()
    assert await history.found(anchored=False) == set()


async def test_an_edited_line_is_found(history: History) -> None:
    async with history.superuser() as conn:
        rows = await rows_of(conn, 1)
        data = (rows[0].data or "").replace("19.90", "91.90")
        await conn.execute(update(log).where(at(1, 1)).values(data=data))
    assert "I3" in await history.found()
    assert await history.found(chains_only=True) == {"I3"}


async def test_a_deleted_line_is_found(history: History) -> None:
    async with history.superuser() as conn:
        await conn.execute(delete(log).where(at(1, 5)))
    assert await history.found(chains_only=True) == {"I2"}


async def test_two_swapped_lines_are_found(history: History) -> None:
    async with history.superuser() as conn:
        for old, new in ((3, 1_003), (4, 3), (1_003, 4)):
            await conn.execute(update(log).where(at(1, old)).values(position=new))
    assert await history.found(chains_only=True) == {"I3"}


async def test_an_inserted_line_is_found(history: History) -> None:
    async with history.superuser() as conn:
        rows = await rows_of(conn, 1)
        for row in reversed(rows[5:]):
            await conn.execute(update(log).where(at(1, row.position)).values(position=row.position + 1))
        forged = replace(rows[5], position=6, seq=99)
        scope = {"tenant": history.store.tenant, "lane": history.store.lane}
        await conn.execute(insert(log).values(scope | log_values(forged)))
    assert "I3" in await history.found(chains_only=True)


async def test_a_backdated_line_is_found(history: History) -> None:
    async with history.superuser() as conn:
        rows = await rows_of(conn, 1)
        await conn.execute(update(log).where(at(1, 7)).values(at=rows[6].at - timedelta(days=30)))
    assert await history.found(chains_only=True) == {"I3"}


async def test_a_cut_tail_is_found_by_the_anchor_and_by_nothing_else(history: History) -> None:
    async with history.superuser() as conn:
        [saga] = {row.saga for row in await rows_of(conn, 2)}
        await conn.execute(delete(log).where(log.c.chain == 2))
        await conn.execute(update(schema.chain).where(schema.chain.c.id == 2).values(position=0, hash=b""))
        await conn.execute(delete(schema.saga).where(schema.saga.c.id == saga))
        await conn.execute(delete(schema.compensation).where(schema.compensation.c.saga == saga))
        await conn.execute(delete(schema.inbox).where(schema.inbox.c.saga == saga))
        changed = (schema.object.c.version == 1) & schema.object.c.object.like("%-1")
        await conn.execute(delete(schema.object).where(changed))
    assert await history.found(anchored=False) == set()
    assert await history.found() == await history.found(chains_only=True) == {"I1"}


async def test_a_full_rewrite_with_new_hashes_is_found_by_the_anchor_and_by_nothing_else(
    history: History,
) -> None:
    async with history.superuser() as conn:
        previous = b""
        for row in await rows_of(conn, 1):
            data = JsonText((row.data or "").replace('"external":"', '"external":"another '))
            made = replace(row, data=data, digest=sha256(data.encode()).digest())
            made = replace(made, hash=link(previous, made, tenant="main", lane="live"))
            previous = made.hash
            await conn.execute(update(log).where(at(1, row.position)).values(log_values(made)))
        await conn.execute(update(schema.chain).where(schema.chain.c.id == 1).values(hash=previous))
    assert await history.found(anchored=False) == set()
    assert await history.found() == await history.found(chains_only=True) == {"I1"}


async def test_an_edit_of_a_table_alone_is_found(history: History) -> None:
    async with history.superuser() as conn:
        sold = schema.object.c.version == 1
        await conn.execute(update(schema.object).where(sold).values(state='{"sold_for":"0.01"}'))
    assert await history.found() == {"I5"}
    assert await history.found(chains_only=True) == set()


async def test_an_edited_anchor_is_found_by_its_signature(history: History) -> None:
    lines = await history.sink.anchors()
    [anchor] = read_anchors(lines, tenant="main", lane="live")
    forged = replace(anchor, heads={1: (1, "00")})
    verdict = await verify(history.store, Evidence(anchors=[forged], key=KEY), chains_only=True)
    assert [f.invariant for f in verdict.findings] == ["I3"]
    assert "signature" in verdict.findings[0].what
    verdict = await verify(history.store, Evidence(anchors=[anchor], key=b"x" * 32), chains_only=True)
    assert "another key" in verdict.findings[0].what
