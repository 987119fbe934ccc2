"""The HTTP API on a real store: the same calls, exact numbers, and a problem document for every error."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from sagacity.definition.project import Project
from sagacity.errors import MissingExternal, SchemaAhead, StoreUnavailable
from sagacity.orchestrator import Orchestrator
from sagacity.runtime.worker import Worker
from sagacity.web.api import create_app
from sagacity.web.server import _listener, hosted
from tests.edges.shop import Shop

JSON = {"content-type": "application/json"}


class Api:
    """An API with its worker, and calls on it."""

    def __init__(self, sagas: Orchestrator, client: httpx2.AsyncClient) -> None:
        self.sagas = sagas
        self._client = client

    async def get(self, path: str, **headers: str) -> httpx2.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self._client.get(path, headers=named)

    async def post(self, path: str, body: Any, **headers: str) -> httpx2.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self._client.post(path, content=content, headers=JSON | headers)

    async def started(self, key: str, definition: str = "Sale", amount: str = "9.90") -> str:
        field = "sale_id" if definition == "Sale" else "order_id"
        answer = await self.post(
            "/v1/sagas", {"definition": definition, "input": {field: key, "amount": amount}}
        )
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    async def ended(self, ref: str) -> dict[str, Any]:
        answer = await self.get(f"/v1/sagas/{ref}/outcome?timeout=20")
        found: dict[str, Any] = answer.json()
        return found

    async def at_rest(self, ref: str) -> None:
        """Return when the saga is there and waits for somebody."""
        for _ in range(2_000):
            answer = await self.get(f"/v1/sagas/{ref}")
            moving = ("pending", "running", "compensating")
            if answer.status_code == 200 and answer.json()["status"] not in moving:
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"{ref} never came to rest")


@asynccontextmanager
async def opened(shop: Shop) -> AsyncIterator[Orchestrator]:
    project = Project.load(f"{shop.module}.py", folder=shop.folder)
    wanted = [flow.cls for name, flow in project.flows.items() if name != "Distant"]
    async with await Orchestrator.open(
        "sqlite:///sagacity.db", project=Project.of(*wanted), accept_loss=True
    ) as sagas:
        yield sagas


@pytest.fixture
async def api(shop: Shop) -> AsyncIterator[Api]:
    async with opened(shop) as sagas:
        worker = Worker(sagas.store, sagas.project.flows, sagas.project.participants)
        running = asyncio.create_task(worker.run())
        await worker.ready.wait()
        transport = httpx2.ASGITransport(app=create_app(sagas))
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            yield Api(sagas, client)
        await worker.stop(grace=timedelta(seconds=5))
        await running


def is_problem(answer: httpx2.Response, status: int, words: str = "") -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert {"type", "title", "status", "detail", "instance"} <= set(body)
    assert body["status"] == status
    assert words in body["detail"]
    return body


async def test_a_saga_is_started_once_per_key(api: Api) -> None:
    body = {"definition": "Sale", "input": {"sale_id": "s1", "amount": "9.90"}}
    first = await api.post("/v1/sagas", body)
    assert first.status_code == 201
    assert first.headers["location"] == f"/v1/sagas/{first.json()['id']}"
    assert (first.json()["new"], first.json()["key"], first.json()["note"]) == (True, "s1", None)
    again = await api.post("/v1/sagas", body)
    assert again.status_code == 200
    assert again.json() | {"new": True} == first.json()
    other = await api.post("/v1/sagas", body | {"input": {"sale_id": "s1", "amount": "1"}})
    assert is_problem(other, 409, "already started")["type"] == "urn:sagacity:problem:key-taken"


async def test_a_saga_is_shown_by_id_and_by_key_with_its_story(api: Api) -> None:
    saga = await api.started("s1")
    assert (await api.ended("s1"))["status"] == "committed"
    by_key, by_id = await api.get("/v1/sagas/s1"), await api.get(f"/v1/sagas/{saga}")
    assert by_key.json() == by_id.json()
    assert by_key.json()["schema_version"] == 1
    story = (await api.get("/v1/sagas/s1/history")).json()["items"]
    assert story[0]["text"].startswith("started Sale version 1")
    assert story[-1]["text"] == "committed: everything happened; all locks are free"
    assert [line["seq"] for line in story] == list(range(len(story)))
    pages = [(await api.get(f"/v1/sagas/s1/history?limit=3&cursor={at}")).json() for at in (-1, 2)]
    assert [page["items"] for page in pages] == [story[:3], story[3:6]]
    assert [page["next"] for page in pages] == ["2", "5"]
    rest = (await api.get(f"/v1/sagas/s1/history?cursor={len(story) - 2}")).json()
    assert (rest["items"], rest["next"]) == (story[-1:], None)


async def test_numbers_go_out_as_they_came_in(api: Api) -> None:
    raw = b'{"definition": "Sale", "input": {"sale_id": "s1", "amount": 0.10, "note": "9007199254740993"}}'
    assert (await api.post("/v1/sagas", raw)).status_code == 201
    await api.ended("s1")
    assert '"amount":"0.10"' in (await api.get("/v1/sagas/s1")).text
    books = (await api.get("/v1/objects/books/s1")).text
    assert '"state":{"big":9007199254740993,"takings":"0.10"}' in books


async def test_an_object_has_its_version_as_etag(api: Api) -> None:
    await api.started("s1")
    await api.ended("s1")
    first = await api.get("/v1/objects/books/s1")
    tag = first.headers["etag"]
    assert tag == '"1"'
    for known in (tag, f"W/{tag}", f'"0", {tag}', "*"):
        same = await api.get("/v1/objects/books/s1", if_none_match=known)
        assert same.status_code == 304
        assert same.content == b""
        assert same.headers["etag"] == tag
    assert (await api.get("/v1/objects/books/s1", if_none_match='"2"')).status_code == 200
    past = await api.get("/v1/objects/books/s1?at=1")
    assert past.json()["state"]["takings"] == "9.90"
    versions = (await api.get("/v1/objects/books/s1/history")).json()["items"]
    assert [item["version"] for item in versions] == [1]
    is_problem(await api.get("/v1/objects/books/s1?at=9"), 404, "no version 9")
    is_problem(await api.get("/v1/objects/books/none"), 404)


async def test_an_object_tells_who_has_it_in_transaction(api: Api) -> None:
    saga = await api.started("o1", "Order")
    await api.at_rest("o1")
    shelf = (await api.get("/v1/objects/shelf/o1")).json()
    assert shelf["in_transaction"] is True
    assert shelf["locks"][0]["saga"] == saga
    locks = (await api.get("/v1/locks?object=shelf:o1")).json()["items"]
    assert locks == shelf["locks"]
    assert (await api.get("/v1/locks?saga=o1")).json()["items"] == locks


async def test_a_web_hook_counts_once_however_often_it_comes(api: Api) -> None:
    await api.started("o1", "Order")
    await api.at_rest("o1")
    hook = {
        "id": str(uuid4()),
        "definition": "Order",
        "key": "o1",
        "name": "parcel.fetched",
        "data": {"weight": 1.50},
    }
    answers = [await api.post("/v1/signals", hook) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202, 202, 202]
    assert [answer.json()["new"] for answer in answers] == [True, False, False]
    assert (await api.ended("o1"))["status"] == "committed"
    story = (await api.get("/v1/sagas/o1/history")).json()["items"]
    [signalled] = [line for line in story if line["kind"] == "signalled"]
    assert signalled["data"]["actor"] is None, "a service's hook is no act of whoever develops here"
    assert (await api.post("/v1/signals", hook)).status_code == 202


async def test_a_signal_is_addressed_by_saga_or_by_key_and_not_by_both(api: Api) -> None:
    saga = await api.started("o1", "Order")
    await api.at_rest("o1")
    is_problem(await api.post("/v1/signals", {"name": "x"}), 422, "either")
    both = {"name": "x", "key": "o1", "saga": saga}
    is_problem(await api.post("/v1/signals", both), 422, "either")
    is_problem(await api.post("/v1/signals", {"name": "x", "key": "o9", "definition": "Order"}), 404)
    is_problem(await api.post("/v1/signals", {"name": "x", "key": "o1", "definition": "Ordr"}), 404, "Order")
    is_problem(await api.post("/v1/signals", {"name": "x", "saga": str(uuid4())}), 404)
    assert (await api.post("/v1/signals", {"name": "parcel.fetched", "saga": saga})).status_code == 202
    assert (await api.ended("o1"))["status"] == "committed"


async def test_a_cancel_takes_its_reason_and_is_refused_when_it_is_over(api: Api) -> None:
    await api.started("o1", "Order")
    await api.at_rest("o1")
    is_problem(await api.post("/v1/sagas/o1/cancel", {}), 422, "reason")
    assert (await api.post("/v1/sagas/o1/cancel", {"reason": "by phone"})).status_code == 202
    ended = await api.ended("o1")
    assert (ended["status"], ended["reason"]) == ("rolled_back", "by phone")
    late = await api.post("/v1/sagas/o1/cancel", {"reason": "again"})
    assert is_problem(late, 409)["type"] == "urn:sagacity:problem:refused"


async def test_what_is_stuck_is_sent_on_by_a_retry(api: Api) -> None:
    body = {"definition": "Jammed", "input": {"sale_id": "j1"}}
    assert (await api.post("/v1/sagas", body)).status_code == 201
    assert (await api.ended("j1"))["status"] == "stuck"
    assert "retry" in (await api.get("/v1/sagas/j1")).json()["allowed"]
    assert (await api.post("/v1/sagas/j1/retry", {"reason": "oiled"})).status_code == 202
    await api.started("s1")
    await api.ended("s1")
    is_problem(await api.post("/v1/sagas/s1/retry", {}), 409)


async def test_a_committed_saga_is_rolled_back_by_a_new_one(api: Api) -> None:
    await api.started("s1")
    await api.ended("s1")
    preview = (await api.get("/v1/sagas/s1/preview")).json()
    assert preview["possible"] is True
    assert {item["what"] for item in preview["items"]} == {"take_money", "books:s1"}
    body = {"reason": "returned", "confirm": "s1"}
    is_problem(await api.post("/v1/sagas/s1/rollback", body), 428, "approval")
    answer = await api.post("/v1/sagas/s1/rollback", body | {"break_glass": True})
    assert answer.status_code == 202
    await api.at_rest("s1")
    await api.at_rest(answer.json()["id"])
    assert (await api.ended(answer.json()["id"]))["status"] == "committed"
    books = (await api.get("/v1/objects/books/s1")).json()
    assert (books["version"], books["state"]) == (2, None)
    is_problem(await api.get("/v1/sagas/s1/preview"), 409, "rolled back already")


async def test_a_list_is_paged_by_a_cursor_and_counted(api: Api) -> None:
    for number in range(5):
        await api.started(f"s{number}")
    for number in range(5):
        await api.ended(f"s{number}")
    seen, cursor = [], ""
    while True:
        page = (await api.get(f"/v1/sagas?limit=2{cursor}")).json()
        seen += [item["key"] for item in page["items"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert seen == ["s4", "s3", "s2", "s1", "s0"]
    assert (await api.get("/v1/counts")).json()["counts"]["committed"] == 5
    assert (await api.get("/v1/counts?definition=Order")).json()["counts"].get("committed", 0) == 0
    assert (await api.get("/v1/sagas?status=stuck&status=waiting")).json()["items"] == []


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{broken", 422, "not JSON"),
        (b"[]", 422, "not a JSON object"),
        (b"", 422, "not a JSON object"),
        (b'{"definition": "Sale"}', 422, "input"),
        (b'{"definition": "Sale", "input": {}, "colour": 1}', 422, "colour"),
        (b'{"definition": 5, "input": {}}', 422, "definition"),
        (b'{"definition": "Sail", "input": {}}', 404, "Sale"),
        (b'{"definition": "Sale", "input": {"sale_id": "s", "amount": NaN}}', 422, "NaN"),
        (b'{"definition": "Sale", "input": {"sale_id": "s", "amount": "x"}}', 422, "amount"),
        (b'{"definition": "Sale", "input": {"sale_id": 1, "amount": "1"}}', 422, "sale_id"),
        (b'{"definition": "Sale", "input": {"sale_id": "s", "amount": "1", "hue": 1}}', 422, "hue: unknown"),
        (
            b'{"definition": "Sale", "input": {"sale_id": "s", "amount": "1", "at": "2026-01-01T00:00:00"}}',
            422,
            "at",
        ),
        (b'{"definition": "Sale", "input": {"sale_id": "\\u0000", "amount": "1"}}', 422, "NUL"),
        (b'{"definition": "Sale", "input": {"note": "' + b"x" * 300_000 + b'"}}', 413, "262144"),
        (b'{"definition": "Sale", "definition": "Order", "input": {}}', 422, "same key twice"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, 413, "262144"),
        (b'{"a":' * 40_000 + b"1" + b"}" * 40_000, 422, "nested too deep"),
        (b"\xff\xfe", 422, "not JSON"),
    ],
)
async def test_a_bad_body_is_a_problem_and_leaves_nothing(
    api: Api, body: bytes, status: int, words: str
) -> None:
    is_problem(await api.post("/v1/sagas", body), status, words)
    assert (await api.get("/v1/sagas")).json()["items"] == []


async def test_a_naive_datetime_in_a_signal_is_stored_as_the_text_that_it_is(api: Api) -> None:
    await api.started("o1", "Order")
    answer = await api.post("/v1/sagas/o1/signals", {"name": "note", "data": "2026-01-01T00:00:00"})
    assert answer.status_code == 202


async def test_another_content_type_is_415(api: Api) -> None:
    is_problem(await api.post("/v1/sagas", b"{}", **{"content-type": "text/plain"}), 415, "application/json")


async def test_a_name_that_is_not_this_machines_is_refused(api: Api) -> None:
    for host in ("attacker.example", "127.0.0.1.attacker.example", "attacker.example:80"):
        is_problem(await api.get("/v1/counts", host=host), 400, "127.0.0.1")
    for host in ("localhost", "127.0.0.1:8000", "[::1]:8000"):
        assert (await api.get("/v1/counts", host=host)).status_code == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/nowhere", 404),
        ("/v1/sagas/nobody", 404),
        ("/v1/sagas/nobody/history", 404),
        ("/v1/sagas/nobody/outcome", 404),
        ("/v1/sagas/nobody/preview", 404),
        ("/v1/sagas?status=asleep", 422),
        ("/v1/sagas?limit=0", 422),
        ("/v1/sagas?limit=many", 422),
        ("/v1/sagas?cursor=here", 422),
        ("/v1/objects/books/s1?at=-1", 422),
        ("/v1/sagas/x/outcome?timeout=900", 422),
    ],
)
async def test_a_bad_question_is_a_problem(api: Api, path: str, status: int) -> None:
    is_problem(await api.get(path), status)


async def test_a_wrong_method_is_405(api: Api) -> None:
    answer = await api.post("/v1/counts", {})
    is_problem(answer, 405, "/v1/openapi.json")
    assert "GET" in answer.headers["allow"]


async def test_a_database_that_cannot_be_reached_is_503_with_retry_after(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(*_: object, **__: object) -> None:
        raise StoreUnavailable("the database cannot be reached: no route")

    with monkeypatch.context() as patched:
        for name in ("check", "tally", "sagas", "put"):
            patched.setattr(api.sagas.store, name, gone)
        answers = [
            await api.get("/ready"),
            await api.get("/v1/counts"),
            await api.get("/v1/sagas"),
            await api.post("/v1/sagas", {"definition": "Sale", "input": {"sale_id": "s1", "amount": "1"}}),
        ]
    for answer in answers:
        is_problem(answer, 503, "cannot be reached")
        assert answer.headers["retry-after"] == "1"
    assert (await api.get("/health")).json() == {"schema_version": 1, "ok": True}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (SchemaAhead("upgrade"), 503),
        (MissingExternal("set SAGACITY_FAR_URL"), 500),
        (TimeoutError("late"), 504),
    ],
)
async def test_every_error_class_has_its_status(
    api: Api, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    async def raising(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(api.sagas.store, "tally", raising)
    is_problem(await api.get("/v1/counts"), status, str(error))


async def test_a_fault_of_ours_says_its_id_and_not_its_trace(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a wheel came off")

    monkeypatch.setattr(api.sagas.store, "tally", broken)
    answer = await api.get("/v1/counts")
    body = is_problem(answer, 500)
    assert "wheel" not in answer.text
    [record] = [record for record in caplog.records if record.message == "fault"]
    assert record.fields["fault"] == body["fault"]  # type: ignore[attr-defined]
    assert record.exc_info is not None


async def test_a_definition_that_no_worker_runs_is_stored_with_a_note(shop: Shop) -> None:
    async with opened(shop) as sagas:
        transport = httpx2.ASGITransport(app=create_app(sagas))
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            alone = Api(sagas, client)
            body = {"definition": "Sale", "input": {"sale_id": "s1", "amount": "1"}}
            answer = await alone.post("/v1/sagas", body)
            assert answer.status_code == 201
            assert "no worker runs Sale" in answer.json()["note"]
            assert (await alone.get("/v1/sagas/s1")).json()["status"] == "pending"


async def test_the_api_describes_itself_as_openapi_3_1(api: Api) -> None:
    described = (await api.get("/v1/openapi.json")).json()
    assert described["openapi"].startswith("3.1")
    assert {
        "/v1/sagas",
        "/v1/sagas/{ref}",
        "/v1/sagas/{ref}/history",
        "/v1/sagas/{ref}/outcome",
        "/v1/sagas/{ref}/signals",
        "/v1/sagas/{ref}/cancel",
        "/v1/sagas/{ref}/retry",
        "/v1/sagas/{ref}/rollback",
        "/v1/sagas/{ref}/preview",
        "/v1/signals",
        "/v1/objects/{type}/{id}",
        "/v1/objects/{type}/{id}/history",
        "/v1/locks",
        "/v1/counts",
        "/health",
        "/ready",
    } <= set(described["paths"])
    assert "Problem" in described["components"]["schemas"]
    for path, calls in described["paths"].items():
        for call in calls.values():
            assert {"404", "422", "500", "503"} <= set(call["responses"]), path
    references = set(_references(described))
    known = {f"#/components/schemas/{name}" for name in described["components"]["schemas"]}
    assert references <= known


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [ref for item in value.values() for ref in _references(item)]
    if isinstance(value, list):
        return [ref for item in value for ref in _references(item)]
    return []


async def test_a_host_on_a_port_of_its_own_answers_until_it_is_left(shop: Shop, tmp_path: Path) -> None:
    async with opened(shop) as sagas, httpx2.AsyncClient(trust_env=False) as client:
        async with hosted(sagas) as url:
            assert url.startswith("http://127.0.0.1:")
            assert (await client.get(f"{url}/ready")).json()["ok"] is True
            big = await client.post(f"{url}/v1/sagas", content=b"x" * 400_000, headers=JSON)
            assert big.status_code == 413
        with pytest.raises(httpx2.ConnectError):
            await client.get(f"{url}/ready")


async def test_an_answer_leaves_at_once_and_does_not_wait_for_an_acknowledgement() -> None:
    sends_at_once: list[int] = []

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        option = writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        sends_at_once.append(option)
        writer.close()

    listener = _listener("127.0.0.1", 0)
    async with await asyncio.start_server(answer, sock=listener):
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
    assert sends_at_once == [1]
