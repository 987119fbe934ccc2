"""The one statement that writes a batch on PostgreSQL, and what it is given.

It is all or nothing, and it names who is to blame: every part of it fences its rows, a gate
compares what the parts touched with what they should have, and only behind the gate are lines
appended. The parts that may lose are upserts on a primary key: such a part looks each row up
in the order of its array whatever the planner knows or guesses, so locks are taken in key order
and no plan can go bad on a young table.

A row that must exist already is proposed as a phantom (empty `kind`, empty `definition`): if it
comes back, nothing was there to update, and the gate refuses it like any other loser.

    took  inbox rows consumed     up    sagas inserted or moved        head  the chain, by compare-and-set
    mail  inbox rows posted       ob    objects: queues and states     gate  refuses, or lets the rest pass
"""

import re
from collections.abc import Iterable, Sequence
from itertools import chain
from operator import attrgetter, itemgetter
from typing import Any, Final, Protocol
from uuid import UUID

from asyncpg import PostgresError

from sagacity.errors import StoreError
from sagacity.model.canonical import NULL
from sagacity.model.lines import SCHEMA_VERSION
from sagacity.model.unit import (
    Batch,
    BatchRefused,
    HeadMoved,
    Loss,
    ObjectState,
    Unit,
    Written,
)
from sagacity.store import functions, literals
from sagacity.store.parts import ObjectMove, Parts, arrange
from sagacity.store.rows import (
    Scope,
    Values,
    effect_values,
    message_values,
    notice_values,
    object_state,
    record_values,
)

SETTINGS: Final = {
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}
"""What the planner must be told on a connection that runs the statement."""

_SCALARS: Final = {
    "tenant": "text",
    "lane": "text",
    "worker": "uuid",
    "chain": "int",
    "epoch": "int",
    "position": "bigint",
    "new_position": "bigint",
    "new_hash": "bytea",
    "starts": "int",
    "schema_version": "int",
    "between": "text",
    "null": "text",
}
_ARRAYS: Final[dict[str, dict[str, str]]] = {
    "took": {"id": "uuid", "saga": "uuid"},
    "mail": {
        "id": "uuid",
        "kind": "text",
        "saga": "uuid",
        "definition": "text",
        "version": "int",
        "key": "text",
        "request_hash": "text",
        "name": "text",
        "data": "text",
        "payload": "text",
        "actor": "text",
        "arrived_at": "timestamptz",
        "done": "boolean",
        "rung": "boolean",
        "schema_version": "int",
    },
    "saga": {
        "id": "uuid",
        "definition": "text",
        "version": "int",
        "definition_hash": "text",
        "key": "text",
        "state": "text",
        "status": "text",
        "waits_for": "text",
        "reason": "text",
        "paused": "boolean",
        "revision": "int",
        "seq": "int",
        "epoch": "int",
        "owner": "uuid",
        "after": "int",
        "bells": "int",
        "created_at": "timestamptz",
        "updated_at": "timestamptz",
        "due_at": "timestamptz",
        "wake_at": "timestamptz",
        "parent": "uuid",
        "parent_step": "text",
        "rolls_back": "uuid",
        "schema_version": "int",
        "input": "text",
        "memo": "text",
    },
    "object": {
        "object": "text",
        "changed": "int",
        "state": "text",
        "delta": "text",
        "tickets": "int",
        "version": "bigint",
        "changer": "uuid",
        "optimistic": "text",
    },
    "log": {
        "position": "bigint",
        "saga": "uuid",
        "seq": "int",
        "kind": "text",
        "object": "text",
        "version": "bigint",
        "schema_version": "int",
        "at": "timestamptz",
        "data": "text",
        "digest": "bytea",
        "hash": "bytea",
    },
    "effect": {
        "saga": "uuid",
        "n": "int",
        "step": "text",
        "visit": "int",
        "key": "text",
        "undo": "text",
        "safe_on_nothing": "boolean",
        "status": "text",
        "result": "text",
        "undo_attempts": "int",
        "undo_since": "timestamptz",
        "undo_due_at": "timestamptz",
        "error": "text",
        "schema_version": "int",
    },
    "notice": {
        "id": "uuid",
        "key": "text",
        "saga": "uuid",
        "seq": "int",
        "kind": "text",
        "data": "text",
        "schema_version": "int",
    },
}

