"""The office on real stores with a real worker: what was planned is done, what moved is refused."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from sagacity import Refused
from sagacity.cli.show import Scene, screen
from sagacity.errors import (
    Conflict,
    Forbidden,
    InputError,
    NotConfirmed,
    NotFound,
    PlanClosed,
    RefusedAct,
    StalePlan,
)
from sagacity.handle import Handle
from sagacity.ids import new_id
from sagacity.model.canonical import canonical, loaded
from sagacity.model.operating import Action, Actor, ItemOutcome, Plan, PlanStatus, Role, Token, Verb
from sagacity.model.record import Status
from sagacity.orchestrator import Orchestrator
from sagacity.store.office import ActsFilter, PlanFilter
from sagacity.testing import PATIENCE, settled, until
from tests.contract.builders import NOON, HandClock
from tests.runtime.conftest import House
from tests.runtime.flows import Ask, Errand, Fill

ANA = Actor(id="oidc:ana", roles=frozenset({Role.OPERATOR}))
SUE = Actor(id="oidc:sue", roles=frozenset({Role.SENIOR}))
BOB = Actor(id="oidc:bob", roles=frozenset({Role.APPROVER, Role.OPERATOR}))
EVE = Actor(id="oidc:eve", roles=frozenset({Role.VIEWER}))
BOT = Actor(id="token:bot", roles=frozenset({Role.ADMIN}), kind="agent")


def act(verb: Verb, *sagas: Handle | UUID, **args: Any) -> Action:
    ids = tuple(saga if isinstance(saga, UUID) else saga.id for saga in sagas)
    return Action(verb=verb, sagas=ids, args=canonical(args))


async def jammed(house: House, app: Orchestrator, name: str = "a") -> Handle:
    """A saga that is stuck: its compensation gave up."""
    house.town.meets("porter.send", Refused("no"))
    house.town.meets("vault.refund", Refused("the account is closed"))
    handle = await app.start(Errand, {"name": name})
    assert (await settled(app, handle.id)).status is Status.STUCK
    return handle


async def waiting(app: Orchestrator, name: str = "a") -> Handle:
    """A saga that waits for an answer."""
    handle = await app.start(Ask, {"name": name})
    assert (await settled(app, handle.id)).status is Status.WAITING
    return handle


async def became(app: Orchestrator, plan: Plan) -> list[ItemOutcome]:
    """The outcomes of a plan, once none is pending."""

    async def over() -> list[ItemOutcome]:
        found = await app.outcomes(plan.id)
        return found if all(one.state != "pending" for one in found) else []

    return await until(over)


async def test_a_retry_is_planned_shown_applied_and_written_down(house: House) -> None:
    app = await house.open(Errand)
    await house.work()
    handle = await jammed(house, app)
    plan = await app.plan(act(Verb.RETRY, handle), ANA)
    [item] = plan.items
    assert (item.key, item.before, item.after) == ("a", "stuck in paid", "compensating in paid")
    assert item.effects == ("+ Vault.refund makes good for pay_for_it, tried anew",)
    assert (plan.tier, plan.made_by, plan.status) == (1, "oidc:ana", PlanStatus.OPEN)
    assert plan.expires_at - plan.made_at == timedelta(minutes=15)
    assert (await handle.show()).status is Status.STUCK
    assert [one.state for one in await app.outcomes(plan.id)] == ["pending"]

    applied = await app.apply(plan.id, ANA, ticket="OPS-1")
    assert (applied.status, applied.applied_by, applied.ticket) == (PlanStatus.APPLIED, "oidc:ana", "OPS-1")
    assert await became(app, plan) == [
        ItemOutcome(saga=handle.id, state="done", detail="compensating in paid")
    ]
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.ROLLED_BACK
    [line] = await app.acts()
    said = loaded(line.data or canonical(None))
    assert (said["verb"], said["actor"], said["plan"], said["ticket"]) == (
        "retry",
        "oidc:ana",
        str(plan.id),
        "OPS-1",
    )
    assert await app.acts(ActsFilter(since=line.at + timedelta(seconds=1))) == []


async def test_applying_twice_is_applying_once(house: House) -> None:
    app = await house.open(Errand)
    await house.work()
    handle = await jammed(house, app)
    plan = await app.plan(act(Verb.RETRY, handle, handle), ANA)
    assert len(plan.items) == 1
    first = await app.apply(plan.id, ANA)
    assert await app.apply(plan.id, ANA) == first
    await became(app, plan)
    assert await app.apply(plan.id, ANA) == first
    assert len(await app.acts()) == 1
    with pytest.raises(PlanClosed, match="applied by oidc:ana"):
        await app.apply(plan.id, SUE)


async def test_a_plan_whose_saga_moved_is_refused_and_says_what_moved(house: House) -> None:
    app = await house.open(Ask)
    await house.work()
    handle = await waiting(app)
    stale = await app.plan(act(Verb.CANCEL, handle), ANA)
    fresh = await app.plan(act(Verb.PAUSE, handle), ANA)
    await app.apply(fresh.id, ANA)
    await became(app, fresh)
    revision = (await handle.show()).revision
    stood = rf"stood at revision {stale.items[0].revision} \(waiting in lent\); it is at {revision}, waiting"
    with pytest.raises(StalePlan, match=rf"saga {handle.id} \(a\) {stood}") as refused:
        await app.apply(stale.id, ANA, reason="the customer called")
    assert len(refused.value.moved) == 1
    assert len(await app.acts()) == 1
    assert (await app.plan_of(stale.id)).status is PlanStatus.OPEN


async def test_the_worker_looks_again_and_refuses_in_the_log(house: House) -> None:
    app = await house.open(Ask)
    first = await house.work()
    handle = await waiting(app)
    await first.stop()
    pause = await app.plan(act(Verb.PAUSE, handle), ANA)
    cancel = await app.plan(act(Verb.CANCEL, handle), ANA)
    await app.apply(pause.id, ANA)
    await app.apply(cancel.id, ANA, reason="both at once")
    await house.work()
    [paused] = await became(app, pause)
    [refused] = await became(app, cancel)
    assert (paused.state, refused.state) == ("done", "refused")
    assert "it moved since the plan" in (refused.detail or "")
    assert [line.kind for line in await app.acts()] == ["act_refused", "act"]
    view = await handle.show()
    assert view.status is Status.WAITING


# --- what is asked for ----------------------------------------------------------------------------------


async def test_tier_2_asks_for_a_reason_of_eight_characters(house: House) -> None:
    app = await house.open(Ask)
    await house.work()
    handle = await waiting(app)
    plan = await app.plan(act(Verb.CANCEL, handle), ANA)
    for reason in (None, "", "        too  ", "seven c"):
        with pytest.raises(NotConfirmed) as asked:
            await app.apply(plan.id, ANA, reason=reason)
        assert asked.value.missing == ("reason",)
    with pytest.raises(InputError):
        await app.apply(plan.id, ANA, reason="NUL\x00 is not stored")
    assert (await app.apply(plan.id, ANA, reason=" it is enough ")).reason == "it is enough"
    await handle.outcome(timeout=PATIENCE)


async def test_tier_3_asks_for_all_at_once_and_then_for_a_second_person(house: House) -> None:
    app = await house.open(Errand)
    await house.work()
    handle = await jammed(house, app)
    plan = await app.plan(act(Verb.ABANDON, handle), SUE)
    assert plan.tier == 3
    with pytest.raises(NotConfirmed, match="'a', typed as confirmation") as asked:
        await app.apply(plan.id, SUE)
    assert asked.value.missing == ("reason", "confirmation", "approval")
    said: dict[str, Any] = {"reason": "settled by hand", "confirm": "a"}
    for nobody, why in ((SUE, "somebody else must approve"), (EVE, "role approver"), (BOT, "only a person")):
        with pytest.raises(Forbidden, match=why):
            await app.approve(plan.id, nobody)
    with pytest.raises(Conflict, match="not what plan"):
        await app.approve(plan.id, BOB, hash="what I saw")
    with pytest.raises(NotConfirmed) as asked:
        await app.apply(plan.id, SUE, **said)
    assert asked.value.missing == ("approval",)
    approved = await app.approve(plan.id, BOB, hash=plan.hash)
    assert (approved.status, approved.approved_by) == (PlanStatus.APPROVED, "oidc:bob")
    assert await app.approve(plan.id, BOB) == approved
    with pytest.raises(Forbidden, match="role senior"):
        await app.apply(plan.id, ANA, **said)
    applied = await app.apply(plan.id, SUE, **said)
    assert (applied.approved_by, applied.break_glass) == ("oidc:bob", False)
    await became(app, plan)
    assert (await handle.show()).status is Status.ABANDONED


def issued(name: str, by: str) -> Token:
    """A person's token, as `by` issued it."""
    return Token(
        id=new_id(),
        name=name,
        hash=new_id().hex,
        roles=frozenset({Role.ADMIN}),
        definitions=None,
        kind="person",
        made_by=by,
        made_at=NOON,
        expires_at=NOON + timedelta(days=3_000),
    )


