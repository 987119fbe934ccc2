"""Operators' acts on sagas that workers drive, on both stores; afterwards all invariants are judged."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel

from sagacity import Saga, Stage, State, exclusive, override, step
from sagacity.decide.orders import ordered
from sagacity.errors import Refused, Unavailable
from sagacity.ids import new_id
from sagacity.model.canonical import loaded
from sagacity.model.operating import Verb
from sagacity.model.record import Lock, Record, Status, WaitsFor
from sagacity.model.unit import Message
from sagacity.testing import PATIENCE, ManualClock, settled, until
from tests.runtime.conftest import House
from tests.runtime.flows import AT_ONCE, Ask, Box, Errand, Fill, Onward, Slow
from tests.runtime.outside import BringBack, Depot, Receipt

PLAN = UUID(int=12)


class Ways(Saga, version=1, key="name"):
    """One effect, a box, and a way past both that only an operator takes."""

    class Input(BaseModel):
        name: str

    asked = State(initial=True)
    lent = State()
    done = State(final=True)
    lend = asked.to(lent)
    fill = lent.to(done)
    by_hand = override(asked, lent, why="they brought it themselves")

    def participants(self, asked: Input) -> Iterable[Lock]:
        yield exclusive("box", asked.name)

    @step(lend, undo=BringBack, retry=AT_ONCE)
    async def lend_it(self, asked: Input, depot: Depot) -> Receipt:
        return await depot.lend(asked.name)

    @step(fill)
    def fill_box(self, asked: Input, stage: Stage) -> None:
        stage(Box, asked.name).note("filled")


async def act(house: House, saga: UUID, verb: str, args: Any = None, **told: Any) -> UUID:
    """Leave an operator's act in the inbox, as an applied plan does; returns its id."""
    message = Message(
        id=new_id(),
        kind="act",
        saga=saga,
        name=verb,
        data=ordered(Verb(verb), args, plan=PLAN, **told),
        actor="local:ana",
        arrived_at=(await house.app.show(str(saga))).updated_at,
    )
    await house.app.store.put([message])
    await house.app.store.hint()
    await until(lambda: answered(house, saga, message.id))
    return message.id


async def answered(house: House, saga: UUID, message: UUID) -> bool:
    lines = [*await house.lines(saga, "act"), *await house.lines(saga, "act_refused")]
    return any(line["message"] == str(message) for line in lines)


async def refusals(house: House, saga: UUID) -> list[str]:
    return [line["why"] for line in await house.lines(saga, "act_refused")]


async def record(house: House, saga: UUID) -> Record:
    row = await house.app.store.saga(saga)
    assert row is not None
    return row.record


async def stuck_undo(house: House) -> UUID:
    """An errand whose way back is stuck at the vault."""
    house.town.meets("porter.send", Refused("no"))
    house.town.meets("vault.refund", Refused("the account is closed"))
    handle = await house.app.start(Errand, {"name": "a"})
    assert (await settled(house.app, handle.id)).status is Status.STUCK
    return handle.id


async def test_a_paused_saga_sleeps_through_its_deadline_and_meets_it_when_it_is_resumed(
    house: House,
) -> None:
    clock = ManualClock()
    app = await house.open(Ask, clock=clock)
    app.worker = await house.work(lease=timedelta(days=365))
    handle = await app.start(Ask, {"name": "a"})
    view = await settled(app, handle.id)
    await act(house, handle.id, "pause", revision=view.revision, reason="look at it first")
    row = await app.store.saga(handle.id)
    assert row is not None
    assert (row.record.paused, row.record.due_at, row.owner) == (True, None, None)
    clock.advance(timedelta(days=4))
    view = await settled(app, handle.id)
    assert (view.status, view.allowed[0]) == (Status.WAITING, "resume")
    await act(house, handle.id, "resume", revision=view.revision)
    await until(lambda: over(house, handle.id))
    assert (await record(house, handle.id)).status is Status.ROLLED_BACK


async def over(house: House, saga: UUID) -> bool:
    return (await record(house, saga)).status.final


