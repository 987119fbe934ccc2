"""What a plan shows is what applying it touches, whatever the filter, the role and the hour."""

import asyncio
from dataclasses import dataclass
from uuid import UUID

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from sagacity.definition.project import Project
from sagacity.errors import Conflict, Forbidden, InputError, NotConfirmed
from sagacity.model.canonical import loaded
from sagacity.model.operating import Action, Actor, Plan, PlanStatus, Role, Verb
from sagacity.operating.rules import confirmation_of, role_for
from sagacity.orchestrator import Orchestrator
from sagacity.runtime.settings import WorkerSettings
from sagacity.runtime.worker import Worker
from sagacity.store.office import ActsFilter
from sagacity.testing import running, settled, until
from tests.runtime.flows import Ask, Box, Fill
from tests.runtime.outside import Town, services

_FIRST = (
    *("type:Ask", "type:Fill", "type:Ask,Fill", "status:waiting", "status:running,waiting,committed"),
    *("waits:signal", "paused:yes", "paused:no", "key:a1,a2,b1", "due:>1d"),
)
_MORE = (
    *("-type:Fill", "-status:committed", "state:lent", "age:<1h", "age:>1h", "due:past"),
    *('error:"no"', '-error:"no"', ""),
)
FILTERS = st.builds(
    lambda first, more: " ".join([*first, *more]),
    st.lists(st.sampled_from(_FIRST), min_size=1, max_size=2, unique=True),
    st.lists(st.sampled_from(_MORE), max_size=1),
)
_ROLES = [{Role.VIEWER}, {Role.APPROVER}, {Role.OPERATOR}, {Role.SENIOR}, {Role.SENIOR}, {Role.ADMIN}]
ACTORS = st.builds(
    Actor,
    id=st.sampled_from(["oidc:ana", "oidc:bob"]),
    roles=st.sampled_from([frozenset(), *map(frozenset, _ROLES)]),
    definitions=st.sampled_from([None, None, frozenset({"Ask"})]),
    kind=st.sampled_from(["person", "person", "service"]),
)
VERBS = st.sampled_from([Verb.PAUSE, Verb.RESUME, Verb.CANCEL, Verb.RETRY, Verb.ABANDON])
MOVES = st.lists(st.sampled_from(["arrives", "moves", "ends", "nothing"]), max_size=2)
ADMIN = Actor(id="oidc:root", roles=frozenset({Role.ADMIN}))


class Hour:
    """One store in memory with a worker, in which things go on while somebody plans."""

    def __init__(self, app: Orchestrator) -> None:
        self.app = app
        self.asks: list[UUID] = []
        self._numbers = iter(range(1, 1_000))

    async def happen(self, what: list[str]) -> None:
        """Sagas arrive, move and end; each is through when this returns."""
        for one in what:
            if one == "arrives":
                await self.arrive()
            elif one == "moves" and self.asks:
                plan = await self.app.plan(Action(verb=Verb.PAUSE, sagas=(self.asks[0],)), ADMIN)
                if plan.touches:
                    await self.app.apply(plan.id, ADMIN)
                    await self.over(plan)
            elif one == "ends" and self.asks:
                await self.app.signal(self.asks[-1], "answer", {"count": 1})
                await settled(self.app, self.asks[-1])

    async def arrive(self) -> None:
        """One of each flow."""
        n = next(self._numbers)
        ask = await self.app.start(Ask, {"name": f"a{n}"})
        fill = await self.app.start(Fill, {"name": f"b{n}", "box": f"x{n}"})
        for handle in (ask, fill):
            await settled(self.app, handle.id)
        self.asks.append(ask.id)

    async def over(self, plan: Plan) -> None:
        """Every item of an applied plan has come to something."""

        async def all_done() -> bool:
            return all(one.state != "pending" for one in await self.app.outcomes(plan.id))

        await until(all_done)

    async def touched(self, plan: Plan) -> set[UUID]:
        """The sagas whose log says that this plan did something to them, or tried."""
        lines = await self.app.acts(ActsFilter(limit=1_000))
        ours = {str(saga) for saga in (await _messages(self.app, plan))}
        return {line.saga for line in lines if str(loaded(line.data or plan.args)["message"]) in ours}


async def _messages(app: Orchestrator, plan: Plan) -> set[UUID]:
    """Every message in any inbox that came from this plan."""
    found: set[UUID] = set()
    async for row in app.store.sagas_whole():
        for message in await app.store.messages(row.record.id):
            if message.kind == "act" and loaded(message.data)["plan"] == str(plan.id):
                found.add(message.id)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """Somebody who selects, plans and applies, while other things go on before and between."""

    filter: str
    actor: Actor
    verb: Verb
    before: list[str]
    between: list[str]
    glass: bool


TRIES = st.builds(
    Try, filter=FILTERS, actor=ACTORS, verb=VERBS, before=MOVES, between=MOVES, glass=st.booleans()
)


async def play(tried: Try) -> None:
    """Select, plan and apply, while others go on; then compare."""
    async with await Orchestrator.open("sqlite://", project=Project.of(Ask, Fill), accept_loss=True) as app:
        worker = Worker(
            app.store,
            app.project.flows,
            {"box": Box},
            settings=WorkerSettings(),
            externals=services(Town()),
        )
        async with running(worker):
            hour = Hour(app)
            for _ in range(2):
                await hour.arrive()
            await _acted(hour, tried)


async def _acted(hour: Hour, tried: Try) -> None:
    app, actor = hour.app, tried.actor
    try:
        chosen = await app.select(tried.filter, actor)
        await hour.happen(tried.before)
        plan = await app.plan(Action(verb=tried.verb, selection=chosen.id), actor)
    except (InputError, Forbidden) as refused:
        event(f"no plan: {type(refused).__name__}")
        return
    assert {item.saga for item in plan.items} == set(chosen.sagas)
    await hour.happen(tried.between)
    try:
        said = {"reason": "it has to be done", "confirm": confirmation_of(plan)}
        applied = await app.apply(plan.id, actor, break_glass=tried.glass, **said)
    except (Conflict, Forbidden, NotConfirmed) as refused:
        event(f"not applied: {type(refused).__name__}")
        assert await _messages(app, plan) == set()
        assert (await app.plan_of(plan.id)).status is not PlanStatus.APPLIED
        return
    event("applied")
    await hour.over(applied)
    shown = {item.saga for item in plan.touches}
    assert await hour.touched(plan) == shown
    assert all(actor.may(role_for(plan.tier), item.definition) for item in plan.touches)
    assert {one.saga for one in await app.outcomes(plan.id) if one.state == "done"} <= shown


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tried=TRIES)
def test_what_a_plan_shows_is_what_applying_it_touches(tried: Try) -> None:
    asyncio.run(play(tried))
