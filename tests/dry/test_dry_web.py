"""`POST /v1/dry-runs`, and the report by its address."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from sagacity.definition.project import Project
from sagacity.dry.report import read_report
from sagacity.orchestrator import Orchestrator
from sagacity.web.api import create_app
from tests.dry.flows import Sale


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    url = f"sqlite:///{tmp_path}/live.db"
    async with await Orchestrator.open(url, project=Project.of(Sale), accept_loss=True) as app:
        transport = httpx2.ASGITransport(app=create_app(app))
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as one:
            yield one


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
    ):
        answer = await client.post("/v1/dry-runs", json=body)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert (await client.get("/v1/dry-runs/01a1fe4e-3fb4-73bb-b8ed-835acc51eb4a")).status_code == 404
    described = (await client.get("/v1/openapi.json")).json()
    assert {"/v1/dry-runs", "/v1/dry-runs/{run}"} <= set(described["paths"])
