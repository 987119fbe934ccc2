"""Whoever is narrowed to some flows: what of the others touches theirs has no name, in no face (S6, S30)."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sagacity.definition.project import Project
from sagacity.model.operating import Action, Actor, Role, Verb
from sagacity.model.record import Status, WaitsFor
from sagacity.orchestrator import Orchestrator
from sagacity.runtime.settings import WorkerSettings
from sagacity.runtime.worker import Worker
from sagacity.testing import running, settled, until
from tests.edges.guarded import NO_ID, Guarded
from tests.runtime.flows import Ask, Box, Fill
from tests.runtime.outside import Town, services

ROOT = Actor(id="local:root", roles=frozenset({Role.ADMIN}))
SECRET = "the-key-of-another"
"""The business key of the foreign saga; it names the box that both lock."""


@pytest.fixture
async def behind(tmp_path: Path) -> AsyncIterator[tuple[Guarded, str, dict[str, str]]]:
    """A saga of Ask has a box, and one of Fill waits for it; the token is for Fill only."""
    url = f"sqlite:///{tmp_path}/two.db"
    async with await Orchestrator.open(url, project=Project.of(Ask, Fill), accept_loss=True) as sagas:
        worker = Worker(
            sagas.store,
            sagas.project.flows,
            {"box": Box},
            settings=WorkerSettings(),
            externals=services(Town()),
        )
        async with running(worker):
            ask = await sagas.start(Ask, {"name": SECRET})
            assert (await settled(sagas, ask.id)).status is Status.WAITING
            fill = await sagas.start(Fill, {"name": "mine", "box": SECRET})

            async def queued() -> bool:
                return (await sagas.show(fill.id)).waits_for is WaitsFor.LOCK

            await until(queued)
            guarded = Guarded(sagas)
            token = await guarded.token("filler", Role.ADMIN, definitions=["Fill"], kind="person")
            yield guarded, token, {"ask": str(ask.id), "fill": str(fill.id)}


async def test_who_holds_a_lock_that_ones_own_saga_waits_for_has_no_name(
    behind: tuple[Guarded, str, dict[str, str]],
) -> None:
    guarded, token, ids = behind
    unseen = "a saga you may not see"
    async with guarded.caller(token) as client:
        page = await client.get(f"/sagas/{ids['fill']}")
        assert page.status_code == 200
        assert f"{unseen}</span> holds box:" in page.text
        for path in (f"/sagas/{ids['fill']}", "/locks", "/", "/v1/locks", f"/v1/locks?object=box:{SECRET}"):
            text = (await client.get(path)).text
            assert ids["ask"] not in text, path
            assert f">{SECRET}<" not in text, path
            assert "Ask" not in text, path
            assert (unseen in text) == (not path.startswith("/v1") and path != "/"), path
        places = (await client.get("/v1/locks")).json()["items"]
        assert [(one["saga"], one["definition"], one["key"]) for one in places] == [
            ("00000000-0000-0000-0000-000000000000", None, None),
            (ids["fill"], "Fill", "mine"),
        ]
        one = (await client.get(f"/v1/objects/box/{SECRET}")).json()
        assert ids["ask"] not in str(one)
        assert one["in_transaction"] is True


async def test_who_has_a_freed_lock_next_has_no_name(behind: tuple[Guarded, str, dict[str, str]]) -> None:
    guarded, _, ids = behind
    async with guarded.caller(await guarded.token("root", Role.ADMIN, kind="person")) as client:
        made = await client.post("/v1/plans", json={"verb": "cancel", "sagas": [ids["ask"]]})
        plan = made.json()["plan"]
        assert "Fill mine has it next" in plan["items"][0]["locks"][0]
    async with guarded.caller(
        await guarded.token("asker", Role.ADMIN, definitions=["Ask"], kind="person")
    ) as client:
        for path in (f"/v1/plans/{plan['id']}", f"/plans/{plan['id']}", "/v1/plans"):
            text = (await client.get(path)).text
            assert "somebody has it next" in text, path
            assert "mine" not in text, path
            assert "Fill" not in text, path


async def test_definitions_that_are_not_ones_own_are_on_no_page(
    behind: tuple[Guarded, str, dict[str, str]],
) -> None:
    guarded, token, _ = behind
    async with guarded.caller(token) as client:
        for path in ("/definitions", "/dry-runs", "/sagas", "/"):
            text = (await client.get(path)).text
            assert "Ask" not in text, path
        assert ">Fill<" in (await client.get("/definitions")).text


async def test_the_console_answers_for_what_is_foreign_as_for_what_is_missing(
    behind: tuple[Guarded, str, dict[str, str]],
) -> None:
    guarded, token, ids = behind
    foreign = await guarded.sagas.plan(
        Action(verb=Verb.CANCEL, sagas=((await guarded.sagas.resolve(ids["ask"])),)), ROOT
    )
    chosen = await guarded.sagas.select("type:Ask", ROOT)
    calls: list[tuple[str, str, dict[str, str]]] = [
        ("GET", "/sagas/{saga}/acts/cancel", {}),
        ("POST", "/sagas/{saga}/acts/cancel", {"q": "x"}),
        ("GET", "/sagas/{saga}", {}),
        ("POST", "/plans", {"verb": "cancel", "saga": "{saga}"}),
        *[("POST", f"/plans/{{plan}}/{verb}", {"reason": "a good reason"}) for verb in _DECISIONS],
        ("GET", "/plans/{plan}", {}),
    ]
    async with guarded.caller(token) as client:
        for method, path, form in calls:
            answers = []
            for saga, plan in ((ids["ask"], str(foreign.id)), (NO_ID, NO_ID)):
                said = {name: text.format(saga=saga) for name, text in form.items()}
                where = path.format(saga=saga, plan=plan)
                answer = await (client.post(where, data=said) if method == "POST" else client.get(where))
                assert answer.status_code == 404, (method, path, answer.text)
                answers.append(answer.text.replace(saga, "ID").replace(plan, "ID"))
            assert answers[0] == answers[1], (method, path)
        through = {"verb": "cancel", "selection": str(chosen.id)}
        assert (await client.post("/v1/plans", json=through)).status_code == 404


_DECISIONS = ("apply", "approve", "reject", "acknowledge", "again")
