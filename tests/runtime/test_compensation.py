"""Going back: every effect made good, in exact reverse order, none skipped; what cannot be is not hidden."""

from datetime import timedelta

import pytest

from sagacity.errors import Refused, RefusedAct, Unavailable
from sagacity.model.canonical import loaded
from sagacity.model.record import Status, WaitsFor
from sagacity.testing import PATIENCE, ManualClock, settled, until
from tests.runtime.conftest import House
from tests.runtime.flows import Errand


async def test_a_refusal_brings_everything_back_in_reverse_order(house: House) -> None:
    app = await house.open(Errand)
    await house.work()
    house.town.meets("porter.send", Refused("no van today"))
    handle = await app.start(Errand, {"name": "a"})
    outcome = await handle.outcome(timeout=PATIENCE)
    assert (outcome.status, outcome.reason) == (Status.ROLLED_BACK, "send_it: no van today")
    assert house.town.story == [
        "lend(a)",
        "charge(a)",
        "send(a)",
        "refund(charge-a)",
        "take_back(lend-a)",
    ]
    assert house.town.standing == []
    undone = [
        loaded(line.data)["step"] for line in await handle.history() if line.kind == "undone" and line.data
    ]
    assert undone == ["pay_for_it", "lend_it"]
    assert await app.locks() == []
    assert (await app.store.object("box:a")).version == 0


async def test_a_compensation_is_tried_again_under_its_own_key(house: House) -> None:
    app = await house.open(Errand)
    await house.work()
    house.town.meets("porter.send", Refused("no"))
    house.town.meets("vault.refund", Unavailable("busy"), TimeoutError(), None)
    handle = await app.start(Errand, {"name": "a"})
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.ROLLED_BACK
    assert house.town.story[3:] == ["refund(charge-a)"] * 3 + ["take_back(lend-a)"]
    [key] = set(house.town.keys("vault.refund"))
    assert key == f"{house.town.keys('vault.charge')[0]}/undo"


async def test_a_compensation_that_gives_up_is_stuck_with_its_locks_until_somebody_retries(
    house: House,
) -> None:
    app = await house.open(Errand)
    await house.work()
    house.town.meets("porter.send", Refused("no"))
    house.town.meets("vault.refund", Refused("the account is closed"))
    handle = await app.start(Errand, {"name": "a"})
    stuck = await settled(app, handle.id)
    assert stuck.status is Status.STUCK
    assert stuck.why == "Vault.refund of pay_for_it gave up after 1 attempts: the account is closed"
    assert stuck.allowed == ("retry", "pause", "skip", "abandon", "release-lock", "ack")
    assert [lock.object for lock in await app.locks()] == ["box:a"]
    assert house.town.standing == ["depot.lend(a)", "vault.charge(a)"]
    await app.retry(handle.id, reason="it was opened again", actor="kim")
    await until(lambda: ended(house, handle.id))
    assert house.town.story[3:] == ["refund(charge-a)"] * 2 + ["take_back(lend-a)"]
    assert (house.town.standing, await app.locks()) == ([], [])
    [retried] = [loaded(line.data) for line in await handle.history() if line.kind == "retried" and line.data]
    assert (retried["reason"], retried["actor"]) == ("it was opened again", "kim")


async def ended(house: House, saga: object) -> bool:
    return (await house.app.show(str(saga))).status.final


async def test_a_compensation_waits_in_the_database_between_its_attempts(house: House) -> None:
    clock = ManualClock()
    app = await house.open(Errand, clock=clock)
    app.worker = await house.work(lease=timedelta(days=1), short_sleep=timedelta(0))
    house.town.meets("porter.send", Refused("no"))
    house.town.meets("vault.refund", Unavailable("busy", retry_after=timedelta(minutes=5)))
    handle = await app.start(Errand, {"name": "a"})
    view = await settled(app, handle.id)
    assert (view.status, view.owner) == (Status.COMPENSATING, None)
    assert view.due_at == clock.now() + timedelta(minutes=5)
    clock.advance(timedelta(minutes=4, seconds=59))
    assert (await settled(app, handle.id)).status is Status.COMPENSATING
    assert house.town.count("vault.refund") == 1
    clock.advance(timedelta(seconds=2))
    await until(lambda: ended(house, handle.id))
    assert house.town.standing == []


async def test_retry_hurries_a_waiting_step_and_is_refused_where_nothing_waits(house: House) -> None:
    clock = ManualClock()
    app = await house.open(Errand, clock=clock)
    app.worker = await house.work(lease=timedelta(days=1))
    house.town.meets("depot.lend", Unavailable("closed", retry_after=timedelta(hours=5)))
    handle = await app.start(Errand, {"name": "a"})
    view = await settled(app, handle.id)
    assert (view.status, view.waits_for) == (Status.WAITING, WaitsFor.RETRY)
    assert view.why == "lend_it failed (attempt 1): closed"
    await app.retry(handle.id)
    await until(lambda: ended(house, handle.id))
    assert house.town.story == ["lend(a)", "lend(a)", "charge(a)", "send(a)"]
    with pytest.raises(RefusedAct, match="nothing to retry: everything happened"):
        await app.retry(handle.id)