# `:name` and `:relation.column` are parameters, `@relation` is all columns of one side by side as rows `x`.
_TEMPLATE: Final = """
WITH took AS (
  INSERT INTO inbox AS i (tenant, lane, id, kind, saga, data, payload, arrived_at, done, rung, schema_version)
  SELECT :tenant, :lane, x.id, '', x.saga, '', '', 'epoch', true, true, 0 FROM @took
  ON CONFLICT (tenant, lane, id) DO UPDATE SET done = true WHERE NOT i.done
  RETURNING i.id, i.kind),
mail AS (
  INSERT INTO inbox (tenant, lane, id, kind, saga, definition, version, key, request_hash, name, data,
    payload, actor, arrived_at, done, rung, schema_version)
  SELECT :tenant, :lane, x.* FROM @mail WHERE (SELECT count(*) FROM took) >= 0
  ON CONFLICT DO NOTHING
  RETURNING id, done),
up AS (
  INSERT INTO saga AS s (tenant, lane, id, definition, version, definition_hash, key, state, status,
    waits_for, reason, paused, revision, seq, epoch, owner, arrivals, heard, created_at, updated_at, due_at,
    wake_at, parent, parent_step, rolls_back, schema_version, input, memo)
  SELECT :tenant, :lane, x.id, x.definition, x.version, x.definition_hash, x.key, x.state, x.status,
    x.waits_for, x.reason, x.paused, x.revision, x.seq, x.epoch, x.owner, x.after, greatest(x.bells, 0),
    x.created_at, x.updated_at, x.due_at, x.wake_at, x.parent, x.parent_step, x.rolls_back,
    x.schema_version, x.input, x.memo
  FROM @saga WHERE (SELECT count(*) FROM mail) >= 0
  ON CONFLICT (tenant, lane, id) DO UPDATE SET
    state = excluded.state, status = excluded.status, waits_for = excluded.waits_for,
    reason = excluded.reason, paused = excluded.paused, revision = excluded.revision, seq = excluded.seq,
    owner = excluded.owner, heard = coalesce(nullif(excluded.heard, 0), s.heard),
    updated_at = excluded.updated_at, due_at = excluded.due_at, wake_at = excluded.wake_at,
    schema_version = excluded.schema_version, memo = excluded.memo
  WHERE s.revision = excluded.arrivals - 1 AND s.epoch = excluded.epoch AND s.owner = :worker
  RETURNING s.id, s.arrivals, s.definition),
ob AS (
  INSERT INTO object AS o (tenant, lane, object, version, state, queue, tickets, schema_version)
  SELECT :tenant, :lane, x.object, x.changed, x.state, string_to_array(x.delta, ' '), x.tickets,
    :schema_version
  FROM @object WHERE (SELECT count(*) FROM up) >= 0
  ON CONFLICT (tenant, lane, object) DO UPDATE SET
    version = o.version + excluded.version,
    state = CASE WHEN excluded.version > 0 THEN excluded.state ELSE o.state END,
    tickets = o.tickets + excluded.tickets,
    schema_version = excluded.schema_version,
    queue = CASE WHEN cardinality(excluded.queue) = 0 THEN o.queue ELSE
      ARRAY(SELECT e FROM unnest(o.queue) WITH ORDINALITY AS q(e, n)
        WHERE '-' || left(e, 37) <> ALL (excluded.queue) ORDER BY n)
      || ARRAY(SELECT left(e, 38) || o.tickets + split_part(e, ':', 2)::bigint || ':' || split_part(e, ':', 3)
        FROM unnest(excluded.queue) WITH ORDINALITY AS q(e, n) WHERE left(e, 1) <> '-' ORDER BY n) END
  RETURNING o.object, o.version, o.state, o.queue),
head AS (
  UPDATE chain SET position = :new_position, hash = :new_hash
  WHERE tenant = :tenant AND lane = :lane AND id = :chain AND epoch = :epoch AND position = :position
    AND (SELECT count(*) FROM ob) >= 0
  RETURNING id),
gate AS MATERIALIZED (
  SELECT CASE WHEN
    (SELECT count(*) FROM took WHERE kind <> '') = cardinality(:took.id)
    AND (SELECT count(*) FROM mail WHERE done) = :starts
    AND (SELECT count(*) FROM up WHERE definition <> '') = cardinality(:saga.id)
    AND NOT EXISTS (SELECT 1 FROM unnest(ARRAY(SELECT arrivals FROM up), :saga.bells) AS c(has, wanted)
      WHERE c.wanted >= 0 AND c.has <> c.wanted)
    AND NOT EXISTS (SELECT 1 FROM unnest(ARRAY(SELECT object FROM ob), ARRAY(SELECT version FROM ob),
        ARRAY(SELECT queue[1] FROM ob), :object.object, :object.version, :object.optimistic)
        AS c(object, version, front, moved, wanted, optimistic)
      WHERE c.object <> c.moved OR c.version <> c.wanted OR left(c.front, 1) = '-'
        OR c.optimistic <> '' AND left(c.front, 37) <> 'x' || c.optimistic
          AND EXISTS (SELECT 1 FROM ob, unnest(string_to_array(c.optimistic, ' ')) AS w(saga)
            WHERE ob.object = c.object AND NOT sagacity_holds(ob.queue, w.saga)))
    AND (SELECT count(*) FROM head) = 1
  THEN true ELSE sagacity_refuse(ARRAY(
      SELECT x.id || CASE WHEN x.after = 0 THEN '=known' ELSE '=stale' END
        FROM unnest(:saga.id, :saga.after) AS x(id, after)
        WHERE x.id NOT IN (SELECT id FROM up WHERE definition <> '')
      UNION ALL SELECT x.id || '=arrivals' FROM unnest(:saga.id, :saga.bells) AS x(id, bells), up
        WHERE up.id = x.id AND x.bells >= 0 AND up.arrivals <> x.bells
      UNION ALL SELECT x.saga || '=known' FROM unnest(:mail.saga, :mail.id, :mail.done) AS x(saga, id, done)
        WHERE x.done AND x.id NOT IN (SELECT id FROM mail)
      UNION ALL SELECT x.saga || '=taken' FROM unnest(:took.id, :took.saga) AS x(id, saga)
        WHERE x.id NOT IN (SELECT id FROM took WHERE kind <> '')
      UNION ALL SELECT w.saga || '=busy'
        FROM unnest(:object.object, :object.optimistic) AS x(object, optimistic), ob,
          unnest(string_to_array(x.optimistic, ' ')) AS w(saga)
        WHERE ob.object = x.object AND NOT sagacity_holds(ob.queue, w.saga)
      UNION ALL SELECT x.changer || '=version'
        FROM unnest(:object.object, :object.version, :object.changer) AS x(object, version, changer), ob
        WHERE ob.object = x.object AND ob.version <> x.version
      UNION ALL SELECT array_position(:object.object, object) || '=absent' FROM ob
        WHERE left(queue[1], 1) = '-'),
    CASE WHEN (SELECT count(*) FROM head) = 1 THEN 'member' ELSE 'head' END) END AS ok),
lines AS (
  INSERT INTO log (tenant, lane, chain, position, saga, seq, kind, object, version, schema_version, at, data,
    digest, hash)
  SELECT :tenant, :lane, :chain, x.* FROM @log WHERE (SELECT ok FROM gate)),
effects AS (
  INSERT INTO compensation (tenant, lane, saga, n, step, visit, key, undo, safe_on_nothing, status, result,
    undo_attempts, undo_since, undo_due_at, error, schema_version)
  SELECT :tenant, :lane, x.* FROM @effect WHERE (SELECT ok FROM gate)
  ON CONFLICT (tenant, lane, saga, n) DO UPDATE SET step = excluded.step, visit = excluded.visit,
    key = excluded.key, undo = excluded.undo, safe_on_nothing = excluded.safe_on_nothing,
    status = excluded.status, result = excluded.result, undo_attempts = excluded.undo_attempts,
    undo_since = excluded.undo_since, undo_due_at = excluded.undo_due_at, error = excluded.error,
    schema_version = excluded.schema_version),
notices AS (
  INSERT INTO outbox (tenant, lane, id, key, saga, seq, kind, data, sent, schema_version)
  SELECT :tenant, :lane, x.id, x.key, x.saga, x.seq, x.kind, x.data, false, x.schema_version
  FROM @notice WHERE (SELECT ok FROM gate) ON CONFLICT DO NOTHING)
SELECT NULL AS object, NULL::bigint AS version, NULL AS state, NULL::text[] AS queue,
  ARRAY(SELECT id FROM up) AS sagas, ARRAY(SELECT arrivals FROM up) AS arrivals
WHERE (SELECT ok FROM gate)
UNION ALL SELECT object, version, state, queue, NULL, NULL FROM ob WHERE (SELECT ok FROM gate)
"""