async def test_a_signal_for_a_paused_saga_is_kept_until_it_is_resumed(house: House) -> None:
    app = await house.open(Ask)
    await house.work()
    handle = await app.start(Ask, {"name": "a"})
    await settled(app, handle.id)
    await act(house, handle.id, "pause")
    await app.signal(handle.id, "answer", {"count": 3})
    await settled(app, handle.id)
    assert (await record(house, handle.id)).state == ("lent",)
    await act(house, handle.id, "resume")
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.COMMITTED


async def test_a_cancel_for_a_paused_saga_is_noted_and_done_when_it_is_resumed(house: House) -> None:
    app = await house.open(Ask)
    await house.work()
    handle = await app.start(Ask, {"name": "a"})
    await settled(app, handle.id)
    await act(house, handle.id, "pause")
    await handle.cancel(reason="not wanted")
    await settled(app, handle.id)
    assert (await record(house, handle.id)).cancelling == "not wanted"
    assert house.town.count("depot.take_back") == 0
    await act(house, handle.id, "resume")
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.ROLLED_BACK


async def test_a_pause_that_names_no_revision_stops_a_saga_at_work_once_its_call_is_answered(
    house: House,
) -> None:
    app = await house.open(Errand)
    gate = house.town.gate("vault.charge")
    await house.work()
    handle = await app.start(Errand, {"name": "a"})
    await until(lambda: house.town.count("vault.charge"))
    message = Message(
        id=new_id(),
        kind="act",
        saga=handle.id,
        name="pause",
        data=ordered(Verb.PAUSE),
        actor="local:ana",
        arrived_at=(await handle.show()).updated_at,
    )
    await app.store.put([message])
    gate.set()
    await until(lambda: paused(house, handle.id))
    view = await settled(app, handle.id)
    assert view.state == ("paid",)
    assert house.town.count("porter.send") == 0
    await act(house, handle.id, "resume")
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.COMMITTED


async def paused(house: House, saga: UUID) -> bool:
    return (await record(house, saga)).paused


async def test_a_paused_saga_outlives_its_worker_and_is_taken_by_nobody(house: House) -> None:
    app = await house.open(Ask)
    await house.work(sweep=timedelta(milliseconds=20))
    handle = await app.start(Ask, {"name": "a"})
    await settled(app, handle.id)
    await act(house, handle.id, "pause")
    before = await record(house, handle.id)
    await house.work(sweep=timedelta(milliseconds=20))
    waiting = await app.start(Ask, {"name": "b"})
    await settled(app, waiting.id)
    assert await record(house, handle.id) == before
    await act(house, handle.id, "abandon", reason="nobody waits for it")


async def test_an_act_is_refused_where_the_saga_moved_since_the_plan(house: House) -> None:
    app = await house.open(Ask)
    await house.work()
    handle = await app.start(Ask, {"name": "a"})
    view = await settled(app, handle.id)
    await act(house, handle.id, "pause", revision=view.revision - 1)
    [why] = await refusals(house, handle.id)
    assert why == f"it moved since the plan (planned at revision {view.revision - 1}, now {view.revision})"
    assert not (await record(house, handle.id)).paused


async def test_a_retry_by_plan_and_its_whole_story(house: House) -> None:
    await house.open(Errand)
    await house.work()
    saga = await stuck_undo(house)
    revision = (await record(house, saga)).revision
    message = await act(
        house,
        saga,
        "retry",
        revision=revision,
        reason="it was opened again",
        approver="oidc:bo",
        ticket="T-1",
    )
    await until(lambda: over(house, saga))
    [line] = await house.lines(saga, "act")
    assert (line["actor"], line["approver"], line["ticket"], line["plan"]) == (
        *("local:ana", "oidc:bo"),
        *("T-1", str(PLAN)),
    )
    assert (line["before"], line["after"], line["message"]) == (
        *("stuck in paid", "compensating in paid"),
        str(message),
    )
    assert house.town.standing == []


