"""A store's office: plans move by compare-and-set, tokens open nothing, audit lines come in order."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from sagacity.errors import NotFound, StoreError
from sagacity.ids import derived_id, new_id
from sagacity.model.canonical import NULL, JsonText, canonical
from sagacity.model.operating import Plan, PlanItem, PlanStatus, Role, Selection, Token, Verb
from sagacity.model.record import Held, Record
from sagacity.model.unit import Message
from sagacity.store import plans as stored
from sagacity.store import schema
from sagacity.store.base import Store
from sagacity.store.office import ActsFilter, Moved, PlanFilter, TokenFilter
from tests.contract.builders import NOON, Bench, HandClock, asleep, first, following, lock, record

MINUTES = timedelta(minutes=15)


def item(saga: UUID, *, revision: int = 1, refusal: str | None = None) -> PlanItem:
    return PlanItem(
        saga=saga,
        definition="Order",
        key="ORD-1",
        revision=revision,
        refusal=refusal,
        before="stuck in placed",
        after="running in placed",
        effects=("+ Ship.book is called again",),
        unknown=("whether attempt 8 reached the carrier",),
    )


def planned(*items: PlanItem, **fields: Any) -> Plan:
    given: dict[str, Any] = {
        "id": new_id(),
        "verb": Verb.RETRY,
        "args": JsonText('{"n":9007199254740993}'),
        "tier": 1,
        "items": items,
        "hash": "h" * 64,
        "made_by": "local:ana",
        "made_at": NOON,
        "expires_at": NOON + MINUTES,
    }
    return Plan(**given | fields)


def applied(plan: Plan) -> Plan:
    return replace(
        plan, status=PlanStatus.APPLIED, applied_by="local:ana", applied_at=NOON, reason="carrier is back"
    )


def message(plan: Plan, saga: UUID) -> Message:
    return Message(
        id=derived_id("act", plan.id, saga), kind="signal", saga=saga, name="go", data=NULL, arrived_at=NOON
    )


# --- plans ------------------------------------------------------------------------------------------


async def listed(store: Store, **narrowed: Any) -> list[Plan]:
    return list((await store.plans(PlanFilter(**narrowed))).plans)


async def test_a_plan_reads_back_as_it_was_stored(store: Store) -> None:
    plan = planned(
        item(new_id()), item(new_id(), refusal="committed already"), selection=new_id(), newcomers=3
    )
    await store.put_plan(plan)
    assert await store.plan(plan.id) == plan
    assert await store.plan(new_id()) is None
    assert await store.beside("dry").plan(plan.id) is None
    with pytest.raises(StoreError):
        await store.put_plan(plan)


async def test_plans_are_listed_newest_first_and_narrowed(store: Store) -> None:
    plans = [planned(), planned(verb=Verb.SKIP, made_by="local:bob"), planned(), planned(break_glass=True)]
    for plan in plans:
        await store.put_plan(plan)
    await store.move_plan(applied(plans[3]), expect=[PlanStatus.OPEN])
    await store.move_plan(replace(plans[2], status=PlanStatus.REJECTED), expect=[PlanStatus.OPEN])

    async def found(**narrowed: Any) -> list[int]:
        return [plans.index(p) for p in await listed(store, **narrowed) if p in plans]

    ids = [plan.id for plan in await listed(store)]
    assert ids == [plan.id for plan in reversed(plans)]
    assert await found(status=(PlanStatus.OPEN,)) == [1, 0]
    assert await found(verb=Verb.SKIP) == [1]
    assert await found(made_by="local:bob") == [1]
    assert [p.id for p in await listed(store, before=ids[0], limit=2)] == ids[1:3]


async def test_a_page_of_plans_says_where_the_next_begins_and_the_last_says_that_it_is(store: Store) -> None:
    plans = [planned() for _ in range(4)]
    for plan in plans:
        await store.put_plan(plan)
    ids = [plan.id for plan in reversed(plans)]
    first = await store.plans(PlanFilter(limit=2))
    assert ([plan.id for plan in first.plans], first.next) == (ids[:2], ids[1])
    rest = await store.plans(PlanFilter(before=first.next, limit=2))
    assert ([plan.id for plan in rest.plans], rest.next) == (ids[2:], None)
    assert (await store.plans(PlanFilter(before=ids[-1]))).plans == ()


async def test_a_page_of_large_plans_ends_early_and_none_is_left_out(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And whatever is asked for, there is a most."""
    plans = [planned(*(item(new_id()) for _ in range(n))) for n in (1, 30, 1, 1, 40)]
    for plan in plans:
        await store.put_plan(plan)
    one = len(canonical(plans[0].items))
    monkeypatch.setattr(stored, "ITEMS_UPTO", 3 * one)
    pages: list[list[int]] = []
    before = None
    while True:
        page = await store.plans(PlanFilter(before=before))
        pages.append([plans.index(plan) for plan in page.plans])
        before = page.next
        if before is None:
            break
    assert pages == [[4], [3, 2], [1], [0]]
    monkeypatch.setattr(stored, "MOST_PLANS", 1)
    assert len((await store.plans(PlanFilter(limit=1_000_000))).plans) == 1


