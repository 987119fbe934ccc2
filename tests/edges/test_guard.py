"""Who is let in, and to what: S1, S2, S4, S8, S20, S21, S23, S24 of the security checklist."""

import asyncio
import gzip
import json
import re
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from sagacity.config import Settings, load
from sagacity.definition.project import Project
from sagacity.errors import ConfigError, Conflict, InputError
from sagacity.model.operating import Actor, Role
from sagacity.orchestrator import Orchestrator
from sagacity.store.base import Store
from sagacity.web.guard import tokens
from sagacity.web.guard.configured import web_settings
from sagacity.web.guard.routes import allows
from sagacity.web.guard.settings import Rate, WebSettings
from sagacity.web.roles import ROLES
from sagacity.web.server import hosted
from tests.edges.guarded import BASE, EVERY_ROLE, ISSUER, Guarded, called, contents, filled
from tests.edges.shop import Shop

OIDC = {"oidc_issuer": "https://id.example", "oidc_client_id": "sagacity", "web_url": "https://sagas.example"}


@pytest.fixture
async def sagas(tmp_path: Path) -> AsyncIterator[Orchestrator]:
    async with await Orchestrator.open(
        f"sqlite:///{tmp_path}/guard.db", project=Project.of(), accept_loss=True
    ) as opened:
        yield opened


@pytest.fixture
def api(sagas: Orchestrator) -> Guarded:
    return Guarded(sagas)


async def started(settings: Settings, store: Store, host: str) -> str:
    """What becomes of a server that is started like this."""
    try:
        guarded = await web_settings(settings, store, host=host)
    except ConfigError as refused:
        both = all(fix in str(refused) for fix in ("sagacity token issue", "SAGACITY_OIDC_ISSUER"))
        return "does not start" if both else str(refused)
    return "open" if guarded.development else "closed"


# --- S1 -----------------------------------------------------------------------------------------------


async def test_s1_the_server_starts_open_only_on_loopback_and_only_while_nobody_could_sign_in(
    sagas: Orchestrator, api: Guarded
) -> None:
    found = {}
    for token in (False, True):
        if token:
            await api.token("ci", Role.VIEWER)
        for oidc in (False, True):
            for host in ("127.0.0.1", "0.0.0.0"):
                settings = load(**(OIDC if oidc else {}))
                found[host, token, oidc] = await started(settings, sagas.store, host)
    assert found == {
        ("127.0.0.1", False, False): "open",
        ("0.0.0.0", False, False): "does not start",
        ("127.0.0.1", False, True): "closed",
        ("0.0.0.0", False, True): "closed",
        ("127.0.0.1", True, False): "closed",
        ("0.0.0.0", True, False): "closed",
        ("127.0.0.1", True, True): "closed",
        ("0.0.0.0", True, True): "closed",
    }


async def test_s1_development_is_not_for_other_machines_nor_for_what_a_proxy_passes_on(
    sagas: Orchestrator,
) -> None:
    api = Guarded(sagas, development=True)
    async with api.caller(None, address="127.0.0.1") as here, api.caller(None) as elsewhere:
        assert (await here.get("/v1/whoami")).json()["actor"] == "dev"
        assert (await elsewhere.get("/v1/whoami")).status_code == 401
        for header in ("x-forwarded-for", "forwarded", "via", "x-real-ip"):
            assert (await here.get("/v1/whoami", headers={header: "10.1.2.3"})).status_code == 401
    with pytest.raises(ConfigError, match="development"):
        async with hosted(sagas, host="0.0.0.0"):
            raise AssertionError("it listens for everybody")


async def test_s1_without_a_credential_every_call_is_401_but_health_and_signing_in(api: Guarded) -> None:
    async with api.caller(None) as nobody:
        for method, path in api.calls():
            answer = await called(nobody, method, filled(path))
            if ROLES[f"{method} {path}"] is None:
                assert answer.status_code != 401, path
            else:
                assert answer.status_code == 401, path
                assert answer.headers["www-authenticate"].startswith("Bearer")
                assert answer.headers["content-type"] == "application/problem+json"
        assert (await nobody.get("/no/such/route")).status_code == 401