def as_admin(id: str) -> Actor:
    return Actor(id=id, roles=frozenset({Role.ADMIN}))


@pytest.mark.parametrize(
    ("maker", "second", "who"),
    [
        ("oidc:sue", "token:sues", "oidc:sue"),
        ("token:sues", "oidc:sue", "oidc:sue"),
        ("token:sues", "token:other", "oidc:sue"),
        ("token:of-a-token", "oidc:sue", "oidc:sue"),
        ("oidc:bob", "token:sues", None),
        ("token:bobs", "token:sues", None),
        ("token:handed-1", "token:handed-2", None),
    ],
)
async def test_who_has_two_identities_is_not_a_second_person(
    house: House, maker: str, second: str, who: str | None
) -> None:
    """Who issued a token has seen it; the command line of the store's machine hands them out."""
    app = await house.open(Errand)
    await house.work()
    for name, by in (
        *(("sues", "oidc:sue"), ("other", "oidc:sue"), ("bobs", "oidc:bob"), ("of-a-token", "token:sues")),
        *(("handed-1", "local:root"), ("handed-2", "local:root")),
    ):
        await app.store.put_token(issued(name, by))
    plan = await app.plan(act(Verb.ABANDON, await jammed(house, app)), as_admin(maker))
    if who is None:
        assert (await app.approve(plan.id, as_admin(second))).approved_by == second
        return
    with pytest.raises(Forbidden, match=f"{second} cannot approve plan .*: {who} may be behind both"):
        await app.approve(plan.id, as_admin(second))
    await app.approve(plan.id, BOB)
    other = as_admin("token:bobs")
    with pytest.raises(Forbidden, match="oidc:bob may be behind both"):
        await app.apply(plan.id, other, reason="the case is closed", confirm="a")
    again = await app.plan(act(Verb.ABANDON, plan.items[0].saga), as_admin(maker))
    await app.apply(again.id, as_admin(maker), reason="the case is closed", confirm="a", break_glass=True)
    with pytest.raises(Forbidden, match=f"{second} cannot acknowledge plan .*: {who} may be behind both"):
        await app.acknowledge(again.id, as_admin(second))


