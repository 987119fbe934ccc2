"""Operators over HTTP: plan, apply, approve; idempotency; what is shown to whom (S25); events."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from sagacity.model.operating import Role
from sagacity.orchestrator import Orchestrator
from sagacity.runtime.worker import Worker
from sagacity.web.server import hosted
from tests.edges.guarded import Guarded
from tests.edges.shop import Shop
from tests.edges.test_web import opened

JSON = dict[str, Any]


class Desk:
    """A closed API with a worker behind it, and one client per person."""

    def __init__(self, guarded: Guarded, clients: dict[str, httpx2.AsyncClient]) -> None:
        self.guarded, self.sagas = guarded, guarded.sagas
        self.clients = clients

    async def post(self, who: str, path: str, body: JSON | None = None, **headers: str) -> httpx2.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.clients[who].post(f"/v1{path}", json=body or {}, headers=named)

    async def get(self, who: str, path: str) -> httpx2.Response:
        return await self.clients[who].get(f"/v1{path}")

    async def started(self, key: str, definition: str = "Order") -> str:
        field = "sale_id" if definition in ("Sale", "Jammed") else "order_id"
        more = {} if definition == "Jammed" else {"amount": "9.90"}
        handle = await self.sagas.start(definition, {field: key, **more})
        await self.until(
            str(handle.id), lambda one: one["status"] not in ("pending", "running", "compensating")
        )
        return str(handle.id)

    async def until(self, ref: str, there: Any) -> JSON:
        for _ in range(2_000):
            answer = await self.get("ada", f"/sagas/{ref}")
            if answer.status_code == 200 and there(answer.json()):
                found: JSON = answer.json()
                return found
            await asyncio.sleep(0.01)
        raise AssertionError(f"{ref} never came there: {answer.text}")

    async def planned(self, who: str, verb: str, *refs: str, **more: Any) -> JSON:
        answer = await self.post(who, "/plans", {"verb": verb, "sagas": list(refs), **more})
        assert answer.status_code == 201, answer.text
        found: JSON = answer.json()
        return found


PEOPLE = {
    "ada": (Role.ADMIN,),
    "olga": (Role.OPERATOR,),
    "sena": (Role.SENIOR,),
    "paul": (Role.APPROVER,),
    "vera": (Role.VIEWER,),
}


@asynccontextmanager
async def working(sagas: Orchestrator) -> AsyncIterator[None]:
    worker = Worker(sagas.store, sagas.project.flows, sagas.project.participants)
    running = asyncio.create_task(worker.run())
    await worker.ready.wait()
    try:
        yield
    finally:
        await worker.stop(grace=timedelta(seconds=5))
        await running


@pytest.fixture
async def desk(shop: Shop) -> AsyncIterator[Desk]:
    async with opened(shop) as sagas, working(sagas):
        guarded = Guarded(sagas)
        clients = {}
        for name, roles in PEOPLE.items():
            secret = await guarded.token(name, *roles, kind="person")
            clients[name] = httpx2.AsyncClient(
                transport=httpx2.ASGITransport(app=guarded.app),
                base_url="http://127.0.0.1",
                headers={"authorization": f"Bearer {secret}"},
            )
        try:
            yield Desk(guarded, clients)
        finally:
            for client in clients.values():
                await client.aclose()


def is_problem(answer: httpx2.Response, status: int, kind: str) -> JSON:
    assert answer.status_code == status, answer.text
    found: JSON = answer.json()
    assert found["type"] == f"urn:sagacity:problem:{kind}", found
    return found


async def test_a_plan_shows_what_it_does_and_apply_does_that_and_the_audit_says_who(desk: Desk) -> None:
    saga = await desk.started("o1")
    made = await desk.planned("olga", "cancel", "o1")
    plan = made["plan"]
    assert [item["saga"] for item in plan["items"]] == [saga]
    assert (plan["made_by"], plan["tier"], plan["status"]) == ("token:olga", 2, "open")
    assert (made["asked"], made["outcomes"]) == (["reason"], [])
    assert (await desk.get("vera", f"/sagas/{saga}")).json()["status"] == "waiting", "a plan changes nothing"
    short = await desk.post("olga", f"/plans/{plan['id']}/apply", {"reason": "short"})
    assert is_problem(short, 428, "not-confirmed")["missing"] == ["reason"]
    done = await desk.post(
        "olga", f"/plans/{plan['id']}/apply", {"reason": "the customer called", "ticket": "T-1"}
    )
    assert done.status_code == 200
    assert done.json()["plan"]["status"] == "applied"
    again = await desk.post("olga", f"/plans/{plan['id']}/apply", {"reason": "the customer called"})
    assert again.status_code == 200, "applying twice is applying once"
    is_problem(
        await desk.post("sena", f"/plans/{plan['id']}/apply", {"reason": "me too, please"}),
        409,
        "plan-closed",
    )
    await desk.until(saga, lambda one: one["status"] == "rolled_back")
    shown = (await desk.get("vera", f"/plans/{plan['id']}")).json()
    assert [one["state"] for one in shown["outcomes"]] == ["done"]
    [act] = (await desk.get("vera", "/audit")).json()["items"]
    assert (act["saga"], act["kind"]) == (saga, "act")
    assert act["data"]["actor"] == "token:olga"
    assert act["data"]["reason"] == "the customer called"
    [operation] = (await desk.get("vera", "/operations")).json()["items"]
    assert (operation["plan"], operation["done"], operation["pending"]) == (plan["id"], 1, 0)


async def test_s25_a_plan_whose_saga_has_moved_is_refused_and_says_what_moved(desk: Desk) -> None:
    saga = await desk.started("o1")
    plan = (await desk.planned("olga", "cancel", "o1"))["plan"]
    await desk.sagas.signal(saga_id := plan["items"][0]["saga"], "parcel.fetched")
    await desk.until(saga_id, lambda one: one["status"] == "committed")
    stale = await desk.post("olga", f"/plans/{plan['id']}/apply", {"reason": "the customer called"})
    problem = is_problem(stale, 409, "stale-plan")
    assert problem["plan"] == plan["id"]
    assert len(problem["moved"]) == 1
    assert saga in problem["moved"][0]
    assert (await desk.get("vera", "/audit")).json()["items"] == []


async def test_s25_the_second_person_is_another_one_with_the_role_and_of_the_same_plan(desk: Desk) -> None:
    saga = await desk.started("j1", "Jammed")
    made = await desk.planned("sena", "abandon", saga)
    id, confirmation = made["plan"]["id"], made["confirmation"]
    assert (made["plan"]["tier"], confirmation) == (3, "j1")
    whole = {"reason": "the drawer is gone", "confirm": confirmation}
    missing = await desk.post("sena", f"/plans/{id}/apply", {"reason": "the drawer is gone"})
    assert is_problem(missing, 428, "not-confirmed")["missing"] == ["confirmation", "approval"]
    is_problem(await desk.post("olga", f"/plans/{id}/apply", whole), 403, "forbidden")
    is_problem(await desk.post("sena", f"/plans/{id}/approve"), 403, "role")
    own = await desk.planned("ada", "abandon", saga)
    is_problem(await desk.post("ada", f"/plans/{own['plan']['id']}/approve"), 403, "forbidden")
    is_problem(await desk.post("paul", f"/plans/{id}/approve", {"hash": "0" * 64}), 409, "conflict")
    approved = await desk.post("paul", f"/plans/{id}/approve", {"hash": made["plan"]["hash"]})
    assert approved.json()["plan"]["approved_by"] == "token:paul"
    assert (await desk.post("sena", f"/plans/{id}/apply", whole)).status_code == 200
    await desk.until(saga, lambda one: one["status"] == "abandoned")


async def test_a_program_is_no_second_person(desk: Desk) -> None:
    saga = await desk.started("j1", "Jammed")
    made = await desk.planned("sena", "abandon", saga)
    robot = await desk.guarded.token("robot", Role.APPROVER)
    async with desk.guarded.caller(robot) as client:
        refused = await client.post(f"/v1/plans/{made['plan']['id']}/approve", json={})
    assert "only a person may approve" in is_problem(refused, 403, "forbidden")["detail"]


async def test_the_glass_is_broken_in_the_open_and_somebody_else_acknowledges_it(desk: Desk) -> None:
    saga = await desk.started("j1", "Jammed")
    id = (await desk.planned("sena", "abandon", saga))["plan"]["id"]
    whole = {"reason": "the drawer is gone", "confirm": "j1", "break_glass": True}
    assert (await desk.post("sena", f"/plans/{id}/apply", whole)).json()["plan"]["break_glass"] is True
    kinds = [group["kind"] for group in (await desk.get("vera", "/attention")).json()["items"]]
    assert "break_glass" in kinds
    is_problem(await desk.post("sena", f"/plans/{id}/acknowledge"), 403, "forbidden")
    assert (await desk.post("ada", f"/plans/{id}/acknowledge")).status_code == 200


async def test_a_rejected_plan_is_applied_by_nobody(desk: Desk) -> None:
    await desk.started("o1")
    id = (await desk.planned("olga", "cancel", "o1"))["plan"]["id"]
    is_problem(await desk.post("vera", f"/plans/{id}/reject"), 403, "role")
    assert (await desk.post("paul", f"/plans/{id}/reject")).json()["plan"]["status"] == "rejected"
    closed = await desk.post("olga", f"/plans/{id}/apply", {"reason": "the customer called"})
    is_problem(closed, 409, "plan-closed")


async def test_a_selection_is_resolved_once_and_newcomers_are_told_and_left_alone(desk: Desk) -> None:
    first = [await desk.started(f"o{n}") for n in range(3)]
    chosen = await desk.post("olga", "/selections", {"filter": "type:Order status:waiting"})
    assert chosen.status_code == 201, chosen.text
    assert sorted(chosen.json()["sagas"]) == sorted(first)
    late = await desk.started("late")
    plan = (await desk.planned("olga", "cancel", selection=chosen.json()["id"]))["plan"]
    assert plan["newcomers"] == 1
    assert sorted(item["saga"] for item in plan["items"]) == sorted(first)
    done = await desk.post("olga", f"/plans/{plan['id']}/apply", {"reason": "the lot is bad"})
    assert done.status_code == 200
    for saga in first:
        await desk.until(saga, lambda one: one["status"] == "rolled_back")
    assert (await desk.get("vera", f"/sagas/{late}")).json()["status"] == "waiting"


async def test_the_same_idempotency_key_is_the_same_plan_selection_and_signal(desk: Desk) -> None:
    saga = await desk.started("o1")
    body = {"verb": "cancel", "sagas": ["o1"]}
    first = await desk.post("olga", "/plans", body, idempotency_key="k1")
    again = await desk.post("olga", "/plans", body, idempotency_key="k1")
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["plan"]["id"] == again.json()["plan"]["id"]
    other = await desk.post("olga", "/plans", body | {"verb": "pause"}, idempotency_key="k1")
    is_problem(other, 409, "conflict")
    theirs = await desk.post("sena", "/plans", body, idempotency_key="k1")
    assert theirs.json()["plan"]["id"] != first.json()["plan"]["id"], "a key is its sender's own"
    picked = [
        await desk.post("olga", "/selections", {"filter": "status:waiting"}, idempotency_key="s1")
        for _ in range(2)
    ]
    assert picked[0].json() == picked[1].json()
    is_problem(
        await desk.post("olga", "/selections", {"filter": "status:stuck"}, idempotency_key="s1"),
        409,
        "conflict",
    )
    told = [
        await desk.post("olga", f"/sagas/{saga}/signals", {"name": "parcel.fetched"}, idempotency_key="m1")
        for _ in range(2)
    ]
    assert [one.json()["new"] for one in told] == [True, False]
    for key in ("", "x" * 201):
        assert (await desk.post("olga", "/plans", body, idempotency_key=key)).status_code == 422


async def test_cancel_and_retry_in_one_call_are_a_plan_within_the_callers_role(desk: Desk) -> None:
    saga = await desk.started("o1")
    is_problem(await desk.post("vera", "/sagas/o1/cancel", {"reason": "the customer called"}), 403, "role")
    is_problem(await desk.post("olga", "/sagas/o1/cancel", {"reason": "short"}), 428, "not-confirmed")
    answer = await desk.post("olga", "/sagas/o1/cancel", {"reason": "the customer called"})
    assert answer.status_code == 202
    await desk.until(saga, lambda one: one["status"] == "rolled_back")
    plan = (await desk.get("vera", f"/plans/{answer.json()['plan']}")).json()["plan"]
    assert (plan["verb"], plan["applied_by"], plan["reason"]) == (
        "cancel",
        "token:olga",
        "the customer called",
    )
    named = {"reason": "the customer called", "actor": "somebody"}
    assert (
        "`actor` cannot be given"
        in is_problem(await desk.post("olga", "/sagas/o1/cancel", named), 422, "input")["detail"]
    )


async def test_a_rollback_in_one_call_waits_for_the_second_person(desk: Desk) -> None:
    saga = await desk.started("s1", "Sale")
    body = {"reason": "goods were returned", "confirm": "s1"}
    waits = is_problem(
        await desk.post("sena", "/sagas/s1/rollback", body, idempotency_key="r1"), 428, "not-confirmed"
    )
    assert waits["missing"] == ["approval"]
    approved = await desk.post("paul", f"/plans/{waits['plan']}/approve")
    assert approved.status_code == 200
    done = await desk.post("sena", "/sagas/s1/rollback", body, idempotency_key="r1")
    assert done.status_code == 202, done.text
    undone = await desk.until(done.json()["id"], lambda one: one["status"] == "committed")
    assert undone["rolls_back"] == saga


async def test_tokens_are_issued_over_http_and_shown_once(desk: Desk) -> None:
    body = {"name": "ci", "roles": ["viewer"], "definitions": ["Sale"], "days": 1}
    is_problem(await desk.post("olga", "/tokens", body), 403, "role")
    issued = (await desk.post("ada", "/tokens", body)).json()
    async with desk.guarded.caller(issued["token"]) as client:
        assert (await client.get("/v1/whoami")).json()["definitions"] == ["Sale"]
        listed = await desk.get("ada", "/tokens")
        assert issued["token"] not in listed.text
        assert "ci" in [one["name"] for one in listed.json()["items"]]
        assert (await desk.clients["ada"].delete("/v1/tokens/ci")).json()["good"] is False
        desk.guarded.clock.move(seconds=3)
        assert (await client.get("/v1/whoami")).status_code == 401
    assert (await desk.clients["ada"].delete("/v1/tokens/ci")).status_code == 404


async def test_plans_and_the_audit_come_in_pages(desk: Desk) -> None:
    for number in range(5):
        await desk.started(f"o{number}")
        answer = await desk.post("olga", f"/sagas/o{number}/cancel", {"reason": "the customer called"})
        await desk.until(answer.json()["saga"], lambda one: one["status"] == "rolled_back")
    for path in ("/plans", "/operations", "/audit"):
        seen: list[str] = []
        cursor = ""
        for _ in range(9):
            page = (await desk.get("vera", f"{path}?limit=2{cursor}")).json()
            seen += [json.dumps(item, sort_keys=True) for item in page["items"]]
            if page["next"] is None:
                break
            cursor = f"&cursor={page['next']}"
        assert (len(seen), len(set(seen))) == (5, 5), path
        assert (await desk.get("vera", f"{path}?cursor=nonsense")).status_code == 422


# --- events -------------------------------------------------------------------------------------------


async def heard(url: str, secret: str, want: int, *, since: str | None = None) -> list[tuple[str, str, JSON]]:
    """The first `want` events as (name, id, data)."""
    headers = {"authorization": f"Bearer {secret}"} | ({"last-event-id": since} if since else {})
    found: list[tuple[str, str, JSON]] = []
    async with (
        asyncio.timeout(30),
        httpx2.AsyncClient(trust_env=False) as client,
        client.stream("GET", f"{url}/v1/events", headers=headers, timeout=30) as answer,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream")
        text = ""
        async for piece in answer.aiter_text():
            text += piece
            parts = re.findall(r"id: (.*)\nevent: (.*)\ndata: (.*)\n\n", text)
            found = [(name, id, json.loads(data)) for id, name, data in parts]
            if len(found) >= want:
                break
    return found


async def test_who_listens_hears_of_each_saga_that_moves_and_misses_nothing_in_between(desk: Desk) -> None:
    secret = await desk.guarded.token("ear", Role.VIEWER)
    narrow = await desk.guarded.token("narrow", Role.VIEWER, definitions=["Sale"])
    async with hosted(desk.sagas, settings=desk.guarded.app.state.settings) as url:
        [(name, id, _)] = await heard(url, secret, 1)
        assert name == "here"
        order = await desk.started("o1")
        sale = await desk.started("s1", "Sale")
        missed = await heard(url, secret, 3, since=id)
        assert {data["saga"] for name, _, data in missed if name == "saga"} == {order, sale}
        told = next(data for _, _, data in missed if data.get("saga") == sale)
        assert (told["definition"], told["status"], told["kinds"][0]) == ("Sale", "committed", "started")
        assert {"input", "reason", "key"} & set(told) == set()
        theirs = await heard(url, narrow, 2, since=id)
        assert [data["saga"] for name, _, data in theirs if name == "saga"] == [sale]
        listening = asyncio.create_task(heard(url, secret, 2))
        await asyncio.sleep(0.5)
        fresh = await desk.started("o2")
        assert [data.get("saga") for _, _, data in await listening][1] == fresh
        async with httpx2.AsyncClient(trust_env=False) as client:
            bad = await client.get(
                f"{url}/v1/events", headers={"authorization": f"Bearer {secret}", "last-event-id": "x.y"}
            )
        assert bad.status_code == 422


async def test_a_plan_names_sagas_that_exist(desk: Desk) -> None:
    for refs in (["nobody"], [str(uuid4())]):
        is_problem(await desk.post("olga", "/plans", {"verb": "retry", "sagas": refs}), 404, "not-found")
    is_problem(
        await desk.post("olga", "/plans", {"verb": "retry", "selection": str(uuid4())}), 404, "not-found"
    )
    is_problem(await desk.post("olga", "/plans", {"verb": "retry"}), 422, "input")
    is_problem(await desk.post("olga", "/plans", {"verb": "explode", "sagas": ["x"]}), 422, "input")
    is_problem(await desk.get("vera", f"/plans/{uuid4()}"), 404, "not-found")