def _rendered() -> str:
    """The template with the driver's numbered parameters in place of names."""
    names = list(_SCALARS) + [f"{relation}.{column}" for relation in _ARRAYS for column in _ARRAYS[relation]]
    numbers = {name: f"${number}" for number, name in enumerate(names, 1)}
    numbered = {name: f"{numbers[name]}::{kind}" for name, kind in _SCALARS.items()} | {
        f"{relation}.{column}": literals.expression(
            kind, numbers[f"{relation}.{column}"], numbers["between"], numbers["null"]
        )
        for relation, columns in _ARRAYS.items()
        for column, kind in columns.items()
    }

    def rows(found: re.Match[str]) -> str:
        relation = found[1]
        columns = _ARRAYS[relation]
        return f"unnest({', '.join(f':{relation}.{c}' for c in columns)}) AS x({', '.join(columns)})"

    with_rows = re.sub(r"@([a-z]+)", rows, _TEMPLATE)
    return re.sub(r"(?<!:):([a-z_]+(?:\.[a-z_]+)?)", lambda found: numbered[found[1]], with_rows)


STATEMENT: Final = _rendered()
"""The statement as the driver takes it; `arguments` makes its arguments, in order."""

_Rows = dict[str, list[tuple[Any, ...]]]


class Driver(Protocol):
    """What of an asyncpg connection is needed here."""

    async def fetch(self, query: str, *args: Any) -> Sequence[Any]:
        """Run a query and return its rows."""