async def test_a_rejected_plan_is_closed_and_its_maker_may_close_it_too(house: House) -> None:
    app = await house.open(Errand)
    await house.work()
    handle = await jammed(house, app)
    mine, other = [await app.plan(act(Verb.ABANDON, handle), SUE) for _ in range(2)]
    assert (await app.reject(mine.id, SUE)).status is PlanStatus.REJECTED
    assert (await app.reject(other.id, BOB)).rejected_by == "oidc:bob"
    with pytest.raises(PlanClosed, match="rejected by oidc:bob"):
        await app.approve(other.id, BOB)
    with pytest.raises(PlanClosed, match="rejected by oidc:sue"):
        await app.apply(mine.id, SUE, reason="settled by hand", confirm="a", break_glass=True)


async def test_broken_glass_stays_open_until_somebody_else_has_looked(house: House) -> None:
    app = await house.open(Errand)
    await house.work()
    handle = await jammed(house, app)
    plan = await app.plan(act(Verb.ABANDON, handle), SUE)
    said: dict[str, Any] = {"reason": "nobody is awake", "confirm": "a", "break_glass": True}
    with pytest.raises(Forbidden, match="only a person"):
        await app.apply(plan.id, BOT, **said)
    assert (await app.apply(plan.id, SUE, **said)).break_glass
    await became(app, plan)
    groups = await app.attention()
    assert [(group.kind, group.items[0].plan) for group in groups] == [("break_glass", plan.id)]
    with pytest.raises(Forbidden, match="somebody else must look"):
        await app.acknowledge(plan.id, SUE)
    row = await app.store.saga(handle.id)
    assert row is not None
    assert [broken.plan for broken in row.record.glass] == [plan.id]
    assert (await app.acknowledge(plan.id, BOB)).acknowledged_by == "oidc:bob"
    assert await app.attention() == []
    assert (await app.acknowledge(plan.id, BOB)).acknowledged_by == "oidc:bob"
    await house.work()

    async def mended() -> bool:
        now = await app.store.saga(handle.id)
        return now is not None and not now.record.glass

    assert await until(mended)
    assert [one.state for one in await app.outcomes(plan.id)] == ["done"], "that it was looked at is no item"


