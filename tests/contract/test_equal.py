"""Random batches, good and bad, sent to both databases: the same answers, and the same tables afterwards."""

import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from sagacity.chain import extend
from sagacity.errors import StoreError
from sagacity.model.canonical import JsonText
from sagacity.model.record import Effect, Lock, Record, Status, WaitsFor
from sagacity.model.unit import Batch, BatchRefused, ChainHead, HeadMoved, Message, Notice, Unit
from sagacity.store.base import SagaRow, Store
from sagacity.store.open import open_store
from tests.contract.builders import (
    FLOW,
    NOON,
    HandClock,
    change,
    first,
    following,
    record,
    signal,
    start_message,
    worker_info,
)

OBJECTS = [f"o:{n}" for n in range(4)]


@pytest.fixture
async def both(tmp_path: Path, pg_url: str) -> AsyncIterator[tuple[Store, Store]]:
    """One store of each kind, on one clock."""
    clock = HandClock()
    stores = (
        open_store(f"sqlite:///{tmp_path}/equal.db", clock=clock, accept_loss=True),
        open_store(pg_url, clock=clock, accept_loss=True),
    )
    for store in stores:
        await store.open()
    yield stores
    for store in stores:
        await store.close()


@dataclass
class Play:
    """What a random player knows: enough to make batches that are often right and often wrong."""

    chance: random.Random
    sagas: dict[UUID, tuple[Record, int]] = field(default_factory=dict)
    queued: dict[UUID, list[Lock]] = field(default_factory=dict)
    mail: list[Message] = field(default_factory=list)

    def new_id(self) -> UUID:
        return UUID(int=self.chance.getrandbits(128))

    def often(self, share: float = 0.9) -> bool:
        return self.chance.random() < share

    def message(self) -> Message:
        message = signal(self.chance.choice(list(self.sagas)), id=self.new_id())
        self.mail.append(message)
        return message

    def start(self) -> Message:
        id = self.new_id()
        key = f"key-{self.chance.randrange(12)}"
        return replace(start_message(key), id=id, saga=id)

    def unit(self) -> Unit:
        made = self.fresh() if not self.sagas or self.often(0.3) else self.move()
        extras: dict[str, Any] = {}
        if self.often(0.3):
            n = self.chance.randint(1, 2)
            extras["effects"] = (Effect(n=n, step="pay", visit=1, key="k", undo="Refund"),)
        if self.often(0.2):
            seq = self.chance.randint(1, 3)
            extras["notices"] = (
                Notice(key="k", saga=made.saga, seq=seq, kind="committed", data=JsonText("{}")),
            )
        if self.often(0.2) and self.sagas:
            extras["posts"] = (self.message(),)
        if self.often(0.2):
            objects = self.chance.sample(OBJECTS, 1)
            extras["changes"] = tuple(change(o, self.chance.randint(1, 2)) for o in objects)
        return replace(made, **extras)

    def fresh(self) -> Unit:
        start = self.start()
        saga = record(start.id, key=str(start.key))
        admit = self.locks()
        return first(saga, start=start if self.often(0.5) else None, admit=admit, optimistic=self.often(0.5))

    def locks(self) -> tuple[Lock, ...]:
        objects = self.chance.sample(OBJECTS, self.chance.randint(0, 2))
        return tuple(Lock(object=o, mode="shared" if self.often(0.4) else "exclusive") for o in objects)

    def move(self) -> Unit:
        saga, epoch = self.sagas[self.chance.choice(list(self.sagas))]
        sleeping = self.often(0.2)
        after: dict[str, Any] = {"updated_at": NOON + timedelta(microseconds=self.chance.randrange(10**6))}
        if sleeping:
            after |= {"status": Status.WAITING, "waits_for": WaitsFor.SIGNAL, "due_at": NOON}
        made = following(saga, epoch=epoch if self.often() else epoch + 1, change=after)
        free = tuple(self.queued.get(saga.id, ())) if self.often(0.4) else ()
        mail = [m.id for m in self.mail if m.saga == saga.id]
        return replace(
            made,
            before=saga.revision if self.often() else saga.revision + 1,
            release=sleeping,
            arrivals=self.chance.choice([None, 0, 1]) if sleeping else None,
            free=free,
            consumes=tuple(self.chance.sample(mail, 1)) if mail and self.often(0.3) else (),
            admit=self.locks() if self.often(0.2) else (),
            optimistic=self.often(0.2),
        )

    def units(self) -> list[Unit]:
        """At most one unit per saga and one change per object, as the committer sees to it."""
        found: list[Unit] = []
        for _ in range(self.chance.randint(1, 6)):
            unit = self.unit()
            taken = {change.object for other in found for change in other.changes}
            if unit.saga in {other.saga for other in found} or taken & {c.object for c in unit.changes}:
                continue
            found.append(unit)
        return found

    def wrote(self, units: list[Unit]) -> None:
        for unit in units:
            epoch = unit.epoch
            self.sagas[unit.saga] = (unit.record, epoch)
            places = [lock for lock in self.queued.get(unit.saga, []) if lock not in unit.free]
            self.queued[unit.saga] = [*places, *unit.admit]