def arguments(scope: Scope, batch: Batch, parts: Parts) -> list[Any]:
    """What the statement is given for a batch: scalars, then one text per column (see `literals`)."""
    rows: _Rows = {
        "took": [(consumed.id, consumed.saga) for consumed in parts.consumed],
        "mail": _mail(parts),
        "saga": [_saga(unit, batch.worker) for unit in sorted(batch.units, key=lambda unit: unit.saga)],
        "object": [_object(move) for move in parts.objects],
        "log": list(map(_LINE, batch.rows)),
        "effect": [_picked("effect", effect_values(saga, effect)) for saga, effect in parts.effects],
        "notice": [_picked("notice", notice_values(scope, notice)) for notice in parts.notices],
    }
    head, new = batch.head, batch.new_head
    found: list[Any] = [*scope, batch.worker, head.id, head.epoch, head.position, new.position, new.hash]
    columns = [
        (kind, column)
        for relation, kinds in _ARRAYS.items()
        for kind, column in zip(kinds.values(), _columns(rows[relation], len(kinds)), strict=True)
    ]
    between, null = literals.marks(chain.from_iterable(column for kind, column in columns if kind == "text"))
    found += [len(parts.starts), SCHEMA_VERSION, between, null]
    found += [
        literals.joined(column, between, null) if kind == "text" else literals.literal(kind, column)
        for kind, column in columns
    ]
    return found


