"""Small builders for the contract suite: records, units, batches, and a bench that sends them."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from sagacity.chain import extend
from sagacity.ids import new_id
from sagacity.model.canonical import NULL, JsonText
from sagacity.model.lines import Line, Retried, Started
from sagacity.model.record import Lock, Record, Status, WaitsFor
from sagacity.model.unit import Batch, ChainHead, Message, ObjectChange, Unit, WorkerInfo, Written
from sagacity.store import schema
from sagacity.store.base import Store

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LEASE = timedelta(seconds=30)
FLOW = "Order"

_numbers = itertools.count(1)


class HandClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, at: datetime = NOON) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return (self.at - NOON).total_seconds()

    async def sleep(self, seconds: float) -> None:
        self.pass_by(timedelta(seconds=seconds))

    def pass_by(self, time: timedelta) -> None:
        self.at += time


def record(id: UUID | None = None, **fields: Any) -> Record:
    """A running saga after its first line."""
    given: dict[str, Any] = {
        "id": id or new_id(),
        "definition": FLOW,
        "version": 1,
        "definition_hash": "h1",
        "key": f"key-{next(_numbers)}",
        "input": JsonText('{"amount":"1.50"}'),
        "state": ("placed",),
        "revision": 1,
        "seq": 1,
        "created_at": NOON,
        "updated_at": NOON,
        "visits": {},
        "results": {},
    }
    return Record(**given | fields)


_record = record


def started(record: Record) -> Started:
    return Started(
        at=record.updated_at,
        definition=record.definition,
        version=record.version,
        definition_hash=record.definition_hash,
        key=record.key,
        request_hash="r1",
        input=record.input,
        state=record.state,
    )


def first(record: Record | None = None, **fields: Any) -> Unit:
    """The unit that inserts a saga."""
    saga = record or _record()
    given: dict[str, Any] = {"record": saga, "before": None, "epoch": 1, "lines": (started(saga),)}
    return Unit(**given | fields)


def note(at: datetime = NOON) -> Line:
    """Some line of no consequence."""
    return Retried(at=at, reason="a test's line", actor=None, message=UUID(int=0))


def following(before: Record, *, epoch: int = 1, change: dict[str, Any] | None = None, **fields: Any) -> Unit:
    """The unit that moves a saga on by one line; `change` are fields of the record."""
    after = replace(before, revision=before.revision + 1, seq=before.seq + 1, **change or {})
    given: dict[str, Any] = {
        "record": after,
        "before": before.revision,
        "epoch": epoch,
        "lines": (note(after.updated_at),),
    }
    return Unit(**given | fields)


def asleep(before: Record, *, until: datetime | None = None, **fields: Any) -> Unit:
    """The unit with which a saga goes to sleep for a signal, released."""
    change = {"status": Status.WAITING, "waits_for": WaitsFor.SIGNAL, "due_at": until}
    return following(before, change=change | fields.pop("change", {}), release=True, **fields)


def start_message(key: str | None = None, *, definition: str = FLOW, request_hash: str = "r1") -> Message:
    id = new_id()
    return Message(
        id=id,
        kind="start",
        saga=id,
        definition=definition,
        version=1,
        key=key or f"key-{next(_numbers)}",
        request_hash=request_hash,
        data=JsonText('{"amount":"1.50"}'),
        arrived_at=NOON,
    )


def signal(saga: UUID, *, name: str = "go", at: datetime = NOON, id: UUID | None = None) -> Message:
    return Message(
        id=id or new_id(), kind="signal", saga=saga, name=name, data=NULL, actor="someone", arrived_at=at
    )


def lock(object: str, *, shared: bool = False) -> Lock:
    return Lock(object=object, mode="shared" if shared else "exclusive")


def change(object: str, version: int, state: str = '{"n":1}') -> ObjectChange:
    return ObjectChange(object=object, version=version, state=JsonText(state))


def worker_info(now: datetime = NOON, *, name: str = "w", lease: timedelta = LEASE) -> WorkerInfo:
    return WorkerInfo(
        id=new_id(), name=name, definitions={FLOW: (1, "h1")}, started_at=now, lease_until=now + lease
    )


@dataclass
class Bench:
    """A registered worker with its chain, who sends batches one behind the other."""

    store: Store
    worker: UUID
    head: ChainHead
    sent: list[Batch] = field(default_factory=list)

    def batch(self, units: Sequence[Unit], *, head: ChainHead | None = None) -> Batch:
        at = head or self.head
        rows = extend(at, units, tenant=self.store.tenant, lane=self.store.lane)
        return Batch(head=at, rows=rows, units=tuple(units), worker=self.worker)

    async def send(self, *units: Unit) -> Written:
        batch = self.batch(units)
        written = await self.store.write(batch)
        self.head = batch.new_head
        self.sent.append(batch)
        return written

    async def begin(self, saga: Record | None = None, **fields: Any) -> Record:
        """A new saga, inserted and owned."""
        unit = first(saga, **fields)
        await self.send(unit)
        return unit.record


async def bench(store: Store, *, name: str = "w", lease: timedelta = LEASE) -> Bench:
    info = worker_info(await store.now(), name=name, lease=lease)
    return Bench(store=store, worker=info.id, head=await store.register(info))


async def dump(engine: AsyncEngine) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table, to see whether anything changed."""
    async with engine.connect() as conn:
        return {
            table.name: [tuple(row) for row in await conn.execute(select(table).order_by(*table.primary_key))]
            for table in schema.metadata.sorted_tables
        }
