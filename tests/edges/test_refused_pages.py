"""What the gate refuses a browser is a page that one can read; a program gets a problem document."""

import re
from collections.abc import AsyncIterator

import pytest

from sagacity.model.operating import Role
from sagacity.web.guard.settings import Rate
from tests.edges.guarded import Guarded
from tests.edges.shop import Shop
from tests.edges.test_web import opened

HTML = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture
async def api(shop: Shop) -> AsyncIterator[Guarded]:
    async with opened(shop) as sagas:
        yield Guarded(sagas)


def is_page(text: str, title: str) -> None:
    assert text.startswith("<!doctype html>")
    assert f"<h1>{title}</h1>" in text
    assert text.count("<h1") == 1
    assert 'lang="en"' in text
    assert re.findall(r"<script|<style|\sstyle=|\son[a-z]+=", text) == []
    assert re.findall(r"(?:src|href|action)=\"(?:https?:)?//", text) == []


async def test_who_is_not_signed_in_gets_a_page_that_says_so_and_a_program_a_problem(api: Guarded) -> None:
    async with api.caller(None) as nobody:
        page = await nobody.get("/sagas", headers=HTML)
        assert (page.status_code, page.headers["content-type"]) == (401, "text/html; charset=utf-8")
        assert page.headers["www-authenticate"].startswith("Bearer")
        assert "script-src 'self'" in page.headers["content-security-policy"]
        is_page(page.text, "Not signed in")
        assert "SAGACITY_OIDC_ISSUER" in page.text
        [sheet] = re.findall(r'href="(/console/static/[^"]+\.css)"', page.text)
        style = await nobody.get(sheet)
        assert (style.status_code, style.headers["cache-control"]) == (200, "no-cache")
        for path, headers in (("/v1/sagas", HTML), ("/metrics", HTML), ("/sagas", {"accept": "*/*"})):
            answer = await nobody.get(path, headers=headers)
            assert answer.status_code == 401, path
            assert answer.headers["content-type"] == "application/problem+json", path


async def test_whose_role_does_not_reach_gets_a_page_that_names_it(api: Guarded) -> None:
    async with api.caller(await api.token("eye", Role.VIEWER)) as client:
        page = await client.post("/plans", headers=HTML, data={"verb": "cancel"})
        assert page.status_code == 403
        is_page(page.text, "Forbidden")
        assert "this takes the role operator; token:eye has viewer" in page.text
        program = await client.post("/plans", data={"verb": "cancel"})
        assert program.json()["type"] == "urn:sagacity:problem:role"


async def test_what_a_call_says_is_shown_as_text_and_the_wait_stays_in_the_head(api: Guarded) -> None:
    async with api.caller(None) as nobody:
        named = await nobody.get("/", headers=HTML | {"host": "<b>evil"})
        assert named.status_code == 400
        assert "<b>" not in named.text
        assert "&lt;b&gt;evil" in named.text
    slow = Guarded(api.sagas, rate=Rate(per_second=0.001, burst=1))
    async with slow.caller(await api.token("eye", Role.VIEWER)) as client:
        assert (await client.get("/sagas", headers=HTML)).status_code == 200
        page = await client.get("/sagas", headers=HTML)
        assert page.status_code == 429
        is_page(page.text, "Too many calls")
        assert int(page.headers["retry-after"]) > 0