async def test_plans_for_a_second_person_are_found_until_their_time_runs_out(store: Store) -> None:
    small, top, short = planned(tier=2), planned(tier=3), planned(tier=3, expires_at=NOON)
    for plan in (small, top, short):
        await store.put_plan(plan)
    found = await store.plans(PlanFilter(needs_second=True, unexpired_at=NOON))
    assert [plan.id for plan in found.plans] == [top.id]


async def test_a_plan_is_overtaken_by_the_saga_that_moved(store: Store, desk: Bench) -> None:
    stands, moved = first(), first()
    await desk.send(stands, moved)
    good = planned(item(stands.saga, revision=stands.record.seq), item(new_id(), revision=0))
    bad = planned(item(stands.saga, revision=stands.record.seq), item(moved.saga, revision=7))
    asked = planned(item(moved.saga, revision=7, refusal="no"))
    pause = replace(bad, id=new_id(), verb=Verb.PAUSE)
    assert await store.overtaken([good, bad, asked, pause]) == {bad.id}
    assert await store.overtaken([bad], upto=1) == frozenset()
    assert await store.overtaken([]) == frozenset()


async def test_only_one_of_two_who_apply_at_once_has_the_plan(store: Store, other: Store) -> None:
    plan = planned()
    await store.put_plan(plan)
    took = await asyncio.gather(
        *(at.move_plan(applied(plan), expect=[PlanStatus.OPEN, PlanStatus.APPROVED]) for at in (store, other))
    )
    assert sorted(took) == [False, True]
    assert await store.plan(plan.id) == applied(plan)


async def test_a_plan_moves_only_from_where_it_is_expected_with_its_hash_and_in_time(
    store: Store, clock: HandClock
) -> None:
    plan = planned()
    await store.put_plan(plan)
    assert not await store.move_plan(applied(plan), expect=[PlanStatus.APPROVED])
    assert not await store.move_plan(replace(applied(plan), hash="x"), expect=[PlanStatus.OPEN])
    assert not await store.move_plan(applied(planned()), expect=[PlanStatus.OPEN])
    clock.pass_by(MINUTES)
    assert not await store.move_plan(applied(plan), expect=[PlanStatus.OPEN])
    assert await store.plan(plan.id) == plan
    expired = replace(plan, status=PlanStatus.EXPIRED)
    assert await store.move_plan(expired, expect=[PlanStatus.OPEN], unexpired=False)
    assert await store.plan(plan.id) == expired