async def test_roles_and_their_definitions_are_asked_for_here(house: House) -> None:
    app = await house.open(Ask, Errand)
    await house.work()
    handle = await waiting(app)
    narrow = Actor(id="token:n", roles=frozenset({Role.OPERATOR}), definitions=frozenset({"Errand"}))
    for nobody in (EVE, narrow):
        with pytest.raises(Forbidden):
            await app.plan(act(Verb.PAUSE, handle), nobody)
        plan = await app.plan(act(Verb.PAUSE, handle), ANA)
        with pytest.raises(Forbidden):
            await app.apply(plan.id, nobody)
    with pytest.raises(Forbidden):
        await app.select("type:Ask", EVE)
    assert (await app.select("type:Ask,Errand", narrow)).sagas == ()
    assert (await app.may(Verb.PAUSE, "a", narrow)).refusal == "token:n has not the role operator for Ask"
    assert (await app.may(Verb.PAUSE, "a", ANA)).refusal is None
    assert (await app.may(Verb.RESUME, "a", ANA)).refusal == "it is not paused"
    assert await app.acts() == []


async def test_a_plan_expires_by_the_stores_clock(house: House) -> None:
    clock = HandClock()
    app = await house.open(Ask, clock=clock)
    handle = await app.start(Ask, {"name": "a"})
    plan = await app.plan(act(Verb.CANCEL, handle), ANA)
    clock.pass_by(timedelta(minutes=14, seconds=59))
    assert (await app.plan_of(plan.id)).status is PlanStatus.OPEN
    clock.pass_by(timedelta(seconds=1))
    assert (await app.plan_of(plan.id)).status is PlanStatus.EXPIRED
    assert [one.status for one in (await app.plans(PlanFilter(verb=Verb.CANCEL))).plans] == [
        PlanStatus.EXPIRED
    ]
    with pytest.raises(PlanClosed, match="expired at"):
        await app.apply(plan.id, ANA, reason="a minute late")
    assert [m.kind for m in await app.store.messages(handle.id)] == ["start"]


# --- what a plan names ----------------------------------------------------------------------------------


async def test_a_saga_that_has_not_begun_takes_a_cancel_and_a_signal_only(house: House) -> None:
    app = await house.open(Ask)
    handle, other = [await app.start(Ask, {"name": name}) for name in "ab"]
    pause = await app.plan(act(Verb.PAUSE, handle), ANA)
    assert pause.items[0].refusal == "it cannot pause before a worker has looked at it"
    with pytest.raises(RefusedAct, match="can do nothing"):
        await app.apply(pause.id, ANA)
    unnamed = await app.plan(act(Verb.SIGNAL, handle, data={"count": 3}), ANA)
    assert unnamed.items[0].refusal == "say which signal: `name`"
    cancel = await app.plan(act(Verb.CANCEL, handle), ANA)
    signal = await app.plan(act(Verb.SIGNAL, other, name="answer", data={"count": 3}), ANA)
    await app.apply(cancel.id, ANA, reason="not wanted any more")
    await app.apply(signal.id, ANA)
    await house.work()
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.ROLLED_BACK
    assert (await other.outcome(timeout=PATIENCE)).status is Status.COMMITTED
    assert [one.state for one in (*await became(app, cancel), *await became(app, signal))] == ["done", "done"]