async def answer(store: Store, batch: Batch) -> object:
    """What a store says to a batch, in a form that can be compared."""
    try:
        return await store.write(batch)
    except BatchRefused as refused:
        return refused.losers
    except (HeadMoved, StoreError) as error:
        return type(error)


async def tables(store: Store, sagas: list[UUID], heads: list[ChainHead]) -> dict[str, object]:
    """Everything a store shows."""
    rows: list[SagaRow] = [row async for row in store.sagas_whole()]
    return {
        "sagas": rows,
        "objects": [state async for state in store.objects_whole()],
        "lines": [row async for row in store.rows_by_saga(heads)],
        "effects": {id: await store.effects_of(id) for id in sagas},
        "mail": {id: await store.messages(id) for id in sagas},
        "notices": await store.notices(limit=1_000),
        "heads": await store.heads(),
        "locks": await store.locks(),
        "counts": await store.counts(),
    }


@pytest.mark.parametrize("seed", range(12))
async def test_both_databases_answer_alike_and_end_alike(both: tuple[Store, Store], seed: int) -> None:
    play = Play(random.Random(seed))
    info = replace(worker_info(), id=play.new_id())
    (head, other) = [await store.register(info) for store in both]
    assert head == other
    said: list[object] = []
    for _ in range(25):
        units = play.units()
        rows = extend(head, units, tenant="main", lane="live")
        batch = Batch(head=head, rows=rows, units=tuple(units), worker=info.id)
        one, two = [await answer(store, batch) for store in both]
        assert one == two
        said.append(one)
        if isinstance(one, dict):
            survivors = [unit for unit in units if unit.saga not in one]
            rows = extend(head, survivors, tenant="main", lane="live") if survivors else ()
            batch = replace(batch, rows=rows, units=tuple(survivors))
            if not survivors:
                continue
            one, two = [await answer(store, batch) for store in both]
            assert one == two
            units = survivors
        if not isinstance(one, (dict, type)):
            head = batch.new_head
            play.wrote(units)
        if play.sagas:
            messages = [play.message()]
            receipts = [await store.put(messages) for store in both]
            assert receipts[0] == receipts[1]
        rung = [await store.ring() for store in both]
        assert rung[0] == rung[1]
        claimed = [await store.claim(info.id, [FLOW], limit=3) for store in both]
        assert claimed[0] == claimed[1]
        for claim in claimed[0]:
            play.sagas[claim.record.id] = (claim.record, claim.epoch)
    known = sorted(play.sagas)
    shown = [await tables(store, known, [head]) for store in both]
    assert shown[0] == shown[1]
    assert any(isinstance(answer, dict) for answer in said)
    assert not all(isinstance(answer, dict) for answer in said)
