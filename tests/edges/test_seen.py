"""What one caller may see: S6 (tenants, definitions), S14 (secrets), S17 (hostile texts), S30 (foreign)."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import httpx2
import pytest
from pydantic import BaseModel, Field

from sagacity import (
    External,
    Participant,
    Refused,
    Saga,
    Secret,
    Stage,
    State,
    awaits,
    cancel,
    effect,
    exclusive,
    operation,
    step,
)
from sagacity.definition.project import Project
from sagacity.model.operating import Role
from sagacity.orchestrator import Orchestrator
from sagacity.web.secrets import HIDDEN, Mask, covered, found
from tests.edges.guarded import Guarded, called, filled
from tests.edges.shop import Shop
from tests.edges.test_office_api import working
from tests.edges.test_web import opened

CANARIES = {name: f"canary-{number:02}-{'x' * 6}" for number, name in enumerate("abcdefghijklmnopqrst")}


class Holder(BaseModel):
    name: str
    pin: Annotated[int, Secret]
    codes: Annotated[list[str], Secret] = []


class Card(BaseModel):
    number: Annotated[str, Secret]
    holder: Holder
    notes: dict[str, Annotated[str, Secret]] = {}
    exact: str = "0.10"
    big: int = 9007199254740993


class Proof(BaseModel):
    seal: str = Field(json_schema_extra={"secret": True})
    shown: str = "open"


class Said(BaseModel):
    word: Annotated[str, Secret]


class Bank(External):
    @effect(inverse="give_back")
    async def take(self, card: str, *, key: str) -> Proof:
        if card == CANARIES["t"]:
            raise Refused(f"the card {card} is not known")
        return Proof(seal=CANARIES["k"])

    @effect(safe_on_nothing=True)
    async def give_back(self, proof: Proof | None, *, key: str, undoes: str) -> None:
        return None

    class Mock:
        async def take(self, card: str, *, key: str) -> Proof:
            return Proof(seal="mock")

        async def give_back(self, proof: Proof | None, *, key: str, undoes: str) -> None:
            return None


class Vault(Participant, type="vault"):
    class State(BaseModel):
        last: Annotated[str, Secret] = ""
        echoed: str = ""
        big: int = 0

    @operation(inverse="forget")
    def keep(self, state: State, last: str, echoed: str) -> State:
        return Vault.State(last=last, echoed=f"kept {echoed}", big=9007199254740993)

    @operation(inverse="keep")
    def forget(self, state: State, last: str, echoed: str) -> State:
        return Vault.State()


class Charge(Saga, version=1, key="id"):
    """Charges a card; most of what it knows is nobody's to read."""

    class Input(BaseModel):
        id: str
        card: Card
        fallback: Annotated[str | None, Secret] = None

    asked = State(initial=True)
    charged = State()
    told = State()
    done = State(final=True)

    charge = asked.to(charged)
    tell = charged.to(told)
    close = told.to(done)

    def participants(self, given: Input) -> Any:
        yield exclusive("vault", given.id)

    @step(charge, undo=Bank.give_back)
    async def take(self, given: Input, bank: Bank) -> Proof:
        return await bank.take(given.card.number)

    heard = awaits(tell, signal="said", data=Said, within=timedelta(days=1), otherwise=cancel)

    @step(close)
    def keep(self, given: Input, proof: Proof, stage: Stage) -> None:
        stage(Vault, given.id).keep(given.card.number, proof.seal)


# --- S14 ----------------------------------------------------------------------------------------------

PIN = 90210777
CARD = {
    "number": CANARIES["a"],
    "holder": {"name": "Ada", "pin": PIN, "codes": [CANARIES["b"], CANARIES["c"]]},
    "notes": {"one": CANARIES["d"], "two": CANARIES["e"]},
}


@pytest.fixture
async def vault(tmp_path: Path) -> AsyncIterator[Guarded]:
    async with (
        await Orchestrator.open(
            f"sqlite:///{tmp_path}/vault.db", project=Project.of(Charge), accept_loss=True
        ) as sagas,
        working(sagas),
    ):
        yield Guarded(sagas)


