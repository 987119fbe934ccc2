"""What comes to need a human with time is told of: once while it lasts, and anew when it comes again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from sagacity.config import load
from sagacity.decide.attention import Limits
from sagacity.errors import ConfigError, Refused, Unavailable
from sagacity.ids import new_id
from sagacity.model.canonical import canonical, loaded
from sagacity.model.operating import Action, Actor, Role, Verb
from sagacity.model.record import Status, WaitsFor
from sagacity.model.unit import NO_LINE, Notice
from sagacity.orchestrator import Orchestrator
from sagacity.runtime.alarm import Alarm
from sagacity.runtime.webhook import HookSettings
from sagacity.testing import running, settled, until
from tests.runtime.conftest import House
from tests.runtime.flows import Ask, Errand, Fill, Slow
from tests.runtime.receiver import Receiver
from tests.runtime.test_webhook import SECRET

ANA = Actor(id="oidc:ana", roles=frozenset({Role.SENIOR}))
AT_ONCE = Limits(
    overdue=timedelta(0), paused=timedelta(0), retrying=timedelta(0), lock=timedelta(0), waiters=1
)


async def told(app: Orchestrator) -> list[Notice]:
    """What is to be told now of what came with time; it is told, too."""
    found = await app.store.notices(limit=200)
    await app.store.notices_sent([id for id, _ in found])
    return [notice for _, notice in found if notice.kind == "attention"]


def kinds(notices: list[Notice]) -> list[str]:
    return sorted(loaded(notice.data)["attention"] for notice in notices)


async def do(app: Orchestrator, verb: Verb, saga: Any, **args: Any) -> None:
    plan = await app.plan(Action(verb=verb, sagas=(saga.id,), args=canonical(args)), ANA)
    await app.apply(plan.id, ANA, reason="a test's reason")

    async def over() -> bool:
        return all(one.state == "done" for one in await app.outcomes(plan.id))

    await until(over)


async def test_paused_locked_and_retried_sagas_are_told_of_as_the_page_shows_them(house: House) -> None:
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

    alarm = Alarm(app.store, new_id(), limits=AT_ONCE)
    assert await Alarm(app.store, new_id())() == 0, "nothing of this matters yet"
    assert await alarm() == 3
    found = await told(app)
    by_kind = {loaded(notice.data)["attention"]: (notice, loaded(notice.data)) for notice in found}
    assert sorted(by_kind) == ["lock", "paused", "retrying"]
    assert {data["fingerprint"] for _, data in by_kind.values()} == {
        group.fingerprint for group in await app.attention(AT_ONCE)
    }
    notice, data = by_kind["lock"]
    assert (notice.saga, notice.seq, data["key"], data["plan"]) == (holder.id, NO_LINE, "box", None)
    assert "1 waiting" in data["reason"]
    assert "held by Ask box" in data["reason"]
    assert (by_kind["retrying"][0].saga, by_kind["retrying"][1]["status"]) == (slow.id, "waiting")
    assert "closed on day 7" in by_kind["retrying"][1]["reason"]

    assert await alarm() == 0, "it lasts"
    assert await Alarm(app.store, new_id(), limits=AT_ONCE)() == 0, "for everybody"
    await do(app, Verb.RESUME, holder)
    assert await alarm() == 0
    await do(app, Verb.PAUSE, holder)
    assert await alarm() == 1, "it came again"
    assert kinds(await told(app)) == ["paused"]


async def test_what_is_stuck_is_told_with_its_line_alone(house: House) -> None:
    app = await house.open(Errand)
    await house.work(notices=True)
    house.town.meets("porter.send", Refused("no van"))
    house.town.meets("vault.refund", Refused("closed"))
    handle = await app.start(Errand, {"name": "a"})
    assert (await settled(app, handle.id)).status is Status.STUCK
    assert [group.kind for group in await app.attention()] == ["undo_failed"]
    assert await Alarm(app.store, new_id())() == 0


async def test_what_nobody_serves_is_told_when_it_is_seen_twice(house: House) -> None:
    app = await house.open(Fill)
    await app.start(Fill, {"name": "f", "box": "f"})
    alarm = Alarm(app.store, new_id(), limits=AT_ONCE)
    assert await alarm() == 0, "a worker may be on its way"
    assert await alarm() == 1
    [notice] = await told(app)
    assert (loaded(notice.data)["attention"], loaded(notice.data)["reason"]) == (
        "unserved",
        "no worker runs Fill@1",
    )
    fresh = Alarm(app.store, new_id(), limits=AT_ONCE)
    assert [await fresh(), await fresh(), await told(app)] == [0, 0, []]
    await house.work()
    await settled(app, "f")
    assert await alarm() == 0


async def test_an_approval_is_asked_for_and_what_was_overtaken_is_not(house: House) -> None:
    app = await house.open(Ask)
    await house.work()
    a, b = [await app.start(Ask, {"name": name}) for name in ("a", "b")]
    for one in (a, b):
        await settled(app, one.id)
    stale = await app.plan(Action(verb=Verb.ABANDON, sagas=(a.id,)), ANA)
    await do(app, Verb.PAUSE, a)
    both = await app.plan(Action(verb=Verb.ABANDON, sagas=(a.id, b.id)), ANA)
    await app.plan(Action(verb=Verb.PAUSE, sagas=(b.id,)), ANA)
    assert await Alarm(app.store, new_id())() == 1
    [notice] = await told(app)
    said = loaded(notice.data)
    assert (said["attention"], said["plan"], said["key"], said["status"]) == (
        "approval",
        str(both.id),
        "2 sagas",
        None,
    )
    assert notice.saga in (a.id, b.id)
    assert stale.id != both.id
    await app.apply(both.id, ANA, reason="a test's reason", confirm="2", ticket="T-1", break_glass=True)
    assert await Alarm(app.store, new_id())() == 1
    assert kinds(await told(app)) == ["break_glass"]


async def test_an_error_that_changes_is_no_news_while_the_retrying_lasts(house: House) -> None:
    app = await house.open(Slow)
    await house.work()
    house.town.meets("depot.lend", Unavailable("rain"), *[Unavailable("snow")] * 50)
    slow = await app.start(Slow, {"name": "s"})
    await settled(app, slow.id)
    alarm = Alarm(app.store, new_id(), limits=AT_ONCE)
    assert await alarm() == 1
    await told(app)

    async def snows() -> bool:
        return any("snow" in item.detail for group in await app.attention(AT_ONCE) for item in group.items)

    await until(snows)
    assert await alarm() == 0


@asynccontextmanager
async def asked(house: House) -> AsyncIterator[Any]:
    """A plan of tier 3 that waits for its second person."""
    app = await house.open(Ask)
    async with running(house.worker()):
        handle = await app.start(Ask, {"name": "a"})
        await settled(app, handle.id)
        yield await app.plan(Action(verb=Verb.ABANDON, sagas=(handle.id,)), ANA)


async def test_a_worker_tells_its_listeners_and_the_hook(house: House) -> None:
    heard: list[Notice] = []
    receiver = Receiver()
    often = timedelta(milliseconds=50)
    try:
        async with asked(house) as plan:
            worker = house.worker(
                listeners=(heard.append,),
                hook=HookSettings(url=f"{receiver.url}/hook", secret=SECRET),
                attention_every=often,
            )
            async with running(worker):
                await until(lambda: heard and receiver.got)
                await until(lambda: house_is_told(house))
                await asyncio.sleep(0.3)
    finally:
        receiver.close()
    assert [loaded(notice.data)["plan"] for notice in heard] == [str(plan.id)]
    [message] = receiver.messages
    assert (message["kind"], message["count"], message["definition"]) == ("approval", 1, "Ask")
    assert message["sagas"] == [
        {"id": str(plan.touches[0].saga), "key": "a", "seq": None, "plan": str(plan.id)}
    ]


async def house_is_told(house: House) -> bool:
    return (await house.app.store.gauges()).unsent == 0


async def test_the_first_of_the_living_looks_each_time_and_the_next_every_second_time(house: House) -> None:
    app = await house.open(Ask)
    async with running(house.worker()), running(house.worker()):
        await until(lambda: two_live(app))
        first, second = sorted(worker.id for worker in await app.store.workers())
        looked: list[str] = []

        async def matters(*_: Any) -> Any:
            looked.append("once")
            return await type(app.store).matters(app.store, Limits())

        watched = Watched(app.store, matters)
        for id, expected in ((first, 4), (second, 2), (new_id(), 4)):
            looked.clear()
            alarm = Alarm(watched, id)
            for _ in range(4):
                await alarm()
            assert len(looked) == expected


async def two_live(app: Orchestrator) -> bool:
    return len(await app.store.workers()) == 2


class Watched:
    """A store of which one method is another."""

    def __init__(self, store: Any, matters: Any) -> None:
        self._store, self.matters = store, matters

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


@pytest.mark.parametrize("seconds", ["0", "4.9", "3601"])
def test_the_time_between_two_looks_has_bounds(seconds: str) -> None:
    with pytest.raises(ConfigError, match="SAGACITY_ATTENTION_EVERY"):
        load(attention_every=seconds)
    assert load(attention_every="5").attention_every == timedelta(seconds=5)
