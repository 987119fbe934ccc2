"""A dry run beside a real one: the same story gives the same path, and what differs is named."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sagacity.definition.project import Project
from sagacity.dry.apart import Apart
from sagacity.dry.comparing import Real, beside, read_compared, real_of
from sagacity.dry.orders import Asked, Place
from sagacity.errors import NotFound, Refused, Unavailable
from sagacity.ids import new_id
from sagacity.model.views import SagaView
from sagacity.orchestrator import Orchestrator
from sagacity.runtime.worker import Worker
from sagacity.testing import mocked, running, settled
from tests.dry.flows import Prices, Sale, Seat, Theatre

FLOW = "tests.dry.flows:Sale"


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[Orchestrator]:
    async with await Orchestrator.open(
        f"sqlite:///{tmp_path}/live.db", project=Project.of(Sale), accept_loss=True
    ) as opened:
        yield opened


def sells(app: Orchestrator, **mind: Any) -> Worker:
    """A worker, with a theatre that behaves as `mind`."""
    theatre: Any = type("Behaving", (Theatre.Mock,), mind)()
    return Worker(
        app.store,
        app.project.flows,
        app.project.participants,
        externals=mocked(Theatre, Prices, instead={Theatre: theatre}),
    )


async def begun(app: Orchestrator, show: str) -> SagaView:
    """A real sale that waits for its consent."""
    async with running(sells(app)):
        handle = await app.start(Sale, {"show": show})
        return await settled(app, handle.id)


async def lived(app: Orchestrator, show: str, approved: Any, **mind: Any) -> SagaView:
    """A real sale, with a theatre that behaves as `mind`."""
    async with running(sells(app, **mind)):
        handle = await app.start(Sale, {"show": show})
        view = await settled(app, handle.id)
        if not view.status.final:
            await app.signal(handle.id, "manager", approved)
            view = await settled(app, handle.id)
    return view


async def test_a_real_runs_story_played_dry_is_the_same_at_every_point(app: Orchestrator) -> None:
    tries = iter([Unavailable("busy"), None])

    def hesitant(self: Any, show: str) -> Seat:
        error = next(tries)
        if error is not None:
            raise error
        return Seat(number=41)

    def full(self: Any, show: str) -> Seat:
        raise Refused("sold out")

    real = [
        await lived(app, "hamlet", {"approved": True}),
        await lived(app, "lear", {"approved": False, "comment": "no"}),
        await lived(app, "othello", {"approved": True}, book=hesitant),
        await lived(app, "macbeth", {"approved": True}, book=full),
    ]
    assert [v.status.value for v in real] == ["committed", "rolled_back", "committed", "rolled_back"]
    assert app.opened is not None
    async with Apart.started(Place(url=app.opened[0], accept_loss=True)) as stage:
        for view in real:
            asked = Asked(flow=FLOW, input={"show": view.key}, against=view.id, key=view.key)
            answer = await stage.ask(asked)
            assert answer.ok, answer.text
            assert "They are the same." in (answer.text or "")
        with pytest.raises(NotFound):
            await stage.ask(Asked(flow=FLOW, input={"show": "x"}, against=new_id()))


async def test_a_real_run_that_is_not_over_is_compared_up_to_where_it_is(app: Orchestrator) -> None:
    view = await begun(app, "hamlet")
    assert app.opened is not None
    async with Apart.started(Place(url=app.opened[0], accept_loss=True)) as stage:
        asked = Asked(flow=FLOW, input={"show": "hamlet"}, against=view.id, key=view.key)
        same = await stage.ask(asked)
        other = await stage.ask(asked.model_copy(update={"faults": ("effect take_seat: refused",)}))
    found = read_compared(same.said or "")
    assert (found.ok, found.up_to) == (True, "it is waiting in booked, for consent")
    assert found.points == {"path": 2, "changes": 0, "calls": 1, "notices": 0}
    assert "The real one is not over: it is waiting in booked, for consent. Compared up to there." in (
        same.text or ""
    )
    assert not other.ok, "what the real one has done already, the dry one did otherwise"
    assert [one.what for one in read_compared(other.said or "").differences] == ["path"]


async def test_what_a_running_saga_writes_meanwhile_is_left_out(app: Orchestrator) -> None:
    """Its row is read first, and its story only up to there: both are of one moment."""
    view = await begun(app, "hamlet")
    store = app.store
    history = store.history

    async def late(saga: Any) -> Any:
        store.history = history  # type: ignore[method-assign]
        await app.signal(view.id, "manager", {"approved": True})
        async with running(sells(app)):
            await settled(app, view.id)
        return await history(saga)

    store.history = late  # type: ignore[method-assign, assignment]
    real = await real_of(store, view.id)
    assert real.up_to == "it is waiting in booked, for consent"
    assert {line.kind for line in await store.history(view.id)} >= {"signalled", "committed"}
    assert not {line.kind for line in real.story} & {"signalled", "committed"}


async def test_a_saga_that_has_not_begun_is_no_saga_to_compare_with(app: Orchestrator) -> None:
    handle = await app.start(Sale, {"show": "hamlet"})
    with pytest.raises(NotFound, match="has not begun"):
        await real_of(app.store, handle.id)


async def test_what_differs_is_named(app: Orchestrator) -> None:
    first = await lived(app, "hamlet", {"approved": True})
    second = await lived(app, "lear", {"approved": False, "comment": "no"})
    assert app.opened is not None
    async with Apart.started(Place(url=app.opened[0], accept_loss=True)) as stage:
        other = await stage.ask(Asked(flow=FLOW, input={"show": "lear"}, against=first.id))
    assert other.ok, "the input differs, and no point of the story does"
    rows = [await app.store.saga(view.id) for view in (first, second)]
    stories = [tuple(await app.store.history(view.id)) for view in (first, second)]
    assert rows[0] is not None
    assert rows[1] is not None
    real = Real(record=rows[0].record, story=stories[0])
    played: Any = replace_story(rows[1].record.id, stories[1])
    found = beside(real, played)
    assert not found.ok
    assert {one.what for one in found.differences} == {"path", "changes", "calls", "notices"}
    assert "! path 3" in found.text()
    assert replace(real, story=()).lines() == []


def replace_story(saga: Any, story: Any) -> Any:
    """Something played that told this story."""

    class Played:
        stories = {saga: story}  # noqa: RUF012 - stands in for a frozen record

    Played.saga = saga  # type: ignore[attr-defined]
    return Played()
