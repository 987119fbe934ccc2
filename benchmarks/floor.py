"""The floor: the rows of a real run once more, in the same batches, by bare asyncpg.

A worker runs measured sagas, and each batch that its committer writes is kept. Then the rows of these batches
are written to an empty database on one connection, a transaction for each batch, with everything computed
beforehand: COPY for what is only added (lines, messages), one upsert for each other table. Nothing is
checked, fenced or answered. Of sagas that ran one at a time it tells how long all batches of a saga took,
of others how long a batch took.
"""

import argparse
import sys
from collections.abc import Sequence
from time import perf_counter, process_time
from typing import Any

import asyncpg
from sqlalchemy import Table
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import make_url

from benchmarks.contender import Task, Took, closed_loop, tasks
from benchmarks.flow import Measured
from benchmarks.ours import runner, worker_on
from sagacity import loops
from sagacity.definition.project import Project
from sagacity.model.canonical import NULL
from sagacity.model.lines import SCHEMA_VERSION
from sagacity.model.unit import Batch, Unit, Written
from sagacity.orchestrator import Orchestrator
from sagacity.store import schema
from sagacity.store.migrate import upgrade_at
from sagacity.store.open import open_store
from sagacity.store.parts import ObjectMove, arrange
from sagacity.store.rows import effect_values, log_values, message_values, record_values

Row = dict[str, Any]
_SCOPE = {"tenant": "main", "lane": "live"}
_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]


class Recording:
    """A store that keeps the batches that it writes."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.batches: list[Batch] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def write(self, batch: Batch) -> Written:
        """See `Store.write`."""
        written: Written = await self._store.write(batch)
        self.batches.append(batch)
        return written


async def record(url: str, task: Task) -> list[Batch]:
    """The batches of a run."""
    await upgrade_at(url)
    store = Recording(open_store(url, tenant="main", lane="live"))
    await store.open()
    plain: Any = store
    async with Orchestrator(plain, Project.of(Measured)) as sagas, worker_on(sagas, url):
        await closed_loop(runner(sagas), task)
    return store.batches


class Rows:
    """One batch as the driver takes it: rows to copy, and arrays to upsert."""

    def __init__(self, batch: Batch) -> None:
        parts = arrange(batch)
        self.log = _records(schema.log, [log_values(row) for row in batch.rows])
        starts = [message_values(start, done=True, rung=True) for start in parts.starts]
        self.inbox = _records(schema.inbox, starts)
        self.saga = _arrays(schema.saga, [_saga(unit, batch) for unit in batch.units])
        self.object = _arrays(schema.object, [_object(move) for move in parts.objects])
        effects = [effect_values(saga, effect) for saga, effect in parts.effects]
        self.compensation = _arrays(schema.compensation, effects)
        self.head = (batch.new_head.position, batch.new_head.hash, batch.head.id)


def _saga(unit: Unit, batch: Batch) -> Row:
    owner = None if unit.release else batch.worker
    lease = {"owner": owner, "epoch": unit.epoch, "arrivals": 0, "heard": 0, "wake_at": None}
    return record_values(unit.record) | lease


def _object(move: ObjectMove) -> Row:
    return {
        "object": move.object,
        "version": 1 if move.changer else 0,
        "state": NULL if move.state is None else move.state,
        "queue": " ".join(f"{place.who}:1:{place.since}" for place in move.admitted),
        "tickets": 1,
        "schema_version": SCHEMA_VERSION,
    }


def _names(table: Table, rows: Sequence[Row]) -> list[str]:
    return [column.name for column in table.columns if rows and column.name in rows[0]]


def _records(table: Table, rows: Sequence[Row]) -> tuple[list[str], list[tuple[Any, ...]]]:
    whole = [_SCOPE | row for row in rows]
    names = _names(table, whole)
    return names, [tuple(row[name] for name in names) for row in whole]


def _arrays(table: Table, rows: Sequence[Row]) -> tuple[str, list[list[Any]]]:
    """An upsert by primary key, and its arrays; no arrays where there are no rows."""
    whole = [_SCOPE | row for row in rows]
    names = _names(table, whole)
    return _upsert(table, names) if names else "", [[row[name] for row in whole] for name in names]


def _upsert(table: Table, names: Sequence[str]) -> str:
    keys = [column.name for column in table.primary_key]
    kinds = {name: table.c[name].type.compile(dialect=_DIALECT) for name in names}
    values = ", ".join(f"string_to_array(x.{n}, ' ')" if kinds[n] == "TEXT[]" else f"x.{n}" for n in names)
    arrays = ", ".join(f"${i}::{kinds[n].removesuffix('[]')}[]" for i, n in enumerate(names, 1))
    changed = ", ".join(f"{n} = excluded.{n}" for n in names if n not in keys)
    columns = ", ".join(names)
    return (
        f"INSERT INTO {table.name} ({columns}) SELECT {values} FROM unnest({arrays}) AS x({columns}) "  # noqa: S608
        f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {changed}"
    )


async def write_again(url: str, batches: Sequence[Batch], *, alone: bool) -> Took:
    """Write the rows of `batches`, in order, to the empty database at `url`.

    Args:
        url: of PostgreSQL.
        batches: as they were recorded.
        alone: they are of sagas that ran one at a time.
    """
    await upgrade_at(url)
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    driver: Any = await asyncpg.connect(plain)
    ready = [Rows(batch) for batch in batches]
    for chain in {batch.head.id for batch in batches}:
        await driver.execute(
            "INSERT INTO chain (tenant, lane, id, epoch, position, hash) VALUES ($1, $2, $3, 1, 0, '')",
            *_SCOPE.values(),
            chain,
        )
    took = Took(sagas=sum(unit.record.status.final for batch in batches for unit in batch.units))
    began, cpu = perf_counter(), process_time()
    since = began
    for batch, rows in zip(batches, ready, strict=True):
        await _write(driver, rows)
        if not alone or any(unit.record.status.final for unit in batch.units):
            took.latencies.append(perf_counter() - since)
            since = perf_counter()
    took.seconds, took.cpu = perf_counter() - began, process_time() - cpu
    await driver.close()
    return took


async def _write(driver: Any, batch: Rows) -> None:
    async with driver.transaction():
        for name in ("inbox", "log"):
            columns, records = getattr(batch, name)
            if records:
                await driver.copy_records_to_table(name, columns=columns, records=records)
        for name in ("saga", "object", "compensation"):
            statement, arrays = getattr(batch, name)
            if arrays:
                await driver.execute(statement, *arrays)
        await driver.execute("UPDATE chain SET position = $1, hash = $2 WHERE id = $3", *batch.head)


async def main(recorded: str, empty: str) -> None:
    """Record the first task on one database, write it to the other at the second, for that is empty once."""
    batches: list[Batch] = []

    async def perform(given: dict[str, Any]) -> dict[str, float]:
        if batches:
            return (await write_again(empty, batches, alone=given["at_once"] == 1)).told()
        batches.extend(await record(recorded, Task(**given)))
        return {}

    await tasks(perform)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.floor", description=__doc__)
    parser.add_argument("--store", required=True, help="postgresql://… of an empty database, for the run")
    parser.add_argument("--empty", required=True, help="postgresql://… of another one, for the rows")
    given = parser.parse_args()
    sys.exit(loops.run(main(given.store, given.empty)))
