"""Personal data can be erased although the log is append-only; and the log can be folded into a new store."""

from pathlib import Path

import pytest

from sagacity.audit import rebuild, verify
from sagacity.errors import Conflict, InputError, KeyTaken, Refused, RefusedAct
from sagacity.model.canonical import loaded
from sagacity.model.record import Status
from sagacity.store.open import open_store
from sagacity.testing import PATIENCE, settled, until
from tests.runtime.conftest import House
from tests.runtime.flows import Ask, Errand, Fill


async def traces(house: House, word: str) -> list[str]:
    """Where a word still stands in what the store has of sagas, their mail and their compensations."""
    store, found = house.app.store, []
    async for row in store.sagas_whole():
        if word in f"{row.record.input}{row.record.results}{row.record.reason}":
            found.append("saga")
        found += [
            f"line {line.kind}" for line in await store.history(row.record.id) if word in str(line.data)
        ]
        found += ["message" for m in await store.messages(row.record.id) if word in f"{m.data}{m.payload}"]
        found += ["compensation" for effect in await store.effects_of(row.record.id) if word in str(effect)]
    return found


async def test_what_a_saga_knew_is_gone_and_the_chain_still_verifies(house: House) -> None:
    app = await house.open(Ask)
    await house.work()
    handle = await app.start(Ask, {"name": "mary"}, key="k1")
    await settled(app, handle.id)
    await handle.signal("answer", {"count": "many, says mary"})
    await handle.signal("answer", {"count": 3})
    assert (await handle.outcome(timeout=PATIENCE)).status is Status.COMMITTED
    other = await app.start(Ask, {"name": "mary"}, key="k2")
    await settled(app, other.id)
    await other.signal("answer", {"count": 4})
    assert (await other.outcome(timeout=PATIENCE)).status is Status.COMMITTED
    assert {"saga", "line started", "message", "compensation"} <= set(await traces(house, "mary"))

    count = await app.erase(handle.id, reason="asked for by the customer", actor="kim")
    lines = await handle.history()
    assert count == sum(line.data is None for line in lines) > 3
    assert lines[-1].kind == "erased"
    [erased] = await house.lines(handle.id, "erased")
    assert (erased["reason"], erased["actor"], len(erased["seqs"])) == (
        "asked for by the customer",
        "kim",
        count,
    )
    assert (await handle.show()).status is Status.COMMITTED
    await app.erase(other.id, reason="the same")
    left = await traces(house, "mary")
    assert set(left) <= {"line applied", "line locked", "line intent"}, left
    assert (await app.object("box:mary")).version == 2
    assert (await verify(app.store)).findings == ()


async def test_the_key_stays_taken_and_the_deed_cannot_be_rolled_back_any_more(house: House) -> None:
    app = await house.open(Errand)
    await house.work()
    handle = await app.start(Errand, {"name": "a"})
    await handle.outcome(timeout=PATIENCE)
    await app.erase("a", reason="on request")
    again = await app.start(Errand, {"name": "a"})
    assert (again.id, again.new) == (handle.id, False)
    with pytest.raises(KeyTaken):
        await app.start(Errand, {"name": "a", "amount": 9})
    with pytest.raises(RefusedAct, match="what it did was erased"):
        await app.preview("a")
    assert await app.erase("a", reason="again") == 0


async def test_with_it_goes_what_the_saga_that_rolled_it_back_was_given(house: House) -> None:
    app = await house.open(Errand)
    await house.work()
    handle = await app.start(Errand, {"name": "secret"})
    await handle.outcome(timeout=PATIENCE)
    gate = house.town.gate("vault.refund")
    rollback = await app.rollback(handle.id, reason="a mistake")
    await until(lambda: house.town.count("vault.refund"))
    with pytest.raises(RefusedAct, match="only a saga that is over"):
        await app.erase(handle.id, reason="too early")
    gate.set()
    await rollback.outcome(timeout=PATIENCE)
    assert await app.erase(handle.id, reason="on request") > 2
    for saga in (handle.id, rollback.id):
        row = await app.store.saga(saga)
        assert row is not None
        assert (row.record.input, row.record.results, row.record.restores) == ("null", {}, ())
        for message in await app.store.messages(saga):
            assert (message.data, message.payload) == ("null", "null")
    assert (await verify(app.store)).findings == ()