async def test_a_skipped_step_goes_on_with_what_the_operator_says(house: House) -> None:
    app = await house.open(Slow)
    await house.work()
    house.town.meets("depot.lend", Unavailable("busy"))
    handle = await app.start(Slow, {"name": "a"})
    view = await settled(app, handle.id)
    assert view.waits_for is WaitsFor.RETRY
    said = {"landed": "no", "result": {"number": "by hand"}}
    await act(house, handle.id, "skip", said, revision=view.revision)
    outcome = await handle.outcome(timeout=PATIENCE)
    assert outcome.status is Status.COMMITTED
    assert loaded(outcome.results["lend_it"])["number"] == "by hand"
    assert house.town.standing == ["porter.send(a)"]


async def test_a_compensation_that_gave_up_is_skipped_and_the_rest_is_undone(house: House) -> None:
    await house.open(Errand)
    await house.work()
    saga = await stuck_undo(house)
    await act(house, saga, "skip", {"landed": "yes"}, reason="refunded by phone")
    await until(lambda: over(house, saga))
    assert (await record(house, saga)).status is Status.ROLLED_BACK
    assert house.town.standing == ["vault.charge(a)"]  # what the operator said is theirs to answer for


async def test_a_force_along_a_declared_edge_goes_on_from_there(house: House) -> None:
    app = await house.open(Ways)
    await house.work()
    house.town.meets("depot.lend", *[Unavailable("busy")] * 3)
    gate = house.town.gate("depot.lend")
    handle = await app.start(Ways, {"name": "a"})
    await until(lambda: house.town.count("depot.lend"))
    await app.store.put([await pause_of(house, handle.id)])
    gate.set()
    await until(lambda: paused(house, handle.id))
    await settled(app, handle.id)
    await act(house, handle.id, "force", {"to": "lent", "landed": "no"}, approver="oidc:bo")
    await act(house, handle.id, "resume")
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.COMMITTED
    assert (await app.store.object("box:a")).version == 1
    [line] = await house.lines(handle.id, "forced")
    assert (line["edge"], line["state"]) == ("by_hand", ["lent"])


async def pause_of(house: House, saga: UUID) -> Message:
    at = (await house.app.show(str(saga))).updated_at
    data = ordered(Verb.PAUSE)
    return Message(
        id=new_id(), kind="act", saga=saga, name="pause", data=data, actor="local:ana", arrived_at=at
    )


async def test_an_abandoned_saga_frees_its_locks_and_whoever_queues_goes_on(house: House) -> None:
    app = await house.open(Errand, Fill)
    await house.work()
    saga = await stuck_undo(house)
    second = await app.start(Fill, {"name": "b", "box": "a"})
    await settled(app, second.id)
    await act(house, saga, "abandon", reason="the customer keeps it")
    assert (await second.outcome(timeout=PATIENCE)).status is Status.COMMITTED
    abandoned = await record(house, saga)
    assert (abandoned.status, abandoned.reason) == (Status.ABANDONED, "the customer keeps it")
    [line] = await house.lines(saga, "abandoned")
    assert (line["stands"], line["unknown"]) == ([1], [2])  # the refund may have been made all the same
    assert house.town.standing == ["depot.lend(a)", "vault.charge(a)"]
    assert await app.locks() == []


async def test_a_lock_is_taken_from_a_stuck_saga_which_queues_for_it_again_before_it_goes_on(
    house: House,
) -> None:
    app = await house.open(Errand, Fill)
    await house.work()
    saga = await stuck_undo(house)
    gate = house.town.gate("vault.refund")
    second = await app.start(Fill, {"name": "b", "box": "a"})
    await settled(app, second.id)
    held = next(lock for lock in await app.locks() if lock.saga == saga)
    wrong = {"object": "box:a", "fence": held.fence + 1, "holder": str(saga)}
    await act(house, saga, "release-lock", wrong)
    assert (await refusals(house, saga))[0].startswith(f"the lock's fencing number is {held.fence}")
    await act(house, saga, "release-lock", wrong | {"fence": held.fence})
    assert (await second.outcome(timeout=PATIENCE)).status is Status.COMMITTED
    assert await app.locks() == []
    await act(house, saga, "retry")
    await until(lambda: house.town.count("vault.refund") == 2)
    [again] = await app.locks()
    assert (again.saga, again.held, again.fence > held.fence) == (saga, True, True)
    gate.set()
    await until(lambda: over(house, saga))
    assert (await record(house, saga)).status is Status.ROLLED_BACK


