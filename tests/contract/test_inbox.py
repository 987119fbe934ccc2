"""Messages from outside: stored once, rung once, taken by one."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from sagacity.errors import KeyTaken, NotFound
from sagacity.ids import new_id
from sagacity.model.canonical import JsonText
from sagacity.model.record import Status
from sagacity.model.unit import Message
from sagacity.store.base import Filter, Receipt, Store
from tests.contract.builders import (
    FLOW,
    NOON,
    Bench,
    asleep,
    bench,
    dump,
    first,
    following,
    record,
    signal,
    start_message,
)


async def arrivals(store: Store, saga: object) -> int:
    row = await store.saga(saga)  # type: ignore[arg-type]
    assert row is not None
    return row.arrivals


async def test_a_start_is_stored_and_found_by_its_key(store: Store) -> None:
    start = start_message("order-1")
    assert await store.put([start]) == [Receipt(saga=start.id, new=True)]
    assert await store.find(FLOW, "order-1") == start.id
    assert await store.find(FLOW, "order-2") is None
    assert await store.find("Transfer", "order-1") is None
    assert await store.messages(start.id) == [start]


async def test_every_field_of_a_message_reads_back(store: Store, desk: Bench) -> None:
    saga = await desk.begin()
    message = Message(
        id=new_id(),
        kind="signal",
        saga=saga.id,
        name="carrier.delivered",
        data=JsonText('{"at":"noon","n":0.1,"ü":"\\u0001"}'),
        payload=JsonText("[1]"),
        actor="Zoë",
        arrived_at=NOON + timedelta(microseconds=7),
    )
    await store.put([message])
    assert await store.messages(saga.id) == [message]


async def test_the_same_start_again_is_the_same_saga(store: Store) -> None:
    start = start_message("order-1")
    await store.put([start])
    again = start_message("order-1")
    assert await store.put([again, start]) == [Receipt(saga=start.id, new=False)] * 2
    assert len(await store.sagas(Filter())) == 1


async def test_a_key_with_another_input_is_refused_and_nothing_of_the_call_is_stored(
    store: Store, engine: AsyncEngine
) -> None:
    start = start_message("order-1")
    await store.put([start])
    before = await dump(engine)
    with pytest.raises(KeyTaken) as refused:
        await store.put([start_message("order-2"), start_message("order-1", request_hash="r2")])
    assert (refused.value.definition, refused.value.key, refused.value.saga) == (FLOW, "order-1", start.id)
    assert await dump(engine) == before


async def test_one_key_twice_in_a_call_is_one_saga(store: Store) -> None:
    one, two = start_message("k"), start_message("k")
    first_receipt, second_receipt = await store.put([one, two])
    assert first_receipt.saga == second_receipt.saga
    assert [first_receipt.new, second_receipt.new].count(True) == 1
    assert len(await store.sagas(Filter())) == 1


async def test_one_key_with_two_inputs_in_a_call_is_refused(store: Store, engine: AsyncEngine) -> None:
    before = await dump(engine)
    with pytest.raises(KeyTaken):
        await store.put([start_message("k"), start_message("k", request_hash="r2")])
    assert await dump(engine) == before


async def test_a_message_put_twice_changes_nothing_and_rings_once(store: Store, desk: Bench) -> None:
    saga = await desk.begin()
    message = signal(saga.id)
    assert await store.put([message]) == [Receipt(saga=saga.id, new=True)]
    assert await store.put([replace(message, name="other")]) == [Receipt(saga=saga.id, new=False)]
    assert await store.messages(saga.id) == [message]
    assert await arrivals(store, saga.id) == 1


async def test_a_message_for_nobody_is_refused_and_nothing_of_the_call_is_stored(
    store: Store, engine: AsyncEngine
) -> None:
    before = await dump(engine)
    with pytest.raises(NotFound):
        await store.put([start_message(), signal(new_id())])
    assert await dump(engine) == before


async def test_a_message_may_go_to_a_start_that_nobody_has_looked_at(store: Store) -> None:
    start = start_message()
    await store.put([start])
    assert await store.put([signal(start.id)]) == [Receipt(saga=start.id, new=True)]
    other = start_message()
    await store.put([other, signal(other.id)])
    assert [message.kind for message in await store.messages(other.id)] == ["start", "signal"]


async def test_the_bell_of_such_a_message_is_rung_once_the_saga_is_there(store: Store, desk: Bench) -> None:
    start = start_message()
    await store.put([start])
    await store.put([signal(start.id)])
    assert await store.ring() == 0
    (taken,) = await store.claim_starts(desk.worker, [FLOW], limit=10)
    saga = await desk.begin(record(taken.id, key=str(taken.key)), consumes=(taken.id,))
    assert await arrivals(store, saga.id) == 0
    assert await store.ring() == 1
    assert await arrivals(store, saga.id) == 1
    assert await store.ring() == 0


async def test_put_rings_the_bell_of_each_target_once_per_call(store: Store, desk: Bench) -> None:
    one, two = await desk.begin(), await desk.begin()
    await store.put([signal(one.id), signal(one.id), signal(two.id)])
    assert (await arrivals(store, one.id)) >= 1
    assert (await arrivals(store, two.id)) == 1
    assert await store.ring() == 0


async def test_posts_of_a_unit_are_stored_unrung_and_rung_later(store: Store, desk: Bench) -> None:
    parent = await desk.begin()
    post = replace(signal(parent.id), kind="child")
    await desk.send(first(posts=(post,)))
    assert await store.messages(parent.id) == [post]
    assert await arrivals(store, parent.id) == 0
    assert await store.ring() == 1
    assert await arrivals(store, parent.id) == 1


async def test_a_post_whose_id_is_known_is_ignored(store: Store, desk: Bench) -> None:
    parent = await desk.begin()
    post = signal(parent.id)
    await desk.send(first(posts=(post,)), first(posts=(post,)))
    await desk.send(first(posts=(replace(post, name="other"),)))
    assert await store.messages(parent.id) == [post]


async def test_a_post_whose_key_is_known_is_ignored(store: Store, desk: Bench) -> None:
    start = start_message("child-1")
    await store.put([start])
    again = start_message("child-1")
    await desk.send(first(posts=(again,)))
    assert await store.find(FLOW, "child-1") == start.id
    assert await store.messages(again.id) == []


async def test_ring_goes_in_portions(store: Store, desk: Bench) -> None:
    saga = await desk.begin()
    await desk.send(first(posts=tuple(signal(saga.id) for _ in range(5))))
    assert [await store.ring(limit=2) for _ in range(4)] == [2, 2, 1, 0]


async def test_starts_are_taken_oldest_first_and_by_one_only(store: Store, other: Store, desk: Bench) -> None:
    stranger = await bench(other)
    starts = [start_message() for _ in range(5)]
    await store.put(starts)
    mine = await store.claim_starts(desk.worker, [FLOW], limit=2)
    assert mine == starts[:2]
    theirs = await other.claim_starts(stranger.worker, [FLOW], limit=10)
    assert theirs == starts[2:]
    assert await store.claim_starts(desk.worker, [FLOW], limit=10) == []


async def test_only_starts_of_the_asked_definitions_are_taken(store: Store, desk: Bench) -> None:
    await store.put([start_message(definition="Transfer")])
    assert await store.claim_starts(desk.worker, [FLOW], limit=10) == []
    assert await store.claim_starts(desk.worker, [], limit=10) == []
    assert len(await store.claim_starts(desk.worker, [FLOW, "Transfer"], limit=10)) == 1


async def test_a_start_given_back_can_be_taken_again_but_only_its_taker_gives_it_back(
    store: Store, desk: Bench
) -> None:
    stranger = await bench(store)
    start = start_message()
    await store.put([start])
    await store.claim_starts(desk.worker, [FLOW], limit=10)
    await store.give_back_starts(stranger.worker, [start.id])
    assert await store.claim_starts(stranger.worker, [FLOW], limit=10) == []
    await store.give_back_starts(desk.worker, [start.id])
    assert await store.claim_starts(stranger.worker, [FLOW], limit=10) == [start]


async def test_a_begun_start_is_never_taken_again(store: Store, desk: Bench) -> None:
    start = start_message()
    await store.put([start])
    await store.claim_starts(desk.worker, [FLOW], limit=10)
    await desk.begin(record(start.id, key=str(start.key)), consumes=(start.id,))
    await store.give_back_starts(desk.worker, [start.id])
    assert await store.claim_starts(desk.worker, [FLOW], limit=10) == []
    assert await store.find(FLOW, str(start.key)) == start.id


async def test_a_saga_that_did_not_come_through_the_inbox_has_its_row_there(
    store: Store, desk: Bench
) -> None:
    start = start_message("k")
    await desk.send(first(record(start.id, key="k"), start=start))
    assert await store.messages(start.id) == [start]
    assert await store.claim_starts(desk.worker, [FLOW], limit=10) == []
    assert await store.put([start_message("k")]) == [Receipt(saga=start.id, new=False)]


async def test_mail_stays_unread_until_a_unit_consumes_it_and_its_row_outlives_that(
    store: Store, desk: Bench
) -> None:
    saga = await desk.begin()
    early, late = signal(saga.id, name="early"), signal(saga.id, name="late", at=NOON + timedelta(seconds=1))
    await store.put([late, early])
    loaded = await store.reload(saga.id, desk.worker, 1)
    assert loaded is not None
    assert [message.name for message in loaded.mail] == ["early", "late"]
    moved = following(saga, consumes=(early.id,))
    await desk.send(moved)
    again = await store.reload(saga.id, desk.worker, 1)
    assert again is not None
    assert [message.name for message in again.mail] == ["late"]
    assert [message.name for message in await store.messages(saga.id)] == ["early", "late"]


async def test_a_bell_in_either_order_with_going_to_sleep_is_never_lost(store: Store, desk: Bench) -> None:
    saga = await desk.begin()
    asleep_now = asleep(saga, arrivals=0)
    await desk.send(asleep_now)
    await store.put([signal(saga.id)])
    (claimed,) = await store.claim(desk.worker, [FLOW], limit=10)
    assert claimed.arrivals == 1
    assert claimed.record.status is Status.WAITING
    assert len(claimed.mail) == 1


async def test_many_messages_go_in_one_call(store: Store, desk: Bench) -> None:
    starts = [start_message() for _ in range(1_200)]
    receipts = await store.put(starts)
    assert [receipt.saga for receipt in receipts] == [start.id for start in starts]
    assert all(receipt.new for receipt in receipts)
    taken = [await store.claim_starts(desk.worker, [FLOW], limit=500) for _ in range(4)]
    assert [len(some) for some in taken] == [500, 500, 200, 0]