async def test_acts_on_sagas_that_have_not_begun_are_lines_of_their_logs_too(house: House) -> None:
    """A bulk of them, and a signal that lies there until it is awaited."""
    app = await house.open(Ask)
    many = [await app.start(Ask, {"name": f"m{n}"}) for n in range(22)]
    told = await app.start(Ask, {"name": "told"})
    bulk = await app.plan(act(Verb.CANCEL, *many), SUE)
    signal = await app.plan(act(Verb.SIGNAL, told, name="answer", data={"count": 3}), ANA)
    await app.approve(bulk.id, BOB)
    await app.apply(bulk.id, SUE, reason="not wanted any more", ticket="OPS-3", confirm="22")
    await app.apply(signal.id, ANA, reason="he called back")
    await house.work()
    assert {one.state for one in (*await became(app, bulk), *await became(app, signal))} == {"done"}
    assert (await told.outcome(timeout=PATIENCE)).status is Status.COMMITTED
    for handle in many:
        assert (await handle.outcome(timeout=PATIENCE)).status is Status.ROLLED_BACK
    lines = await app.acts(ActsFilter(limit=100))
    said = {line.saga: loaded(line.data or canonical(None)) for line in lines if line.kind == "act"}
    assert set(said) == {told.id, *(handle.id for handle in many)}
    heard = said.pop(told.id)
    assert (heard["verb"], heard["actor"], heard["plan"]) == ("signal", "oidc:ana", str(signal.id))
    assert (heard["reason"], heard["args"]) == ("he called back", {"name": "answer", "data": {"count": 3}})
    assert (heard["before"], heard["after"]) == ("running in lent", "running in heard")
    for one in said.values():
        assert (one["verb"], one["actor"], one["approver"]) == ("cancel", "oidc:sue", "oidc:bob")
        assert (one["plan"], one["ticket"]) == (str(bulk.id), "OPS-3")
        assert one["reason"] == "not wanted any more"


async def test_what_cannot_be_is_shown_and_left_alone(house: House) -> None:
    app = await house.open(Errand, Fill)
    await house.work()
    handle = await jammed(house, app)
    done = await app.start(Fill, {"name": "f", "box": "f"})
    await done.outcome(timeout=PATIENCE)
    plan = await app.plan(act(Verb.RETRY, handle, done), ANA)
    assert [item.refusal for item in plan.items] == [None, "nothing to retry: it is committed"]
    assert [item.saga for item in plan.touches] == [handle.id]
    await app.apply(plan.id, ANA)
    assert [one.state for one in await became(app, plan)] == ["done", "refused"]
    assert [line.saga for line in await app.acts()] == [handle.id]


async def test_unknown_sagas_selections_plans_and_arguments_are_refused(house: House) -> None:
    app = await house.open(Ask)
    nowhere = new_id()
    with pytest.raises(NotFound, match=f"no saga {nowhere}"):
        await app.plan(act(Verb.PAUSE, nowhere), ANA)
    with pytest.raises(NotFound, match="no selection"):
        await app.plan(Action(verb=Verb.PAUSE, selection=nowhere), ANA)
    for call in (
        app.plan_of(nowhere),
        app.apply(nowhere, ANA),
        app.outcomes(nowhere),
        app.approve(nowhere, BOB),
    ):
        with pytest.raises(NotFound, match="no plan"):
            await call
    with pytest.raises(InputError, match="takes no 'to'"):
        await app.plan(act(Verb.PAUSE, nowhere, to="paid"), ANA)
    with pytest.raises(InputError, match="name sagas"):
        await app.plan(Action(verb=Verb.PAUSE), ANA)