async def test_in_development_one_is_dev_and_can_become_second_and_is_told_so(sagas: Orchestrator) -> None:
    api = Guarded(sagas, development=True)
    async with api.caller(None, address="127.0.0.1") as browser:
        page = await browser.get("/v1/whoami", headers={"accept": "text/html"})
        who = page.json()
        assert (who["actor"], who["roles"], who["by"]) == ("dev", ["admin"], "development")
        assert "nobody signs in" in who["note"]
        form = {"as": "second", "next": "/sagas", "csrf": who["csrf"]}
        switched = await browser.post("/sign-in/dev", data=form)
        assert (switched.status_code, switched.headers["location"]) == (303, "/sagas")
        assert (await browser.get("/v1/whoami")).json()["actor"] == "second"
        now = (await browser.get("/v1/whoami")).json()["csrf"]
        assert (
            await browser.post("/sign-in/dev", data=form | {"csrf": now, "as": "root"})
        ).status_code == 422
    async with api.caller(await api.token("ci", Role.ADMIN)) as token:
        assert (await token.post("/sign-in/dev", data={"as": "second"})).status_code == 404


# --- S2 -----------------------------------------------------------------------------------------------


def on_disk(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def test_s2_a_token_is_256_random_bits_and_its_text_is_nowhere_on_the_disk(
    api: Guarded, tmp_path: Path
) -> None:
    secrets = [await api.token(f"ci{n}", Role.VIEWER) for n in range(3)]
    assert len(set(secrets)) == 3
    for secret in secrets:
        assert re.fullmatch(r"sgc_[0-9a-f]{64}", secret)
        async with api.caller(secret) as client:
            assert (await client.get("/v1/whoami")).status_code == 200
    stored = on_disk(tmp_path)
    assert tokens.hash_of(secrets[0]).encode() in stored
    for secret in secrets:
        assert secret.encode() not in stored
        assert secret.removeprefix("sgc_").encode() not in stored


async def test_s2_a_revoked_token_is_refused_within_five_seconds(api: Guarded) -> None:
    secret = await api.token("ci", Role.VIEWER)
    async with api.caller(secret) as client:
        assert (await client.get("/v1/whoami")).json()["actor"] == "token:ci"
        await tokens.revoke(api.sagas.store, "ci")
        api.clock.move(seconds=3)
        answer = await client.get("/v1/whoami")
    assert answer.status_code == 401
    assert "is not known here, or it is over" in answer.json()["detail"]


async def test_s2_an_expired_or_altered_token_is_refused(api: Guarded) -> None:
    _, secret = await tokens.issue(
        api.sagas.store,
        name="brief",
        roles=frozenset({Role.VIEWER}),
        definitions=None,
        kind="service",
        lasts=timedelta(milliseconds=1),
        by=ISSUER,
    )
    await asyncio.sleep(0.01)
    good = await api.token("ci", Role.VIEWER)
    bad = [
        secret,
        good[:-1] + ("0" if good[-1] != "0" else "1"),
        good.upper(),
        good + "0",
        good[:-1],
        "",
        "sgc_",
    ]
    for one in bad:
        async with api.caller(one) as client:
            assert (await client.get("/v1/whoami")).status_code == 401, one
    async with api.caller(None) as client:
        basic = await client.get("/v1/whoami", headers={"authorization": f"Basic {good}"})
        assert basic.status_code == 401


async def test_s2_nobody_issues_more_than_they_may_and_a_name_has_one_token(api: Guarded) -> None:
    narrow = Actor(id="oidc:ada", roles=frozenset({Role.ADMIN}), definitions=frozenset({"Sale"}))
    more: dict[str, Any] = {"roles": frozenset({Role.ADMIN}), "kind": "service", "lasts": timedelta(days=1)}
    store = api.sagas.store
    for wanted in (None, frozenset({"Sale", "Order"})):
        with pytest.raises(InputError, match="only issue tokens for: Sale"):
            await tokens.issue(store, name="x", definitions=wanted, by=narrow, **more)
    await tokens.issue(store, name="x", definitions=frozenset({"Sale"}), by=narrow, **more)
    with pytest.raises(Conflict, match="revoke it first"):
        await tokens.issue(store, name="x", definitions=None, by=ISSUER, **more)
    for bad in ({"name": "a b"}, {"name": ""}, {"name": "x\n"}, {"lasts": timedelta(days=400)}):
        with pytest.raises(InputError):
            await tokens.issue(store, **({"name": "y", "definitions": None, "by": ISSUER, **more} | bad))


def test_s2_tokens_are_issued_listed_and_revoked_on_the_command_line(shop: Shop) -> None:
    shop.run("Sale", {"sale_id": "s1", "amount": "1"})
    issued = shop.says("token", "issue", "ci", "--role", "operator", "--definition", "Sale", "--days", "30")
    assert issued.code == 0
    secret = issued.out.strip()
    assert re.fullmatch(r"sgc_[0-9a-f]{64}", secret)
    assert "not shown again" in issued.err
    listed = shop.says("token", "list").out
    assert "operator" in listed
    assert secret not in shop.says("token", "list", "-o", "json").out
    again = shop.says("token", "issue", "ci", "--role", "viewer")
    assert (again.code, "revoke it first" in again.err) == (5, True)
    assert shop.says("token", "issue", "x", "--role", "king").code == 2
    assert shop.says("token", "revoke", "ci").code == 0
    assert "no, revoked" in shop.says("token", "list").out
    assert shop.says("token", "revoke", "ci").code == 4


# --- S4 -----------------------------------------------------------------------------------------------


async def test_s4_every_cell_of_the_table_of_routes_and_roles_is_as_it_says(api: Guarded) -> None:
    cells = 0
    for role in EVERY_ROLE:
        async with api.caller(await api.token(f"t-{role}", role)) as client:
            for method, path in api.calls():
                if path.endswith("/events") and allows(ROLES[f"{method} {path}"], _actor(role)):
                    continue  # a stream: it is opened in its own test
                answer = await called(client, method, filled(path))
                kind = (
                    answer.json().get("type", "") if "json" in answer.headers.get("content-type", "") else ""
                )
                denied = answer.status_code == 403 and kind == "urn:sagacity:problem:role"
                assert denied != allows(ROLES[f"{method} {path}"], _actor(role)), (role, method, path)
                cells += 1
    assert cells > 150


def _actor(role: Role) -> Actor:
    return Actor(id="x", roles=frozenset({role}))


async def test_s4_a_route_that_nobody_gave_a_role_is_denied_to_admins_too(api: Guarded) -> None:
    @api.app.get("/v1/forgotten")
    async def forgotten() -> str:
        return "secret"

    async with api.caller(await api.token("root", Role.ADMIN)) as root:
        answer = await root.get("/v1/forgotten")
        assert answer.status_code == 403
        assert "in no table of roles" in answer.json()["detail"]
        assert (await root.get("/v1/nowhere")).status_code == 404


async def test_a_viewer_who_tries_every_endpoint_writes_nothing(api: Guarded, tmp_path: Path) -> None:
    secret = await api.token("eye", Role.VIEWER)
    before = contents(tmp_path / "guard.db")
    assert len(before) > 8
    async with api.caller(secret) as viewer:
        for method, path in api.calls():
            if not path.endswith("/events"):
                answer = await called(viewer, method, filled(path))
                assert answer.status_code < 500, (method, path, answer.text)
    assert contents(tmp_path / "guard.db") == before


# --- S8 -----------------------------------------------------------------------------------------------


async def test_s8_a_page_of_another_origin_can_change_nothing(sagas: Orchestrator) -> None:
    api = Guarded(sagas, development=True)
    unsafe = [(method, path) for method, path in api.calls() if method not in ("GET", "HEAD")]
    assert len(unsafe) >= 8
    foreign = (
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    )
    async with api.caller(None, address="127.0.0.1") as client:
        for method, path in unsafe:
            for headers in foreign:
                answer = await called(client, method, filled(path), headers=headers)
                assert answer.status_code == 403, (path, headers)
                assert answer.json()["type"] == "urn:sagacity:problem:foreign"
            own = {"origin": BASE, "sec-fetch-site": "same-origin"}
            assert (await called(client, method, filled(path), headers=own)).status_code != 403, path


async def test_s8_a_browser_with_a_session_must_send_its_token(sagas: Orchestrator) -> None:
    api = Guarded(sagas, development=True)
    async with api.caller(None, address="127.0.0.1") as browser:
        token = (await browser.get("/v1/whoami", headers={"accept": "text/html"})).json()["csrf"]
        other = Guarded(sagas, development=True)
        async with other.caller(None, address="127.0.0.1") as second:
            foreign = (await second.get("/v1/whoami", headers={"accept": "text/html"})).json()["csrf"]
        body = {"definition": "Nothing", "input": {}}
        for given in (None, "", "0" * 64, foreign):
            headers = {} if given is None else {"x-csrf-token": given}
            refused = await browser.post("/v1/sagas", json=body, headers=headers)
            assert (refused.status_code, refused.json()["type"]) == (403, "urn:sagacity:problem:csrf")
        taken = await browser.post("/v1/sagas", json=body, headers={"x-csrf-token": token})
        assert taken.status_code == 404, "it came through to the call itself"


async def test_s8_a_call_with_a_token_takes_no_cookie(api: Guarded) -> None:
    async with api.caller(await api.token("ci", Role.OPERATOR)) as client:
        answer = await client.post("/v1/sagas", json={"definition": "Nothing", "input": {}})
        assert answer.status_code == 404
        assert "set-cookie" not in answer.headers


# --- S10 (headers; the pages themselves are judged in a browser) ---------------------------------------


async def test_s10_every_answer_carries_the_policy_and_nothing_inline_is_allowed(api: Guarded) -> None:
    async with api.caller(await api.token("eye", Role.ADMIN)) as client:
        for method, path in [*api.calls(), ("GET", "/nowhere")]:
            if path.endswith("/events"):
                continue
            headers = (await called(client, method, filled(path))).headers
            policy = headers["content-security-policy"]
            assert "unsafe" not in policy
            assert {"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"} <= set(
                policy.split("; ")
            )
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            assert headers["referrer-policy"] == "same-origin"


# --- S20 ----------------------------------------------------------------------------------------------


async def test_s20_a_flood_is_429_with_retry_after_and_others_are_not_touched(sagas: Orchestrator) -> None:
    api = Guarded(sagas, rate=Rate(per_second=10, burst=20))
    flood, calm = await api.token("flood", Role.VIEWER), await api.token("calm", Role.VIEWER)
    async with api.caller(flood) as noisy, api.caller(calm) as quiet:
        answers = [await noisy.get("/v1/whoami") for _ in range(200)]
        refused = [one for one in answers if one.status_code == 429]
        assert len(refused) > 100
        assert all(int(one.headers["retry-after"]) >= 1 for one in refused)
        assert [(await quiet.get("/v1/whoami")).status_code for _ in range(10)] == [200] * 10
        api.clock.move(seconds=int(refused[-1].headers["retry-after"]))
        assert (await noisy.get("/v1/whoami")).status_code == 200


async def test_s20_who_guesses_tokens_is_slowed_down_by_address(sagas: Orchestrator) -> None:
    api = Guarded(sagas, strangers=Rate(per_second=1, burst=5))
    good = await api.token("ci", Role.VIEWER)
    async with api.caller("sgc_" + "0" * 64) as guess, api.caller(good, address="10.9.9.9") as other:
        codes = [(await guess.get("/v1/whoami")).status_code for _ in range(10)]
        assert codes == [401] * 5 + [429] * 5
        assert (await other.get("/v1/whoami")).status_code == 200
        api.clock.move(seconds=2)
        assert (await guess.get("/v1/whoami")).status_code == 401


# --- S21 ----------------------------------------------------------------------------------------------


async def test_s21_what_is_too_large_too_deep_or_packed_is_refused_in_a_moment(api: Guarded) -> None:
    deep = b'{"a":' * 40_000 + b"1" + b"}" * 40_000
    large = b'{"definition": "X", "input": {"a": "' + b"x" * 2_000_000 + b'"}}'
    packed = {"content-type": "application/json", "content-encoding": "gzip"}
    plain = {"content-type": "application/json"}
    async with api.caller(await api.token("ci", Role.OPERATOR)) as client:
        cases = [
            (deep, plain, 422),
            (large, plain, 413),
            (gzip.compress(b" " * 10_000_000), packed, 415),
            (b"{}", {"content-type": "text/plain"}, 415),
        ]
        for body, headers, status in cases:
            answer = await client.post("/v1/sagas", content=body, headers=headers)
            assert answer.status_code == status
        assert (await client.get("/v1/sagas?limit=501")).status_code == 422
        assert (await client.post("/sign-out", content=b"x=" + b"y" * 2_000_000)).status_code in (303, 413)


async def test_s21_a_body_that_drips_is_408(sagas: Orchestrator) -> None:
    api = Guarded(sagas, slow=0.05)
    secret = await api.token("ci", Role.OPERATOR)

    async def dripping() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(5)
        yield b"}"

    settings = WebSettings(development=False, slow=0.1)
    async with hosted(sagas, settings=settings) as url, httpx2.AsyncClient(trust_env=False) as client:
        headers = {"authorization": f"Bearer {secret}", "content-type": "application/json"}
        answer = await client.post(f"{url}/v1/sagas", content=dripping(), headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (408, "urn:sagacity:problem:slow")


async def test_s21_headers_of_more_than_16_kib_are_refused(sagas: Orchestrator) -> None:
    async with hosted(sagas, settings=WebSettings(development=False)) as url:
        host, port = url.removeprefix("http://").split(":")
        for size, refused in ((8_000, False), (40_000, True)):
            reader, writer = await asyncio.open_connection(host, int(port), family=socket.AF_INET)
            writer.write(b"GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\nx: " + b"y" * size + b"\r\n\r\n")
            line = await reader.readline()
            assert (b" 431 " in line) == refused, line
            writer.close()
            await writer.wait_closed()


# --- S23 ----------------------------------------------------------------------------------------------


async def test_s23_what_is_not_the_callers_to_set_cannot_be_set(api: Guarded) -> None:
    forbidden = (
        "state",
        "status",
        "tenant",
        "lane",
        "owner",
        "epoch",
        "revision",
        "roles_",
        "made_by",
        "id_",
    )
    secret = await api.token("root", Role.ADMIN)
    async with api.caller(secret) as client:
        described = (await client.get("/v1/openapi.json")).json()
        posts = [path for path, one in described["paths"].items() if "post" in one]
        assert len(posts) >= 8
        for path in posts:
            for field in forbidden:
                answer = await client.post(filled(path), json={field: "x"})
                assert answer.status_code == 422, (path, field, answer.text)
                assert f"{field}: Extra inputs are not permitted" in answer.json()["detail"]
        start = {"definition": "X", "input": {}, "actor": "somebody-else"}
        assert (
            await client.post("/v1/signals", json={"name": "x", "key": "k", "actor": "ada"})
        ).status_code != 202
        assert (await client.post("/v1/sagas", json=start)).status_code == 404


# --- S24 ----------------------------------------------------------------------------------------------

TRACES = ("Traceback", "postgresql://", "hunter2", "SELECT", 'File "', "RuntimeError", "site-packages")


async def test_s24_a_fault_in_any_call_tells_its_id_and_nothing_of_how_it_came(
    api: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = await api.token("root", Role.ADMIN)
    found = await api.sagas.store.token_by_hash(tokens.hash_of(secret))

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("SELECT * FROM saga failed on postgresql://sagas:hunter2@db/sagas")

    async def known(_: str) -> object:
        return found

    async with api.caller(secret) as client:
        await client.get("/v1/whoami")
        for name in [
            name for name in dir(Store) if not name.startswith("_") and name not in ("tenant", "lane")
        ]:
            monkeypatch.setattr(api.sagas.store, name, broken)
        monkeypatch.setattr(api.sagas.store, "token_by_hash", known)
        faults = 0
        for method, path in api.calls():
            if path.endswith("/events"):
                continue
            answer = await called(client, method, filled(path))
            assert not [word for word in TRACES if word in answer.text], (path, answer.text)
            faults += answer.status_code == 500
    assert faults >= 10


async def test_the_host_guard_takes_the_names_that_were_configured_and_no_other(sagas: Orchestrator) -> None:
    settings = await web_settings(load(web_hosts="sagas.example, b.example"), sagas.store)
    api = Guarded(sagas, hosts=settings.hosts)
    async with api.caller(None) as client:
        for name, status in (
            ("sagas.example", 200),
            ("b.example:8000", 200),
            ("localhost", 200),
            ("evil.example", 400),
            ("sagas.example.evil.example", 400),
            ("", 400),
        ):
            assert (await client.get("/health", headers={"host": name})).status_code == status, name


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"oidc_issuer": "http://id.example", "oidc_client_id": "x"}, "https"),
        ({"oidc_issuer": "https://id.example"}, "SAGACITY_OIDC_CLIENT_ID"),
        (OIDC | {"oidc_roles": "sre=king"}, "sre=king"),
        ({"web_url": "sagas.example"}, "https://NAME"),
    ],
)
async def test_a_setting_that_cannot_be_names_itself(
    sagas: Orchestrator, given: dict[str, str], told: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)):
        await web_settings(load(**given), sagas.store)


async def test_off_loopback_a_provider_needs_the_address_that_browsers_see(sagas: Orchestrator) -> None:
    given = {name: value for name, value in OIDC.items() if name != "web_url"}
    with pytest.raises(ConfigError, match="SAGACITY_WEB_URL"):
        await web_settings(load(**given), sagas.store, host="0.0.0.0")


def test_settings_do_not_print_their_secrets() -> None:
    settings = load(web_secret="s" * 40, oidc_client_secret="hunter2")
    assert "hunter2" not in repr(settings)
    assert "ssss" not in repr(settings)
    assert "ssss" not in repr(replace(WebSettings(), secret=b"s" * 40))
    assert "hunter2" not in json.dumps(settings.model_dump(mode="json"))