def _columns(rows: list[tuple[Any, ...]], width: int) -> Iterable[tuple[Any, ...]]:
    return zip(*rows, strict=True) if rows else [()] * width


# Getters in C: these run for every row of every batch.
_LINE = attrgetter(*_ARRAYS["log"])
_PICKED = {relation: itemgetter(*columns) for relation, columns in _ARRAYS.items()}


def _picked(relation: str, values: Values) -> tuple[Any, ...]:
    row: tuple[Any, ...] = _PICKED[relation](values)
    return row


def _mail(parts: Parts) -> list[tuple[Any, ...]]:
    """Starts that are begun in the same move, then what is posted, each in key order."""
    values = [message_values(start, done=True, rung=True) for start in parts.starts]
    values += [message_values(post, done=False, rung=post.kind == "start") for post in parts.posts]
    return [_picked("mail", row) for row in values]


def _saga(unit: Unit, worker: UUID) -> tuple[Any, ...]:
    """A saga's row; where it must exist already, the columns that never change are left empty."""
    values = record_values(unit.record)
    values["epoch"] = unit.epoch
    values["owner"] = None if unit.release else worker
    values["wake_at"] = unit.record.due_at if unit.release else None
    values["bells"] = -1 if unit.arrivals is None else unit.arrivals
    values["after"] = 0
    if unit.before is not None:
        values["after"] = unit.before + 1
        values["definition"] = values["definition_hash"] = values["key"] = values["input"] = ""
    return _picked("saga", values)


def _object(move: ObjectMove) -> tuple[Any, ...]:
    """An object's row. `delta`: what leaves its queue (behind a dash), then what enters, numbered from 1."""
    entering = (f"{place.who}:{n}:{place.since}" for n, place in enumerate(move.admitted, 1))
    return (
        move.object,
        0 if move.changer is None else 1,
        NULL if move.state is None else move.state,
        " ".join((*(f"-{who}" for who in move.freed), *entering)),
        len(move.admitted),
        move.version,
        move.changer,
        " ".join(map(str, move.optimistic)),
    )


async def write(driver: Driver, scope: Scope, batch: Batch) -> Written:
    """Write a batch with one statement, in the transaction that the driver is in, or in its own.

    Raises:
        BatchRefused, HeadMoved: as in the contract. StoreError: a lock is freed on an object that has no row.
        asyncpg.PostgresError, OSError and the like: whatever else the driver met.
    """
    parts = arrange(batch)
    try:
        rows = await driver.fetch(STATEMENT, *arguments(scope, batch, parts))
    except PostgresError as error:
        if error.sqlstate != functions.REFUSED:
            raise
        raise _refusal(error.detail or "", error.hint or "", parts) from None
    return _written(rows, batch)


def _written(rows: Sequence[Any], batch: Batch) -> Written:
    # The driver's ids are of a class of its own, which JSON does not take.
    plain = {unit.saga: unit.saga for unit in batch.units}
    arrivals: dict[UUID, int] = {}
    objects: dict[str, ObjectState] = {}
    for object, version, state, queue, sagas, bells in rows:
        if object is None:
            arrivals = {plain[saga]: bell for saga, bell in zip(sagas, bells, strict=True)}
        else:
            objects[object] = object_state(object, version, state, queue)
    return Written(arrivals=arrivals, objects=objects)


def _refusal(detail: str, hint: str, parts: Parts) -> Exception:
    """What the gate said. A member that fails in several ways is named by the one that is told first."""
    if hint == "head":
        return HeadMoved("the chain does not stand where the batch says")
    losers: dict[UUID, Loss] = {}
    for named in detail.split(","):
        saga, _, loss = named.partition("=")
        if loss == "absent":
            object = parts.objects[int(saga) - 1].object
            return StoreError(f"object {object}: a lock is freed that nobody ever asked for")
        losers.setdefault(UUID(saga), Loss(loss))
    return BatchRefused(losers)
