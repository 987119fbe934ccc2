"""S3, S9: signing in at a provider that runs as a process of its own, and what is believed of its answers."""

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from sagacity.definition.project import Project
from sagacity.model.operating import Role
from sagacity.orchestrator import Orchestrator
from sagacity.web.api import create_app
from sagacity.web.guard.sessions import COOKIE
from sagacity.web.guard.settings import Oidc, WebSettings
from tests.edges.moved import MovedClock

BASE = "http://127.0.0.1"


class Outside:
    """The provider's process."""

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer

    def tell(self, **told: Any) -> None:
        httpx2.post(f"{self.issuer}/tell", json=told, trust_env=False).raise_for_status()

    def asked(self) -> list[dict[str, str]]:
        found: list[dict[str, str]] = httpx2.get(f"{self.issuer}/asked", trust_env=False).json()["asked"]
        return found


@pytest.fixture(scope="module")
def process() -> Iterator[Outside]:
    command = [sys.executable, str(Path(__file__).with_name("provider.py"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        try:
            yield Outside(running.stdout.readline().strip())
        finally:
            running.kill()


@pytest.fixture
def provider(process: Outside) -> Outside:
    process.tell()
    return process


class Browser:
    """A browser that follows where it is sent, to the server and to the provider."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self.client = client

    async def sign_in(self, page: str = "/sign-in?next=/sagas") -> httpx2.Response:
        there = await self.client.get(page)
        assert there.status_code == 303, there.text
        async with httpx2.AsyncClient(trust_env=False) as plain:
            back = (await plain.get(there.headers["location"])).headers["location"]
        return await self.client.get(back.removeprefix(BASE))

    async def who(self) -> httpx2.Response:
        return await self.client.get("/v1/whoami")


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
def settings(provider: Outside, clock: MovedClock) -> WebSettings:
    oidc = Oidc(issuer=provider.issuer, client_id="sagacity")
    return WebSettings(development=False, oidc=oidc, clock=clock, url=BASE)


@pytest.fixture
async def sagas(tmp_path: Path) -> AsyncIterator[Orchestrator]:
    async with await Orchestrator.open(
        f"sqlite:///{tmp_path}/signing.db", project=Project.of(), accept_loss=True
    ) as opened:
        yield opened


def browser_of(sagas: Orchestrator, settings: WebSettings) -> Browser:
    transport = httpx2.ASGITransport(app=create_app(sagas, settings=settings))
    return Browser(httpx2.AsyncClient(transport=transport, base_url=BASE))


@pytest.fixture
async def browser(sagas: Orchestrator, settings: WebSettings) -> AsyncIterator[Browser]:
    made = browser_of(sagas, settings)
    async with made.client:
        yield made


async def test_s3_who_signs_in_at_the_provider_is_who_the_server_knows(
    browser: Browser, provider: Outside
) -> None:
    page = await browser.client.get("/sagas?status=stuck", headers={"accept": "text/html"})
    assert page.status_code == 303
    assert page.headers["location"] == "/sign-in?next=%2Fsagas%3Fstatus%3Dstuck"
    back = await browser.sign_in(page.headers["location"])
    assert (back.status_code, back.headers["location"]) == (303, "/sagas?status=stuck")
    who = (await browser.who()).json()
    assert (who["actor"], who["roles"], who["by"]) == ("oidc:ada", ["operator"], "session")
    asked = provider.asked()[-1]
    assert asked["code_challenge_method"] == "S256"
    assert asked["response_type"] == "code"
    assert len(asked["nonce"]) == 64


BAD: dict[str, dict[str, Any]] = {
    "another issuer": {"claims": {"iss": "https://elsewhere.example"}},
    "no issuer": {"claims": {"iss": "-"}},
    "another audience": {"claims": {"aud": "somebody-else"}},
    "another audience, we as its party": {"claims": {"aud": "somebody-else", "azp": "sagacity"}},
    "two audiences, the other as its party": {"claims": {"aud": ["sagacity", "x"], "azp": "x"}},
    "no audience": {"claims": {"aud": "-"}},
    "over": {"claims": {"exp": 1_000_000_000}},
    "without an end": {"claims": {"exp": "-"}},
    "not yet": {"claims": {"nbf": 4_000_000_000}},
    "another nonce": {"claims": {"nonce": "0" * 64}},
    "no nonce": {"claims": {"nonce": "-", "nonce_supported": False}},
    "no subject": {"claims": {"sub": "-"}},
    "algorithm none": {"header": {"alg": "none"}},
    "the public key as a shared secret": {"header": {"alg": "HS256"}},
    "an algorithm that is not on the list": {"header": {"alg": "RS512"}},
    "signed by a stranger": {"key": "stranger"},
    "a key that is nowhere": {"key": "stranger", "header": {"kid": "nowhere"}},
    "tampered with": {"tampered": True},
    "no ID token": {"no_id_token": True},
    "no role": {"claims": {"roles": ["nobody", "ADMIN"]}},
    "the provider says no": {"answer": {"error": "access_denied"}},
    "an answer in another's name": {"answer": {"iss": "https://elsewhere.example"}},
}


async def test_s3_an_answer_that_is_not_right_in_every_point_signs_nobody_in(
    browser: Browser, provider: Outside
) -> None:
    assert len(BAD) >= 15
    for how, told in BAD.items():
        provider.tell(**told)
        back = await browser.sign_in()
        assert back.status_code == 401, (how, back.text)
        assert back.json()["type"] == "urn:sagacity:problem:signed-out", how
        assert (await browser.who()).status_code == 401, how
    provider.tell()
    assert (await browser.sign_in()).status_code == 303


async def test_s3_a_provider_that_changed_its_keys_is_still_believed(
    browser: Browser, provider: Outside, clock: MovedClock
) -> None:
    assert (await browser.sign_in()).status_code == 303
    provider.tell(rotate=True)
    clock.move(seconds=20)
    assert (await browser.sign_in()).status_code == 303
    assert (await browser.who()).json()["actor"] == "oidc:ada"


async def test_s3_a_callback_that_this_browser_did_not_begin_signs_nobody_in(
    browser: Browser, sagas: Orchestrator, settings: WebSettings
) -> None:
    there = await browser.client.get("/sign-in")
    state = parse_qs(urlsplit(there.headers["location"]).query)["state"][0]
    async with browser_of(sagas, settings).client as other:
        stolen = await other.get(f"/sign-in/callback?code=x&state={state}")
    assert stolen.status_code == 401
    forged = await browser.client.get("/sign-in/callback?code=x&state=forged")
    assert forged.status_code == 401
    again = await browser.client.get(f"/sign-in/callback?code=x&state={state}")
    assert again.status_code == 401, "a sign-in ends once, well or not"


async def test_a_provider_that_is_away_is_503(sagas: Orchestrator, settings: WebSettings) -> None:
    gone = replace(settings, oidc=Oidc(issuer="http://127.0.0.1:9", client_id="sagacity"))
    async with browser_of(sagas, gone).client as client:
        answer = await client.get("/sign-in")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "5"


async def test_roles_tenant_and_flows_come_from_claims_only(
    sagas: Orchestrator, settings: WebSettings, provider: Outside
) -> None:
    oidc = Oidc(
        issuer=provider.issuer,
        client_id="sagacity",
        claim="groups",
        roles={"sre": Role.OPERATOR, "lead": Role.APPROVER},
        definitions_claim="flows",
        tenant_claim="tenant",
    )
    async with browser_of(sagas, replace(settings, oidc=oidc)).client as client:
        browser = Browser(client)
        provider.tell(claims={"groups": ["sre", "lead", "admin"], "flows": "Order Sale", "tenant": "main"})
        assert (await browser.sign_in()).status_code == 303
        who = (await browser.who()).json()
        assert who["roles"] == ["approver", "operator"]
        assert who["definitions"] == ["Order", "Sale"]
        provider.tell(claims={"groups": ["sre"], "tenant": "other"})
        refused = await browser.sign_in()
        assert refused.status_code == 401
        assert "tenant" in refused.json()["detail"]


async def test_after_signing_in_one_is_never_sent_to_another_server(browser: Browser) -> None:
    for wanted in ("//evil.example", "https://evil.example", "/\\evil.example", "\\/evil", "/\t/evil"):
        back = await browser.sign_in(str(httpx2.URL("/sign-in", params={"next": wanted})))
        assert back.headers["location"] == "/", wanted


def cookie_of(answer: httpx2.Response) -> str:
    [found] = [one for one in answer.headers.get_list("set-cookie") if one.startswith(f"{COOKIE}=")]
    return found


async def test_s9_the_cookie_is_httponly_and_lax_and_secure_behind_tls(
    sagas: Orchestrator, settings: WebSettings
) -> None:
    browser = browser_of(sagas, settings)
    async with browser.client:
        plain = cookie_of(await browser.sign_in())
    assert "HttpOnly" in plain
    assert "SameSite=Lax" in plain
    assert "Path=/" in plain
    browser = browser_of(sagas, replace(settings, url="https://127.0.0.1"))
    async with browser.client as client:
        there = await client.get("https://127.0.0.1/sign-in")
        async with httpx2.AsyncClient(trust_env=False) as outside:
            back = (await outside.get(there.headers["location"])).headers["location"]
        signed = await client.get(back)
    assert "Secure" in cookie_of(signed)
    assert "max-age" in signed.headers["strict-transport-security"]


async def test_s9_a_session_is_new_after_each_sign_in_and_the_old_one_is_over(browser: Browser) -> None:
    await browser.sign_in()
    old = browser.client.cookies[COOKIE]
    await browser.sign_in()
    assert browser.client.cookies[COOKIE] != old
    browser.client.cookies.clear()
    browser.client.cookies.set(COOKIE, old)
    assert (await browser.who()).status_code == 401


async def test_s9_a_cookie_sent_again_after_signing_out_is_nobodys(
    browser: Browser, settings: WebSettings
) -> None:
    await browser.sign_in()
    kept = browser.client.cookies[COOKIE]
    refused = await browser.client.post("/sign-out")
    assert refused.status_code == 403, "signing out changes something: it takes the form's token"
    token = browser.client.headers.get("x-csrf-token") or await csrf_of(browser)
    out = await browser.client.post("/sign-out", headers={"x-csrf-token": token})
    assert out.status_code == 303
    browser.client.cookies.clear()
    browser.client.cookies.set(COOKIE, kept)
    assert (await browser.who()).status_code == 401


async def csrf_of(browser: Browser) -> str:
    token: str = (await browser.who()).json()["csrf"]
    return token


async def test_s9_a_session_ends_after_half_an_hour_without_a_call_and_after_half_a_day(
    browser: Browser, provider: Outside, clock: MovedClock
) -> None:
    provider.tell(claims={"exp": 4_000_000_000})
    await browser.sign_in()
    for _ in range(3):
        clock.move(minutes=29)
        assert (await browser.who()).status_code == 200
    clock.move(minutes=31)
    assert (await browser.who()).status_code == 401
    await browser.sign_in()
    for _ in range(29):
        clock.move(minutes=24)
        last = await browser.who()
    assert last.status_code == 200
    clock.move(minutes=26)
    assert (await browser.who()).status_code == 401


async def test_s9_a_cookie_that_this_server_did_not_sign_is_nobodys(browser: Browser) -> None:
    for forged in ("x", "", "a.b", f"{'0' * 64}.{'A' * 43}"):
        browser.client.cookies.clear()
        browser.client.cookies.set(COOKIE, forged)
        assert (await browser.who()).status_code == 401, forged
