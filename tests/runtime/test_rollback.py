"""Rolling back what has committed: first looked at, then done by a linked saga, or refused in a sentence."""

from uuid import UUID

import pytest

from sagacity.errors import NotFound, Refused, RefusedAct
from sagacity.handle import Handle
from sagacity.ids import new_id
from sagacity.model.canonical import loaded
from sagacity.model.record import Status
from sagacity.model.unit import Batch, Claimed, Written
from sagacity.model.views import RollbackItem, RollbackPreview
from sagacity.testing import PATIENCE, settled, until
from tests.runtime.conftest import House
from tests.runtime.flows import Ask, Errand, Fill, Onward


def told(items: tuple[RollbackItem, ...]) -> list[tuple[str, str]]:
    return [(item.what, item.how) for item in items]


async def total(house: House, box: str) -> str:
    return str(loaded((await house.app.object(f"box:{box}")).state)["total"])


async def test_exactly_where_nobody_changed_anything_since(house: House) -> None:
    app = await house.open(Errand)
    await house.work()
    handle = await app.start(Errand, {"name": "a"})
    await handle.outcome(timeout=PATIENCE)
    preview = await app.preview(handle.id)
    assert preview.possible
    assert told(preview.items) == [
        ("send_it", "counter-action"),
        ("pay_for_it", "counter-action"),
        ("lend_it", "counter-action"),
        ("box:a", "exact"),
    ]
    box = preview.items[-1]
    assert (loaded(box.now or "")["total"], box.after, box.changed_since) == ("5", "null", False)  # type: ignore[arg-type]
    rollback = await app.rollback(handle.id, reason="a mistake", actor="kim")
    assert (await rollback.outcome(timeout=PATIENCE)).status is Status.COMMITTED
    assert house.town.story[3:] == ["call_off(send-a)", "refund(charge-a)", "take_back(lend-a)"]
    view = await app.object("box:a")
    assert (view.version, view.state) == (2, "null")
    assert [v.version for v in await app.object_history("box:a")] == [1, 2]
    assert (await app.object("box:a", at=1)).state != "null"
    shown, original = await rollback.show(), await handle.show()
    assert (shown.rolls_back, original.rolled_back_by) == (handle.id, rollback.id)
    assert original.status is Status.COMMITTED
    assert (await handle.history())[-1].kind == "rollback_asked"


async def test_by_counter_action_where_others_changed_it_since(house: House) -> None:
    app = await house.open(Fill)
    await house.work()
    first = await app.start(Fill, {"name": "one", "box": "b", "amount": 10})
    await first.outcome(timeout=PATIENCE)
    other = await app.start(Fill, {"name": "two", "box": "b", "amount": 3})
    await other.outcome(timeout=PATIENCE)
    preview = await app.preview(first.id)
    [item] = preview.items
    assert (item.how, item.changed_since, item.detail) == (
        "counter-action",
        True,
        "changed 1 times since; by take",
    )
    rollback = await app.rollback(first.id, reason="a mistake")
    assert (await rollback.outcome(timeout=PATIENCE)).status is Status.COMMITTED
    assert await total(house, "b") == "3"


async def test_never_by_a_blind_overwrite(house: House) -> None:
    app = await house.open(Errand, Fill)
    await house.work()
    errand = await app.start(Errand, {"name": "b"})
    await errand.outcome(timeout=PATIENCE)
    fill = await app.start(Fill, {"name": "x", "box": "b"})
    await fill.outcome(timeout=PATIENCE)
    preview = await app.preview(errand.id)
    assert not preview.possible
    assert preview.items[-1].how == "changed"
    with pytest.raises(RefusedAct, match="box:b: changed 1 times since, and no inverse is declared"):
        await app.rollback(errand.id, reason="a mistake")
    assert (await errand.show()).rolled_back_by is None


async def test_an_inverse_that_refuses_makes_it_impossible(house: House) -> None:
    app = await house.open(Fill)
    await house.work()
    for name, amount in (("one", 10), ("two", -8)):
        handle = await app.start(Fill, {"name": name, "box": "b", "amount": amount})
        assert (await handle.outcome(timeout=PATIENCE)).status is Status.COMMITTED
    with pytest.raises(RefusedAct, match="refused: there is only 2"):
        await app.rollback("one", reason="a mistake")


async def test_what_changes_between_the_look_and_the_deed_undoes_nothing(house: House) -> None:
    app = await house.open(Errand, Fill)
    await house.work()
    errand = await app.start(Errand, {"name": "b"})
    await errand.outcome(timeout=PATIENCE)
    before = await app.preview(errand.id)
    fill = await app.start(Fill, {"name": "x", "box": "b"})
    assert (await fill.outcome(timeout=PATIENCE)).status is Status.COMMITTED

    async def looked_before(saga: object) -> RollbackPreview:
        return before

    app.preview = looked_before  # type: ignore[method-assign]
    rollback = await app.rollback(errand.id, reason="a mistake")
    outcome = await rollback.outcome(timeout=PATIENCE)
    assert (outcome.status, outcome.reason) == (
        Status.ROLLED_BACK,
        "nothing was rolled back: box:b changed 1 times since, and no inverse is declared",
    )
    assert house.town.count("porter.call_off") == 0