async def test_it_waits_for_the_lock_that_was_taken_behind_whoever_has_it_now(house: House) -> None:
    app = await house.open(Errand)
    await house.work()
    saga = await stuck_undo(house)
    held = next(lock for lock in await app.locks() if lock.saga == saga)
    gate = house.town.gate("depot.lend")
    await act(house, saga, "release-lock", {"object": "box:a", "fence": held.fence, "holder": str(saga)})
    second = await app.start(Errand, {"name": "b", "amount": 1}, key="b")
    third = await app.start(Errand, {"name": "a"}, key="again")
    await until(lambda: house.town.count("depot.lend") == 3)
    await act(house, saga, "retry")
    view = await settled(app, saga)
    assert (view.status, view.waits_for) == (Status.WAITING, WaitsFor.LOCK)
    assert house.town.count("vault.refund") == 1
    gate.set()
    for handle in (second, third):
        assert (await handle.outcome(timeout=PATIENCE)).status is Status.COMMITTED
    await until(lambda: over(house, saga))
    assert house.town.count("vault.refund") == 2


async def test_a_committed_saga_is_rolled_back_by_a_plan_once(house: House) -> None:
    app = await house.open(Errand)
    await house.work()
    handle = await app.start(Errand, {"name": "a"})
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.COMMITTED
    revision = (await record(house, handle.id)).revision
    await act(house, handle.id, "rollback", revision=revision, reason="sent to the wrong house")
    [asked] = await house.lines(handle.id, "rollback_asked")
    back = UUID(asked["rollback"])
    await until(lambda: started(house, back))
    await until(lambda: over(house, back))
    assert (await record(house, back)).status is Status.COMMITTED
    assert house.town.standing == []
    await act(house, handle.id, "rollback")
    assert await refusals(house, handle.id) == [f"it was rolled back already, by saga {back}"]


async def started(house: House, saga: UUID) -> bool:
    return await house.app.store.saga(saga) is not None


@pytest.mark.parametrize("verb", ["pause", "retry", "skip", "abandon", "force", "release-lock"])
async def test_what_is_over_is_moved_by_no_act(house: House, verb: str) -> None:
    app = await house.open(Fill)
    await house.work()
    handle = await app.start(Fill, {"name": "a", "box": "x"})
    await handle.outcome(timeout=PATIENCE)
    await act(house, handle.id, verb)
    assert len(await refusals(house, handle.id)) == 1
    assert (await record(house, handle.id)).status is Status.COMMITTED


async def test_behind_the_point_of_no_return_a_cancel_is_refused_and_a_skip_leads_on(house: House) -> None:
    app = await house.open(Onward)
    await house.work()
    house.town.meets("post.write", Refused("no such street"))
    handle = await app.start(Onward, {"name": "a"})
    assert (await settled(app, handle.id)).status is Status.STUCK
    await act(house, handle.id, "cancel")
    await act(house, handle.id, "skip", {"landed": "no", "result": {"number": "told by phone"}})
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.COMMITTED
    assert "point of no return" in (await refusals(house, handle.id))[0]


async def test_a_broken_glass_is_found_until_somebody_else_acknowledges_it(house: House) -> None:
    await house.open(Errand)
    await house.work()
    saga = await stuck_undo(house)
    await act(house, saga, "abandon", break_glass=True, reason="it is three in the morning")
    [glass] = (await record(house, saga)).glass
    assert (glass.plan, glass.actor) == (PLAN, "local:ana")
    await act(house, saga, "ack", {"kind": "break_glass"})
    assert "somebody else must" in (await refusals(house, saga))[0]
    assert (await record(house, saga)).glass