async def reached(client: httpx2.AsyncClient, ref: str, *statuses: str) -> dict[str, Any]:
    for _ in range(2_000):
        one = (await client.get(f"/v1/sagas/{ref}")).json()
        if one.get("status") in statuses:
            found: dict[str, Any] = one
            return found
        await asyncio.sleep(0.01)
    raise AssertionError(f"{ref} never became {statuses}: {one}")


def sinks(saga: str) -> list[str]:
    """Everything of the API that shows something of a saga."""
    of_one = ("", "/history", "/outcome", "/preview")
    return [
        *(f"/v1/sagas/{saga}{part}" for part in of_one),
        "/v1/sagas",
        "/v1/objects/vault/c1",
        "/v1/objects/vault/c1/history",
        "/v1/locks",
        "/v1/attention",
        "/v1/audit",
        "/v1/plans",
        "/v1/operations",
        f"/sagas/{saga}",
        f"/sagas/{saga}/lines",
        "/sagas",
        "/",
    ]


async def test_s14_what_is_marked_secret_is_found_in_no_answer(
    vault: Guarded, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = await vault.token("ada", Role.ADMIN, kind="person")
    async with vault.caller(secret) as client:
        body = {"definition": "Charge", "input": {"id": "c1", "card": CARD, "fallback": CANARIES["f"]}}
        assert (await client.post("/v1/sagas", json=body)).status_code == 201
        await reached(client, "c1", "waiting")
        signal = {"name": "said", "data": {"word": CANARIES["m"]}}
        assert (await client.post("/v1/sagas/c1/signals", json=signal)).status_code == 202
        one = await reached(client, "c1", "committed")
        refused = {"definition": "Charge", "input": {"id": "c2", "card": CARD | {"number": CANARIES["t"]}}}
        assert (await client.post("/v1/sagas", json=refused)).status_code == 201
        other = await reached(client, "c2", "rolled_back")
        plan = await client.post("/v1/plans", json={"verb": "rollback", "sagas": ["c1"]})
        said = [plan.text]
        for path in [*sinks(one["id"]), *sinks(other["id"])]:
            answer = await client.get(path)
            assert answer.status_code in (200, 409), (path, answer.text)
            said.append(answer.text)
        wrong = {"definition": "Charge", "input": {"id": 5, "card": CARD, "fallback": 7}}
        said.append((await client.post("/v1/sagas", json=wrong)).text)
        twice = {"definition": "Charge", "input": {"id": "c1", "card": CARD}}
        said.append((await client.post("/v1/sagas", json=twice)).text)
        rehearsed = {"definition": "Charge", "input": {"id": "c9", "card": CARD, "fallback": CANARIES["g"]}}
        report = await client.post("/v1/dry-runs", json=rehearsed)
        assert report.status_code == 201, report.text
        run = report.headers["location"]
        for answer in (report, await client.get(run), await client.get(f"{run}?text=true")):
            assert answer.status_code in (200, 201)
            said.append(answer.text)
        others: list[dict[str, Any]] = [
            {"against": "c1"},
            {"against": "c1", "input": {"id": "c1", "card": CARD | {"number": "canary-x"}}},
            {"shadow": 5},
            {"inputs": [rehearsed["input"], wrong["input"]]},
        ]
        for body in others:
            played = await client.post("/v1/dry-runs", json={"definition": "Charge", **body})
            assert played.status_code in (200, 201), played.text
            said.append(played.text)
        said.append(caplog.text)
        for text in said:
            assert "canary" not in text, text
            assert str(PIN) not in text, text
        assert one["input"]["card"]["number"] == HIDDEN
        assert one["input"]["card"]["holder"] == {"name": "Ada", "pin": HIDDEN, "codes": HIDDEN}
        assert one["results"]["take"] == {"seal": HIDDEN, "shown": "open"}
        assert HIDDEN in other["reason"]


async def test_s14_what_stands_beside_a_secret_keeps_every_digit(vault: Guarded) -> None:
    async with vault.caller(await vault.token("eye", Role.OPERATOR)) as client:
        body = {"definition": "Charge", "input": {"id": "c1", "card": CARD}}
        assert (await client.post("/v1/sagas", json=body)).status_code == 201
        await reached(client, "c1", "waiting")
        text = (await client.get("/v1/sagas/c1")).text
        assert '"exact":"0.10"' in text
        assert '"big":9007199254740993' in text
        await client.post("/v1/sagas/c1/signals", json={"name": "said", "data": {"word": "w"}})
        await reached(client, "c1", "committed")
        state = (await client.get("/v1/objects/vault/c1")).text
    assert f'"state":{{"big":9007199254740993,"echoed":"kept {HIDDEN}","last":"{HIDDEN}"}}' in state


async def test_s14_only_an_admin_who_asks_sees_secrets_and_that_is_told(
    vault: Guarded, caplog: pytest.LogCaptureFixture
) -> None:
    root = await vault.token("ada", Role.ADMIN)
    async with vault.caller(root) as admin:
        body = {"definition": "Charge", "input": {"id": "c1", "card": CARD}}
        assert (await admin.post("/v1/sagas", json=body)).status_code == 201
        await reached(admin, "c1", "waiting")
        assert "secrets.shown" not in caplog.text
        shown = await admin.get("/v1/sagas/c1?secrets=show")
        assert shown.json()["input"]["card"]["number"] == CANARIES["a"]
        [told] = [record for record in caplog.records if record.message == "secrets.shown"]
        assert told.fields == {"actor": "token:ada", "path": "/v1/sagas/c1"}  # type: ignore[attr-defined]
        assert (await admin.get("/v1/sagas/c1?secrets=yes")).status_code == 422
    for role in (Role.VIEWER, Role.OPERATOR, Role.SENIOR, Role.APPROVER):
        async with vault.caller(await vault.token(f"t-{role}", role)) as client:
            for path in ("", "/history", "/outcome"):
                assert (await client.get(f"/v1/sagas/c1{path}?secrets=show")).status_code == 403


async def test_s14_of_a_flow_that_is_not_known_here_nothing_stored_is_shown(vault: Guarded) -> None:
    await vault.sagas.start("Charge", {"id": "c1", "card": CARD})
    async with vault.caller(await vault.token("eye", Role.VIEWER)) as client:
        await reached(client, "c1", "waiting")
        vault.sagas.project = Project.of()
        one = (await client.get("/v1/sagas/c1")).json()
        story = await client.get("/v1/sagas/c1/history")
    assert one["input"] == HIDDEN
    assert set(one["results"].values()) == {HIDDEN}
    assert "canary" not in story.text


def test_what_is_marked_is_found_and_covered_in_every_kind_of_container() -> None:
    class Deep(BaseModel):
        some: list[Card] | None = None
        by_name: dict[str, Card] = {}
        pair: tuple[Annotated[int, Secret], int] = (0, 0)

    value = {"some": [CARD], "by_name": {"x": CARD}, "pair": [123456, 7]}
    secrets = set(map(str, found(Deep, value)))
    assert {str(PIN), CANARIES["a"], CANARIES["b"], CANARIES["d"], "123456"} <= secrets
    text = json.dumps(covered(Deep, value), ensure_ascii=False)
    assert "canary" not in text
    assert str(PIN) not in text
    assert "Ada" in text


def test_a_mask_hides_whole_values_and_parts_of_texts_and_leaves_short_ones() -> None:
    mask = Mask(["long secret", "secret", 1234567, "abc", True, 12])
    assert mask.text("a long secret and a secret") == f"a {HIDDEN} and a {HIDDEN}"
    assert mask.value([1234567, 12345678, "abc", True, 12, {"secret": 1}]) == [
        HIDDEN, 12345678, "abc", True, 12, {HIDDEN: 1},
    ]  # fmt: skip


# --- S6 and S30 -----------------------------------------------------------------------------------------


def refs(path: str) -> bool:
    return "{ref}" in path or "{saga}" in path


async def test_s6_the_tenant_comes_from_the_credential_and_from_nothing_else(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/two.db"
    async with (
        await Orchestrator.open(url, project=Project.of(Charge), tenant="a", accept_loss=True) as of_a,
        await Orchestrator.open(url, project=Project.of(Charge), tenant="b", accept_loss=True) as of_b,
    ):
        mine, theirs = Guarded(of_a), Guarded(of_b)
        foreign = await of_b.start("Charge", {"id": "c1", "card": CARD})
        ids = {"ref": str(foreign.id), "saga": str(foreign.id)}
        token = await mine.token("ada", Role.ADMIN, kind="person")
        async with theirs.caller(token) as stranger:
            assert (await stranger.get("/v1/sagas")).status_code == 401, (
                "a token of another tenant is no token"
            )
        named = {"x-tenant": "b", "tenant": "b", "x-sagacity-tenant": "b"}
        async with mine.caller(token) as client:
            for method, path in mine.calls():
                if path.endswith("/events") or not path.startswith("/v1"):
                    continue
                for more in ({}, {"headers": named, "params": {"tenant": "b"}}):
                    answer = await called(client, method, filled(path, **ids), **more)
                    if not refs(path):
                        assert str(foreign.id) not in answer.text, path
                    elif "tokens" not in path:
                        assert answer.status_code in (404, 422), (path, answer.text)
            acts = {
                f"/v1/sagas/{foreign.id}/cancel": {"reason": "not mine at all"},
                f"/v1/sagas/{foreign.id}/signals": {"name": "said"},
                "/v1/signals": {"name": "said", "saga": str(foreign.id)},
                "/v1/plans": {"verb": "cancel", "sagas": [str(foreign.id)]},
            }
            for path, body in acts.items():
                assert (await client.post(path, json=body)).status_code == 404, path
        assert len(await of_b.store.messages(foreign.id)) == 1


@pytest.fixture
async def scoped(shop: Shop) -> AsyncIterator[tuple[Guarded, str, dict[str, str]]]:
    """An API, a token for orders only, and the ids of one order and one sale."""
    async with opened(shop) as sagas, working(sagas):
        guarded = Guarded(sagas)
        order = await sagas.start("Order", {"order_id": "o1", "amount": "1"})
        sale = await sagas.start("Sale", {"sale_id": "s1", "amount": "1"})
        await sagas.outcome(sale.id, timeout=timedelta(seconds=20))
        token = await guarded.token("orders", Role.ADMIN, definitions=["Order"], kind="person")
        async with guarded.caller(token) as client:
            await reached(client, "o1", "waiting")
        yield guarded, token, {"order": str(order.id), "sale": str(sale.id)}


async def test_s6_what_is_outside_the_callers_definitions_does_not_exist_for_them(
    scoped: tuple[Guarded, str, dict[str, str]],
) -> None:
    guarded, token, ids = scoped
    async with guarded.caller(token) as client:
        for path in ("/v1/sagas", "/v1/sagas?definition=Sale", "/v1/locks", "/v1/counts?definition=Sale"):
            assert ids["sale"] not in (await client.get(path)).text
        assert [one["key"] for one in (await client.get("/v1/sagas")).json()["items"]] == ["o1"]
        assert sum((await client.get("/v1/counts")).json()["counts"].values()) == 1
        for page in (f"/sagas/{ids['sale']}", f"/sagas/{ids['sale']}/lines", "/sagas/s1"):
            assert (await client.get(page)).status_code == 404, page
        assert ids["sale"] not in (await client.get("/sagas")).text
        assert (await client.get("/v1/objects/books/s1")).status_code == 404
        assert (await client.get("/v1/objects/books/s1/history")).json()["items"] == []
        assert (await client.get("/v1/objects/shelf/o1")).status_code == 200
        started = await client.post("/v1/sagas", json={"definition": "Sale", "input": {"sale_id": "x"}})
        assert started.status_code == 404
        assert "Sale" not in started.json()["detail"].partition("known:")[2]
        dry = await client.post("/v1/dry-runs", json={"definition": "Sale", "input": {"sale_id": "x"}})
        assert dry.status_code == 404
        for ref in ("s1", ids["sale"]):
            dry = await client.post("/v1/dry-runs", json={"definition": "Order", "against": ref})
            assert dry.status_code == 404
        chosen = await client.post("/v1/selections", json={"filter": "status:committed"})
        assert chosen.json()["sagas"] == []
    root = await guarded.token("root", Role.ADMIN, kind="person")
    async with guarded.caller(root) as all_of_it, guarded.caller(token) as client:
        plan = (await all_of_it.post("/v1/plans", json={"verb": "rollback", "sagas": ["s1"]})).json()["plan"]
        assert (await client.get(f"/v1/plans/{plan['id']}")).status_code == 404
        for verb in ("apply", "approve", "reject", "acknowledge"):
            answer = await client.post(f"/v1/plans/{plan['id']}/{verb}", json={})
            assert answer.status_code == 404, verb
        assert (await client.get("/v1/plans")).json()["items"] == []
        picked = (await all_of_it.post("/v1/selections", json={"filter": "type:Sale"})).json()
        assert ids["sale"] in picked["sagas"]
        through = await client.post("/v1/plans", json={"verb": "rollback", "selection": picked["id"]})
        assert through.status_code == 404
        assert ids["sale"] not in through.text


def without(answer: httpx2.Response, *ids: str) -> str:
    text = f"{answer.status_code} {answer.text}"
    for id in ids:
        text = text.replace(id, "ID")
    return text


async def test_s30_foreign_and_missing_ids_give_the_same_404_in_the_same_time(
    scoped: tuple[Guarded, str, dict[str, str]],
) -> None:
    guarded, token, ids = scoped
    missing = "019caefd-6f00-7000-8000-00000000abcd"
    took: dict[str, list[float]] = {"foreign": [], "missing": []}
    async with guarded.caller(token) as client:
        for method, path in guarded.calls():
            if not path.startswith("/v1/sagas/{ref}"):
                continue
            body = {"name": "x"} if "signals" in path else {"reason": "a good reason"}
            more: dict[str, Any] = {"json": body} if method == "POST" else {}
            foreign = await client.request(method, filled(path, ref=ids["sale"]), **more)
            absent = await client.request(method, filled(path, ref=missing), **more)
            assert foreign.status_code == 404, (path, foreign.text)
            assert without(foreign, ids["sale"]) == without(absent, missing), path
        key = await client.get("/v1/sagas/s1")
        assert without(key, "s1") == without(await client.get("/v1/sagas/s9"), "s9")
        for _ in range(60):
            for kind, id in (("foreign", ids["sale"]), ("missing", missing)):
                began = time.perf_counter()
                await client.get(f"/v1/sagas/{id}")
                took[kind].append(time.perf_counter() - began)
    # The quickest of each: what the call itself takes, whatever else this machine does meanwhile.
    assert abs(min(took["foreign"]) - min(took["missing"])) < 0.005


# --- S17 ----------------------------------------------------------------------------------------------

HOSTILE = (Path(__file__).with_name("hostile.txt")).read_text(encoding="utf-8").splitlines()
assert len(HOSTILE) >= 50


async def test_s17_hostile_texts_are_looked_for_and_not_obeyed(
    scoped: tuple[Guarded, str, dict[str, str]],
) -> None:
    guarded, _, _ = scoped
    root = await guarded.token("root", Role.ADMIN, kind="person")
    before = await guarded.sagas.counts()
    async with guarded.caller(root) as client:
        for text in HOSTILE:
            answers = [
                await client.get("/v1/sagas", params={"key": text, "definition": text}),
                await client.get("/v1/sagas", params={"cursor": text}),
                await client.get("/v1/counts", params={"definition": text}),
                await client.get("/v1/locks", params={"object": text}),
                await client.get("/v1/plans", params={"made_by": text}),
                await client.get("/v1/audit", params={"cursor": text, "since": text}),
                await client.post("/v1/selections", json={"filter": text}),
                await client.post("/v1/plans", json={"verb": "cancel", "sagas": [text], "args": text}),
                await client.post("/v1/signals", json={"name": text, "key": text, "definition": text}),
                await client.post("/v1/tokens", json={"name": text[:64], "roles": ["viewer"]}),
            ]
            for answer in answers:
                assert answer.status_code < 500, (text, answer.text)
                for leak in ("sqlite", "SELECT *", "syntax error", "Traceback", "sgc_"):
                    assert (
                        leak not in answer.text.replace(json.dumps(text)[1:-1], "")
                        or answer.status_code == 201
                    )
    assert await guarded.sagas.counts() == before
