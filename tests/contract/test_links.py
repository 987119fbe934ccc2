"""The log as `verify` and anchors read it: the same lines in fewer words, on both databases."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sagacity.chain import ChainCheck, Link, link_of
from sagacity.ids import new_id
from sagacity.model.record import Effect, EffectStatus
from sagacity.store.base import Store
from tests.contract.builders import Bench, HandClock, first, following, signal


async def links(store: Store, chain: int, *, after: int, upto: int) -> list[Link]:
    pages: list[Sequence[Link]] = [page async for page in store.chain_links(chain, after=after, upto=upto)]
    return [line for page in pages for line in page]


async def test_lines_are_told_to_a_chain_as_their_rows_say(
    store: Store, desk: Bench, clock: HandClock
) -> None:
    saga = await desk.begin()
    for microseconds in (1, 999_999, 10**12 + 7):
        clock.pass_by(timedelta(microseconds=microseconds))
        unit = following(saga, change={"updated_at": clock.now()})
        await desk.send(unit)
        saga = unit.record
    rows = [row async for row in store.chain_rows(desk.head.id, upto=desk.head.position)]
    assert await links(store, desk.head.id, after=0, upto=desk.head.position) == [
        link_of(row) for row in rows
    ]
    check = ChainCheck(desk.head.id, tenant=store.tenant, lane=store.lane)
    assert [check.follow(row) for row in rows] == [None] * 4


async def test_a_part_of_a_chain_is_followed_from_where_another_ended(store: Store, desk: Bench) -> None:
    for _ in range(3):
        await desk.send(*(first() for _ in range(700)))
    parts = [await links(store, desk.head.id, after=after, upto=after + 700) for after in (0, 700, 1_400)]
    at, hash = 0, b""
    for part in parts:
        check = ChainCheck(desk.head.id, tenant=store.tenant, lane=store.lane, position=at, hash=hash)
        assert {check.follow_link(line) for line in part} == {None}
        at, hash = check.position, check.hash
    assert (at, hash) == (desk.head.position, desk.head.hash)
    assert await links(store, desk.head.id, after=desk.head.position, upto=9_999) == []


async def test_compensation_rows_are_streamed_by_saga_and_number(store: Store, desk: Bench) -> None:
    def effect(n: int) -> Effect:
        return Effect(n=n, step=f"s{n}", visit=1, key=f"k{n}", undo="Undo", status=EffectStatus.LANDED)

    units = [first(effects=tuple(effect(n) for n in (2, 1, 3))) for _ in range(400)]
    await desk.send(*units)
    found = [(saga, row.n) async for saga, row in store.effects_whole()]
    assert found == sorted((unit.saga, n) for unit in units for n in (1, 2, 3))


async def test_messages_that_are_there_are_told_from_those_that_are_not(store: Store, desk: Bench) -> None:
    saga = await desk.begin()
    mail = [signal(saga.id) for _ in range(1_200)]
    await store.put(mail)
    strangers = [new_id() for _ in range(3)]
    ids: list[UUID] = [*strangers, *(message.id for message in mail)]
    assert await store.known_messages(ids) == {message.id for message in mail}
    assert await store.known_messages([]) == frozenset()
