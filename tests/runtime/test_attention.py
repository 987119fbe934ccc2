"""The attention page on real stores: each kind of matter is found, told, and gone once it moves."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from sagacity import Refused
from sagacity.decide.attention import Limits
from sagacity.errors import StalePlan, Unavailable
from sagacity.model.canonical import canonical
from sagacity.model.operating import Action, Actor, AttentionGroup, Role, Verb
from sagacity.model.record import Status, WaitsFor
from sagacity.orchestrator import Orchestrator
from sagacity.store.base import Filter
from sagacity.testing import PATIENCE, settled, until
from tests.runtime.conftest import House
from tests.runtime.flows import Ask, Errand, Fill, Slow

ANA = Actor(id="oidc:ana", roles=frozenset({Role.SENIOR}))
AT_ONCE = Limits(
    overdue=timedelta(0), paused=timedelta(0), retrying=timedelta(0), lock=timedelta(0), waiters=1
)


async def kinds(app: Orchestrator, limits: Limits = AT_ONCE) -> dict[str, AttentionGroup]:
    groups = await app.attention(limits)
    assert len({group.fingerprint for group in groups}) == len(groups)
    return {group.kind: group for group in groups}


async def do(app: Orchestrator, verb: Verb, saga: Any, **args: Any) -> None:
    """Plan and apply, and wait until it has come to something."""
    plan = await app.plan(Action(verb=verb, sagas=(saga.id,), args=canonical(args)), ANA)
    await app.apply(plan.id, ANA, reason="a test's reason")

    async def over() -> bool:
        return all(one.state == "done" for one in await app.outcomes(plan.id))

    await until(over)


async def test_stuck_sagas_are_grouped_by_what_went_wrong_and_left_out_once_acknowledged(
    house: House,
) -> None:
    app = await house.open(Errand)
    await house.work()
    stuck = []
    for name, why in (("a", "account 17 is closed"), ("b", "account 18 is closed"), ("c", "no such bank")):
        house.town.meets("porter.send", Refused("no"))
        house.town.meets("vault.refund", Refused(why))
        handle = await app.start(Errand, {"name": name})
        assert (await settled(app, handle.id)).status is Status.STUCK
        stuck.append(handle)
    groups = await app.attention()
    assert [(g.kind, g.count, g.exact) for g in groups] == [
        ("undo_failed", 2, True),
        ("undo_failed", 1, True),
    ]
    assert [item.key for item in groups[0].items] == ["a", "b"]
    assert groups[0].first_seen <= groups[0].last_seen
    assert "account 17 is closed" in groups[0].items[0].detail

    await do(app, Verb.ACK, stuck[2], kind="undo_failed")
    assert [item.key for group in await app.attention() for item in group.items] == ["a", "b"]
    house.town.meets("vault.refund", Refused("no such bank"))
    await do(app, Verb.RETRY, stuck[2])
    await settled(app, stuck[2].id)
    assert sorted(item.key for group in await app.attention() for item in group.items) == ["a", "b", "c"]
    [one] = [group for group in await app.attention(Limits(rows=1))]
    assert (one.count, one.exact) == (1, False)


async def test_what_nobody_takes_up_is_unserved_without_a_worker(house: House) -> None:
    app = await house.open(Fill)
    await app.start(Fill, {"name": "f", "box": "f"})
    assert (await kinds(app, Limits())) == {}
    found = await kinds(app)
    assert found["unserved"].items[0].detail == "no worker runs Fill@1"
    await house.work()
    await settled(app, "f")
    assert await kinds(app) == {}


async def test_paused_retried_and_locked_sagas_are_told_of(house: House) -> None:
    app = await house.open(Ask, Fill, Slow)
    await house.work()
    holder = await app.start(Ask, {"name": "box"})
    assert (await settled(app, holder.id)).waits_for is WaitsFor.SIGNAL
    queued = await app.start(Fill, {"name": "f", "box": "box"})
    assert (await settled(app, queued.id)).waits_for is WaitsFor.LOCK
    house.town.meets("depot.lend", Unavailable("the depot is closed on day 7"))
    slow = await app.start(Slow, {"name": "s"})
    assert (await settled(app, slow.id)).waits_for is WaitsFor.RETRY
    await do(app, Verb.PAUSE, holder)
    assert await kinds(app, Limits()) == {}
    found = await kinds(app)
    assert set(found) == {"paused", "lock", "retrying"}
    assert [item.key for item in found["paused"].items] == ["box"]
    assert [item.key for item in found["lock"].items] == ["f"]
    assert "held by Ask box: an operator paused it (waits for signal: answer)" in found["lock"].what
    assert "closed on day 7" in found["retrying"].items[0].detail
    await do(app, Verb.RESUME, holder)
    assert "paused" not in await kinds(app)


async def test_a_plan_that_needs_a_second_person_is_a_matter_until_it_is_decided(house: House) -> None:
    app = await house.open(Ask)
    await house.work()
    handle = await app.start(Ask, {"name": "a"})
    await settled(app, handle.id)
    plan = await app.plan(Action(verb=Verb.ABANDON, sagas=(handle.id,)), ANA)
    [group] = await app.attention()
    assert (group.kind, group.items[0].plan, group.items[0].key) == ("approval", plan.id, "a")
    await app.reject(plan.id, ANA)
    assert await app.attention() == []


async def test_a_plan_whose_saga_moved_waits_for_nobody(house: House) -> None:
    app = await house.open(Ask)
    await house.work()
    a, b = [await app.start(Ask, {"name": name}) for name in ("a", "b")]
    for one in (a, b):
        await settled(app, one.id)
    both = await app.plan(Action(verb=Verb.ABANDON, sagas=(a.id, b.id)), ANA)
    other = await app.plan(Action(verb=Verb.ABANDON, sagas=(b.id,)), ANA)
    assert {item.plan for group in await app.attention() for item in group.items} == {both.id, other.id}
    await do(app, Verb.PAUSE, a)
    [group] = await app.attention()
    assert [item.plan for item in group.items] == [other.id]
    with pytest.raises(StalePlan):
        await app.apply(both.id, ANA, reason="a test's reason", confirm="2", break_glass=True)


async def test_plans_that_need_nobody_keep_none_that_does_from_sight(house: House) -> None:
    app = await house.open(Ask)
    await house.work()
    handle = await app.start(Ask, {"name": "a"})
    await settled(app, handle.id)
    plan = await app.plan(Action(verb=Verb.ABANDON, sagas=(handle.id,)), ANA, id=UUID(int=1))
    for _ in range(101):
        await app.plan(Action(verb=Verb.PAUSE, sagas=(handle.id,)), ANA)
    [group] = await app.attention()
    assert [item.plan for item in group.items] == [plan.id]


async def test_a_saga_that_was_stuck_and_goes_on_says_no_more_why_it_was(house: House) -> None:
    app = await house.open(Errand)
    await house.work()
    house.town.meets("porter.send", Refused("no van"))
    house.town.meets("vault.refund", Refused("the vault is closed"))
    handle = await app.start(Errand, {"name": "a"})
    stuck = await settled(app, handle.id)
    assert stuck.reason is not None
    assert "the vault is closed" in stuck.reason
    await do(app, Verb.RETRY, handle)
    outcome = await handle.outcome(timeout=PATIENCE)
    assert (outcome.status, outcome.reason) == (Status.ROLLED_BACK, "send_it: no van")
    [told] = await app.list(Filter())
    assert told.reason == outcome.reason


@pytest.mark.postgres
async def test_attention_and_search_go_along_indexes(pg_url: str) -> None:
    from benchmarks.fill import fill
    from sagacity.definition.project import Project

    await fill(pg_url, 3000, kind="measured")
    async with await Orchestrator.open(pg_url, project=Project.of(), accept_loss=True) as app:
        before = await _whole_reads(app)
        await app.attention()
        for query in (
            "status:stuck",
            "waits:lock",
            "paused:yes",
            "key:K-1",
            "due:past",
            "",
            'status:stuck error:"x"',
        ):
            await app.find(query)
        await app.lock_board()
        await app.acts()
        assert await _whole_reads(app) == before


async def _whole_reads(app: Orchestrator) -> dict[str, int]:
    """How often each table that grows was read from end to end, as far as this database has counted."""
    query = text("SELECT pg_stat_force_next_flush()")
    counted = text("SELECT relname, seq_scan FROM pg_stat_user_tables")
    read: Any = app.store._read  # type: ignore[attr-defined]
    await read(lambda conn: conn.execute(query))
    rows = await read(lambda conn: list(conn.execute(counted)))
    grown = ("saga", "log", "inbox", "object", "compensation")
    return {row.relname: row.seq_scan for row in rows if row.relname in grown}