async def test_a_selection_stays_what_it_was_and_newcomers_are_only_counted(house: House) -> None:
    app = await house.open(Ask)
    await house.work()
    for name in "abc":
        await waiting(app, name)
    chosen = await app.select("type:Ask waits:signal", ANA)
    assert (len(chosen.sagas), chosen.complete) == (3, True)
    late = await waiting(app, "late")
    assert [saga.id for saga in await app.newcomers(chosen.id, ANA)] == [late.id]
    plan = await app.plan(Action(verb=Verb.PAUSE, selection=chosen.id), ANA)
    assert (plan.newcomers, [item.saga for item in plan.items]) == (1, [*chosen.sagas])
    await app.apply(plan.id, ANA)
    await became(app, plan)
    assert {line.saga for line in await app.acts()} == set(chosen.sagas)
    assert [saga.id for saga in await app.find("type:Ask paused:no")] == [late.id]


async def test_a_bulk_of_more_than_20_counts_one_tier_higher(house: House) -> None:
    app = await house.open(Ask)
    await house.work()
    handles = [await waiting(app, f"n{n}") for n in range(21)]
    assert (await app.plan(act(Verb.PAUSE, *handles[:20]), ANA)).tier == 1
    assert (await app.plan(act(Verb.PAUSE, *handles), ANA)).tier == 2
    plan = await app.plan(act(Verb.CANCEL, *handles), ANA)
    assert plan.tier == 3
    await app.approve(plan.id, BOB)
    with pytest.raises(NotConfirmed, match="'21', typed") as asked:
        await app.apply(plan.id, SUE, reason="all of them", confirm="a")
    assert asked.value.confirmation == "21"
    await app.apply(plan.id, SUE, reason="all of them", confirm="21")
    assert {one.state for one in await became(app, plan)} == {"done"}


async def test_a_rollback_is_planned_by_its_preview_and_done_by_a_linked_saga(house: House) -> None:
    app = await house.open(Errand)
    await house.work()
    handle = await app.start(Errand, {"name": "a"})
    await handle.outcome(timeout=PATIENCE)
    plan = await app.plan(act(Verb.ROLLBACK, handle), SUE)
    [item] = plan.items
    assert item.after == "committed; a new saga, linked to it, rolls it back"
    assert [effect.split(":")[0] for effect in item.effects] == [
        "+ send_it",
        "+ pay_for_it",
        "+ lend_it",
        "+ box",
    ]
    await app.approve(plan.id, BOB)
    await app.apply(plan.id, SUE, reason="it was a mistake", confirm="a")

    async def undone() -> bool:
        by = (await handle.show()).rolled_back_by
        return by is not None and (await app.show(by)).status is Status.COMMITTED

    await until(undone)
    assert [one.state for one in await became(app, plan)] == ["done"]
    again = await app.plan(act(Verb.ROLLBACK, handle), SUE)
    assert "rolled back already" in (again.items[0].refusal or "")


# --- why it waits ---------------------------------------------------------------------------------------


async def test_the_chain_of_a_lock_ends_at_what_its_last_holder_waits_for(house: House) -> None:
    app = await house.open(Ask, Fill)
    await house.work()
    holder = await waiting(app, "box-1")
    queued = await app.start(Fill, {"name": "f", "box": "box-1"})
    await settled(app, queued.id)
    chain = await app.waits_for(queued.id)
    assert [(link.key, link.object) for link in chain] == [("f", None), ("box-1", "box:box-1")]
    assert chain[0].text == "queues for box:box-1"
    assert chain[1].text == "waits for signal: answer"
    scene = Scene(view=await queued.show(), history=(), queues=(), now=await app.store.now(), chain=chain)
    assert "box:box-1 is held by Ask box-1: waits for signal: answer" in screen(scene)
    plan = await app.plan(act(Verb.CANCEL, holder), ANA)
    assert plan.items[0].locks == ("box:box-1 is freed once it is back; Fill f has it next",)
    with pytest.raises(NotFound):
        await app.waits_for(new_id())
    board = await app.lock_board()
    assert [(view.key, view.held) for view in board.locks] == [("box-1", True), ("f", False)]
