"""`POST /v1/dry-runs`, and the report by its address."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from sagacity.definition.project import Project
from sagacity.dry.report import read_report
from sagacity.model.views import SagaView
from sagacity.orchestrator import Orchestrator
from sagacity.runtime.worker import Worker
from sagacity.testing import mocked, running, settled
from sagacity.web.api import create_app
from sagacity.web.guard.settings import WebSettings
from sagacity.web.rehearsals import MANY
from tests.dry.flows import Prices, Sale, Theatre


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[Orchestrator]:
    url = f"sqlite:///{tmp_path}/live.db"
    async with await Orchestrator.open(url, project=Project.of(Sale), accept_loss=True) as app:
        yield app


def talking(app: Orchestrator, settings: WebSettings | None = None) -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(app=create_app(app, settings=settings))
    return httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=100)


@pytest.fixture
async def client(app: Orchestrator) -> AsyncIterator[httpx2.AsyncClient]:
    async with talking(app) as one:
        yield one


async def lived(app: Orchestrator, show: str, *, ends: bool = True) -> SagaView:
    """A real sale, sold or left waiting for its consent."""
    worker = Worker(app.store, app.project.flows, app.project.participants, externals=mocked(Theatre, Prices))
    async with running(worker):
        handle = await app.start(Sale, {"show": show})
        view = await settled(app, handle.id)
        if ends:
            await app.signal(handle.id, "manager", {"approved": True})
            view = await settled(app, handle.id)
    return view


async def test_many_inputs_are_played_by_one_call_and_told_in_a_line_each(client: httpx2.AsyncClient) -> None:
    body = {"definition": "Sale", "inputs": [{"show": "lear"}, {"sow": "a typing error"}, {"show": "faust"}]}
    answer = await client.post("/v1/dry-runs", json=body)
    assert answer.status_code == 201, answer.text
    told = answer.json()
    assert (told["ok"], told["ends"]) == (False, {"would commit": 2, "could not be played": 1})
    first, wrong, last = told["items"]
    assert [one["key"] for one in (first, wrong, last)] == ["lear", None, "faust"]
    assert "sow" in wrong["error"]
    report = (await client.get(f"/v1/dry-runs/{last['run']}")).json()
    assert (report["key"], report["verdict"]) == ("faust", last["verdict"])
    assert (await client.get("/v1/sagas")).json()["items"] == []


async def test_a_real_saga_is_played_again_and_compared_over_http(
    app: Orchestrator, client: httpx2.AsyncClient
) -> None:
    ended, open_ = await lived(app, "lear"), await lived(app, "faust", ends=False)
    same = await client.post("/v1/dry-runs", json={"definition": "Sale", "against": "lear"})
    assert same.status_code == 201, same.text
    told = same.json()
    assert (told["ok"], told["real"], told["up_to"]) == (True, str(ended.id), None)
    assert told["points"] == {"path": 5, "changes": 1, "calls": 1, "notices": 1}
    assert (await client.get(same.headers["location"])).json()["run"] == told["dry"]
    running_ = await client.post("/v1/dry-runs", json={"definition": "Sale", "against": str(open_.id)})
    assert running_.json()["up_to"] == "it is waiting in booked, for consent"
    other = {"definition": "Sale", "against": "lear", "faults": ["effect take_seat: refused"]}
    found = (await client.post("/v1/dry-runs", json=other)).json()
    assert not found["ok"]
    assert {"path", "changes"} <= {one["what"] for one in found["differences"]}


async def test_the_newest_real_sagas_are_played_again_over_http(
    app: Orchestrator, client: httpx2.AsyncClient
) -> None:
    for show in ("lear", "faust"):
        await lived(app, show)
    await lived(app, "hamlet", ends=False)
    answer = await client.post("/v1/dry-runs", json={"definition": "Sale", "shadow": 5})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["ok"], told["same"], told["differ"]) == (True, 2, 0), "those that have ended"
    assert await app.store.beside("dry").heads() == [], "they are not kept"


async def test_with_a_dry_outlet_what_is_rehearsed_over_http_waits_for_it(app: Orchestrator) -> None:
    async with talking(app, WebSettings(dry_outlet=True)) as client:
        for body in ({"input": {"show": "a"}}, {"inputs": [{"show": "b"}, {"show": "c"}]}):
            answer = await client.post("/v1/dry-runs", json={"definition": "Sale", **body})
            assert answer.status_code == 201, answer.text
    assert (await app.store.beside("dry").gauges()).unsent == 3
    assert (await app.store.gauges()).unsent == 0


async def test_a_dry_run_over_http_is_stored_and_linked(client: httpx2.AsyncClient) -> None:
    body = {"definition": "Sale", "input": {"show": "lear"}, "faults": ["effect take_seat: refused"]}
    answer = await client.post("/v1/dry-runs", json=body)
    assert answer.status_code == 201, answer.text
    assert answer.json()["verdict"] == "would roll back"
    again = await client.get(answer.headers["location"])
    assert again.json() == answer.json()
    assert read_report(again.text).text() == (await client.get(f"{answer.headers['location']}?text=1")).text
    assert (await client.get("/v1/sagas")).json()["items"] == []


async def test_what_cannot_be_rehearsed_is_a_problem(client: httpx2.AsyncClient) -> None:
    for body, status in (
        ({"definition": "Nothing", "input": {}}, 404),
        ({"definition": "Sale", "input": {"shoe": "lear"}}, 422),
        ({"definition": "Sale", "input": {"show": "x"}, "faults": ["no such fault"]}, 422),
        ({"definition": "Sale", "input": {"show": "x"}, "dry": True}, 422),
        ({"definition": "Sale", "input": {"show": "x"}, "script": {"signals": 3}}, 422),
        ({"definition": "Sale"}, 422),
        ({"definition": "Sale", "input": {"show": "x"}, "inputs": [{"show": "y"}]}, 422),
        ({"definition": "Sale", "inputs": []}, 422),
        ({"definition": "Sale", "inputs": [{"show": str(n)} for n in range(MANY + 1)]}, 422),
        ({"definition": "Sale", "inputs": [{"show": "x"}], "key": "x"}, 422),
        ({"definition": "Sale", "shadow": 0}, 422),
        ({"definition": "Sale", "shadow": MANY + 1}, 422),
        ({"definition": "Sale", "shadow": 5}, 404),
        ({"definition": "Sale", "against": "nobody"}, 404),
        ({"definition": "Sale", "input": {"show": "x"}, "faults": ["a"] * (MANY + 1)}, 422),
    ):
        answer = await client.post("/v1/dry-runs", json=body)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), (
            body,
            answer.text,
        )
    assert (await client.get("/v1/dry-runs/01a1fe4e-3fb4-73bb-b8ed-835acc51eb4a")).status_code == 404
    described = (await client.get("/v1/openapi.json")).json()
    assert {"/v1/dry-runs", "/v1/dry-runs/{run}"} <= set(described["paths"])