async def test_with_it_goes_why_it_ended_from_what_listeners_are_still_to_be_told(house: House) -> None:
    app = await house.open(Errand)
    await house.work(notices=True)
    house.town.meets("depot.lend", Refused("Kim Secret lives there no more"))
    handle = await app.start(Errand, {"name": "a"})
    await handle.outcome(timeout=PATIENCE)
    await app.erase(handle.id, reason="on request")
    [(_, notice)] = await app.store.notices(limit=10)
    told = loaded(notice.data)
    assert (told["status"], told["reason"]) == ("rolled_back", None)
    assert "Secret" not in notice.data


async def test_only_of_a_saga_that_is_over(house: House) -> None:
    app = await house.open(Ask)
    pending = await app.start(Ask, {"name": "p"})
    with pytest.raises(RefusedAct, match="only a saga that is over"):
        await app.erase(pending.id, reason="too early")
    await house.work()
    await settled(app, pending.id)
    with pytest.raises(RefusedAct, match="only a saga that is over"):
        await app.erase(pending.id, reason="too early")
    with pytest.raises(InputError):
        await app.erase(pending.id, reason="\udcff")


async def every_end(house: House) -> None:
    """Sagas of every kind of end, and some that have not ended."""
    app = house.app
    await house.work()
    for name in ("good", "undone", "bad", "rolled", "erased"):
        if name == "undone":
            house.town.meets("porter.send", Refused("no"))
        if name == "bad":
            house.town.meets("porter.send", Refused("no"))
            house.town.meets("vault.refund", Refused("closed"))
        handle = await app.start(Errand, {"name": name})
        await handle.outcome(timeout=PATIENCE)
    await (await app.rollback("rolled", reason="a mistake")).outcome(timeout=PATIENCE)
    await app.erase("erased", reason="on request")
    for name, box in (("w1", "bad"), ("w2", "bad")):
        handle = await app.start(Fill, {"name": name, "box": box})
        await settled(app, handle.id)
    waiting = await app.start(Ask, {"name": "asks"})
    await settled(app, waiting.id)


async def test_folding_the_log_into_an_empty_store_gives_equal_tables(house: House, tmp_path: Path) -> None:
    app = await house.open(Errand, Fill, Ask)
    await every_end(house)
    into = open_store(f"sqlite:///{tmp_path}/again.db", tenant=house.tenant, accept_loss=True)
    await into.open()
    try:
        verdict = await rebuild(app.store, into)
        assert verdict.findings == ()
        records = {row.record.id: row.record async for row in app.store.sagas_whole()}
        assert {row.record.id: row.record async for row in into.sagas_whole()} == records
        assert {r.status for r in records.values()} >= {
            *(Status.COMMITTED, Status.ROLLED_BACK, Status.STUCK, Status.WAITING),
        }
        for name, state in {o.object: o async for o in app.store.objects_whole()}.items():
            again = (await into.objects([name]))[name]
            assert (again.version, again.state) == (state.version, state.state)
            assert [(e.saga, e.mode) for e in again.queue] == [(e.saga, e.mode) for e in state.queue]
        for id in records:
            assert await into.history(id) == await app.store.history(id)
            assert await into.effects_of(id) == await app.store.effects_of(id)
        assert await into.find("Errand", "good") == await app.store.find("Errand", "good")
        assert await into.find("Errand", "erased") == await app.store.find("Errand", "erased")
        with pytest.raises(Conflict):
            await rebuild(app.store, into)
    finally:
        await into.close()