async def test_applying_leaves_all_messages_or_none(store: Store, desk: Bench) -> None:
    here, moved = await desk.begin(), await desk.begin()
    plan = planned(item(here.id), item(moved.id), item(new_id(), refusal="not in this store"))
    await store.put_plan(plan)
    await desk.send(following(moved))
    messages = [message(plan, here.id), message(plan, moved.id)]
    stale = await store.apply_plan(applied(plan), messages, expect=[PlanStatus.OPEN])
    assert stale == (Moved(saga=moved.id, planned=1, revision=2),)
    assert await store.plan(plan.id) == plan
    assert await store.messages(here.id) == []

    fresh = planned(item(here.id), item(moved.id, revision=2))
    await store.put_plan(fresh)
    messages = [message(fresh, here.id), message(fresh, moved.id)]
    assert await store.apply_plan(applied(fresh), messages, expect=[PlanStatus.OPEN]) == ()
    assert await store.messages(here.id) == [messages[0]]
    assert await store.plan(fresh.id) == applied(fresh)
    assert await store.apply_plan(applied(fresh), messages, expect=[PlanStatus.OPEN]) is None
    row = await store.saga(here.id)
    assert row is not None
    assert row.arrivals == 1


async def test_a_saga_that_is_gone_makes_a_plan_stale(store: Store, desk: Bench) -> None:
    gone = new_id()
    plan = planned(item(gone))
    await store.put_plan(plan)
    stale = await store.apply_plan(applied(plan), [message(plan, gone)], expect=[PlanStatus.OPEN])
    assert stale == (Moved(saga=gone, planned=1, revision=None),)


async def test_a_message_for_nobody_undoes_the_application(store: Store) -> None:
    plan = planned()
    await store.put_plan(plan)
    with pytest.raises(NotFound):
        await store.apply_plan(applied(plan), [message(plan, new_id())], expect=[PlanStatus.OPEN])
    assert await store.plan(plan.id) == plan


async def test_broken_glass_is_listed_until_somebody_acknowledges_it(store: Store) -> None:
    plan = planned(tier=3)
    await store.put_plan(plan)
    broken = replace(applied(plan), break_glass=True)
    await store.move_plan(broken, expect=[PlanStatus.OPEN])
    assert await listed(store, glass_open=True) == [broken]
    seen = replace(broken, acknowledged_by="oidc:bob")
    assert await store.move_plan(seen, expect=[PlanStatus.APPLIED], unexpired=False)
    assert await listed(store, glass_open=True) == []


# --- selections and tokens --------------------------------------------------------------------------


async def test_a_selection_reads_back_with_its_ids_in_order(store: Store) -> None:
    sagas = tuple(new_id() for _ in range(1_000))
    stored = Selection(
        id=new_id(),
        filter="status:stuck",
        made_by="dev",
        made_at=NOON,
        sagas=sagas[::-1],
        complete=False,
    )
    await store.put_selection(stored)
    assert await store.selection(stored.id) == stored
    assert await store.selection(new_id()) is None
    assert await store.beside("dry").selection(stored.id) is None


def token(**fields: Any) -> Token:
    given: dict[str, Any] = {
        "id": new_id(),
        "name": "deploys",
        "hash": new_id().hex,
        "roles": frozenset({Role.OPERATOR, Role.VIEWER}),
        "definitions": frozenset({"Order"}),
        "kind": "service",
        "made_by": "local:ana",
        "made_at": NOON,
        "expires_at": NOON + timedelta(days=30),
    }
    return Token(**given | fields)


async def test_a_token_is_found_by_its_hash_and_nothing_else(store: Store) -> None:
    wide, narrow = token(definitions=None, kind="person"), token()
    await store.put_token(wide)
    await store.put_token(narrow)
    assert await store.token_by_hash(wide.hash) == wide
    assert await store.token_by_hash(narrow.hash) == narrow
    assert await store.token_by_hash("other") is None
    assert await store.beside("dry").token_by_hash(wide.hash) is None
    assert await store.tokens(TokenFilter()) == [narrow, wide]
    with pytest.raises(StoreError):
        await store.put_token(token(hash=wide.hash))