async def test_what_changes_while_the_rollback_queues_undoes_nothing(house: House) -> None:
    app = await house.open(Errand, Ask)
    await house.work()
    errand = await app.start(Errand, {"name": "b"})
    await errand.outcome(timeout=PATIENCE)
    ask = await app.start(Ask, {"name": "b"}, key="holder")
    assert (await settled(app, ask.id)).status is Status.WAITING
    rollback = await app.rollback(errand.id, reason="a mistake")

    async def queued() -> bool:
        return rollback.id in {lock.saga for lock in await app.locks()}

    await until(queued)
    await ask.signal("answer", {"count": 3})
    assert (await ask.outcome(timeout=PATIENCE)).status is Status.COMMITTED
    outcome = await rollback.outcome(timeout=PATIENCE)
    assert (outcome.status, outcome.reason) == (
        Status.ROLLED_BACK,
        "nothing was rolled back: box:b changed 1 times since, and no inverse is declared",
    )
    assert house.town.count("porter.call_off") == 0
    assert await app.locks() == []


async def test_only_once_and_only_what_has_committed(house: House) -> None:
    app = await house.open(Fill, Ask)
    await house.work()
    handle = await app.start(Fill, {"name": "a", "box": "b"})
    await handle.outcome(timeout=PATIENCE)
    rollback = await app.rollback("a", reason="a mistake")
    await rollback.outcome(timeout=PATIENCE)
    with pytest.raises(RefusedAct, match=f"rolled back already, by saga {rollback.id}"):
        await app.rollback("a", reason="again")
    with pytest.raises(RefusedAct, match=f"itself the rollback of saga {handle.id}"):
        await app.rollback(rollback.id, reason="back again")
    waiting = await app.start(Ask, {"name": "w"})
    await settled(app, waiting.id)
    with pytest.raises(RefusedAct, match="only a committed saga can be rolled back; this one is waiting"):
        await app.preview(waiting.id)
    with pytest.raises(NotFound):
        await app.preview(new_id())
    await waiting.cancel(reason="done")
    assert (await waiting.outcome(timeout=PATIENCE)).status is Status.ROLLED_BACK


async def test_a_final_effect_stays_and_that_must_be_accepted(house: House) -> None:
    app = await house.open(Onward)
    await house.work()
    handle = await app.start(Onward, {"name": "a"})
    await handle.outcome(timeout=PATIENCE)
    with pytest.raises(RefusedAct, match="tell_it: declared final: it stays"):
        await app.rollback(handle.id, reason="a mistake")
    rollback = await app.rollback(handle.id, reason="a mistake", accept_remaining=True)
    assert (await rollback.outcome(timeout=PATIENCE)).status is Status.COMMITTED
    assert house.town.standing == ["post.write(a)"]


async def test_a_rollback_whose_compensation_gives_up_is_stuck_with_its_locks(house: House) -> None:
    app = await house.open(Errand)
    await house.work()
    handle = await app.start(Errand, {"name": "a"})
    await handle.outcome(timeout=PATIENCE)
    house.town.meets("vault.refund", Refused("the account is closed"))
    rollback = await app.rollback(handle.id, reason="a mistake")
    assert (await rollback.outcome(timeout=PATIENCE)).status is Status.STUCK
    assert [lock.saga for lock in await app.locks()] == [rollback.id]
    assert (await app.object("box:a")).version == 1
    await app.retry(rollback.id)

    async def committed() -> bool:
        return (await rollback.show()).status is Status.COMMITTED

    await until(committed)
    assert house.town.standing == []
    assert (await app.object("box:a")).version == 2


@pytest.mark.parametrize("also_a_signal", [False, True])
async def test_one_that_is_asked_for_while_a_worker_puts_the_saga_down_is_not_lost(
    house: House, also_a_signal: bool
) -> None:
    app = await house.open(Errand)
    await house.work()
    handle = await app.start(Errand, {"name": "a"})
    await handle.outcome(timeout=PATIENCE)
    asked: list[Handle] = []
    rest, write = app.store.rest, app.store.write

    async def asked_before_it_rests(saga: UUID, worker: UUID, claimed: Claimed) -> bool:
        if not asked and saga == handle.id:
            asked.append(await app.rollback(handle.id, reason="a mistake"))
        return await rest(saga, worker, claimed)

    async def asked_before_it_writes(batch: Batch) -> Written:
        if not asked and any(unit.saga == handle.id for unit in batch.units):
            asked.append(await app.rollback(handle.id, reason="a mistake"))
        return await write(batch)

    app.store.rest = asked_before_it_rests  # type: ignore[method-assign]
    app.store.write = asked_before_it_writes  # type: ignore[method-assign]
    if also_a_signal:  # which is refused, in a line: so the saga is not rested but written
        await app.signal(handle.id, "too late")
    else:
        await app.store.ring_sagas([handle.id])
    await until(lambda: asked)
    assert (await asked[0].outcome(timeout=PATIENCE)).status is Status.COMMITTED