async def test_tokens_are_listed_in_pages_and_found_by_name_and_id(store: Store) -> None:
    held = [token(name="a"), token(name="b"), token(name="a", revoked_at=NOON), token(name="c")]
    for one in held:
        await store.put_token(one)

    async def found(**narrowed: Any) -> list[int]:
        return [held.index(one) for one in await store.tokens(TokenFilter(**narrowed))]

    assert await found(limit=2) == [3, 2]
    assert await found(before=held[2].id, limit=2) == [1, 0]
    assert await found(name="a") == [2, 0]
    assert await found(id=held[1].id) == [1]
    assert await found(name="d") == []


async def test_a_token_is_revoked_once_and_says_when(store: Store, clock: HandClock) -> None:
    held = token()
    await store.put_token(held)
    clock.pass_by(MINUTES)
    await store.token_used(held.id)
    assert await store.revoke_token(held.id)
    clock.pass_by(MINUTES)
    assert not await store.revoke_token(held.id)
    assert not await store.revoke_token(new_id())
    marked = replace(held, revoked_at=NOON + MINUTES, last_used_at=NOON + MINUTES)
    assert await store.token_by_hash(held.hash) == marked


# --- what operators did -----------------------------------------------------------------------------


async def log_lines(engine: AsyncEngine, saga: UUID, *kinds: str, at: int, seq: int = 10) -> None:
    """Lines of these kinds, one second apart, on a chain of their own."""
    rows = [
        {
            "tenant": "main",
            "lane": "live",
            "chain": 77,
            "position": at * 100 + n,
            "saga": saga,
            "seq": seq + n,
            "kind": kind,
            "schema_version": 1,
            "at": NOON + timedelta(seconds=at + n),
            "data": f'{{"n":{n}}}',
            "digest": b"",
            "hash": b"",
        }
        for n, kind in enumerate(kinds)
    ]
    async with engine.begin() as conn:
        await conn.execute(insert(schema.log), rows)


async def test_audit_lines_come_newest_first_in_pages(store: Store, engine: AsyncEngine) -> None:
    one, two = new_id(), new_id()
    await log_lines(engine, one, "act", "committed", "act_refused", at=0)
    await log_lines(engine, two, "act", at=2)
    lines = await store.acts(ActsFilter())
    assert [(line.saga, line.kind) for line in lines] == [(two, "act"), (one, "act_refused"), (one, "act")]
    paged, before = [], None
    while page := await store.acts(ActsFilter(limit=1, before=before)):
        paged += page
        before = (page[-1].at, page[-1].chain, page[-1].position)
    assert paged == lines
    recent = await store.acts(ActsFilter(since=NOON + timedelta(seconds=1)))
    assert recent == lines[:2]
    assert await store.beside("dry").acts(ActsFilter()) == []


async def test_audit_lines_of_some_sagas_come_by_saga_and_seq(store: Store, engine: AsyncEngine) -> None:
    one, two, three = sorted(new_id() for _ in range(3))
    for n, saga in enumerate((three, two, one)):
        await log_lines(engine, saga, "act", "stepped", "act_refused", at=n * 10)
    found = await store.acts_of([three, one, one, new_id()])
    assert [(line.saga, line.seq) for line in found] == [(one, 10), (one, 12), (three, 10), (three, 12)]


# --- locks ------------------------------------------------------------------------------------------


async def test_the_lock_board_has_the_most_waited_for_first(store: Store, desk: Bench) -> None:
    quiet = await holding(desk, "stock:9")
    await holding(desk, "stock:1")
    first = await holding(desk, "stock:1")
    board = await store.lock_board()
    assert board.complete
    assert [view.object for view in board.locks] == ["stock:1", "stock:1", "stock:9"]
    assert [view.held for view in board.locks] == [True, False, True]
    assert board.locks[1].saga == first.id
    assert board.locks[2].key == quiet.key
    short = await store.lock_board(limit=1)
    assert not short.complete
    assert {view.object for view in short.locks} < {"stock:1", "stock:9"}


async def holding(desk: Bench, object: str) -> Record:
    """A waiting saga that has asked for `object`."""
    began = await desk.begin(record(locks=(Held(object=object),)), admit=(lock(object),))
    await desk.send(asleep(began))
    return began
