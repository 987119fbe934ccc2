"""The console's pages on a real store: whole without a script, exact numbers, nobody's text let in."""

import asyncio
import itertools
import re
import shutil
from collections.abc import AsyncIterator
from datetime import timedelta
from html import unescape
from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest

from sagacity.definition.project import Project
from sagacity.orchestrator import Orchestrator
from sagacity.runtime.worker import Worker
from sagacity.testing.running import settled
from sagacity.web.api import create_app
from sagacity.web.console.live import Pulse

COUNTER = Path(__file__).parents[1] / "browser" / "counter.py"
HTML = {"accept": "text/html"}
PAGES = ("/", "/sagas", "/locks", "/dry-runs", "/definitions")
_numbers = itertools.count(1)


class Console:
    """A console with its worker."""

    def __init__(self, sagas: Orchestrator, client: httpx2.AsyncClient) -> None:
        self.sagas, self.client = sagas, client

    async def get(self, path: str, **headers: str) -> httpx2.Response:
        return await self.client.get(path, headers=HTML | headers)

    async def sold(self, order: str, **more: str) -> str:
        """A sale that has come to rest; its id."""
        handle = await self.sagas.start("Sale", {"order": order, "customer": order, **more})
        await settled(self.sagas, handle.id)
        return str(handle.id)


@pytest.fixture
async def console(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Console]:
    module = f"watched_counter_{next(_numbers)}"
    shutil.copy(COUNTER, tmp_path / f"{module}.py")
    monkeypatch.chdir(tmp_path)
    project = Project.load(f"{module}.py", folder=tmp_path)
    async with await Orchestrator.open(
        f"sqlite:///{tmp_path}/console.db", project=project, accept_loss=True
    ) as sagas:
        worker = Worker(sagas.store, project.flows, project.participants)
        running = asyncio.create_task(worker.run())
        await worker.ready.wait()
        transport = httpx2.ASGITransport(app=create_app(sagas))
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            yield Console(sagas, client)
        await worker.stop(grace=timedelta(seconds=5))
        await running


async def test_every_page_is_a_whole_document_without_inline_script_or_style_or_foreign_address(
    console: Console,
) -> None:
    sale = await console.sold("S-1")
    for path in (*PAGES, f"/sagas/{sale}", f"/sagas/{sale}/lines"):
        answer = await console.get(path)
        assert answer.status_code == 200, (path, answer.text)
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert "script-src 'self'" in answer.headers["content-security-policy"]
        text = answer.text
        assert text.startswith("<!doctype html>")
        assert re.findall(r"<script(?! src=)", text) == [], path
        assert re.findall(r"<style|\sstyle=|\son[a-z]+=", text) == [], path
        assert re.findall(r"(?:src|href|action)=\"(?:https?:)?//", text) == [], path
        assert 'lang="en"' in text
        assert text.count("<h1") == 1, path


async def test_numbers_stand_on_the_page_as_they_were_stored(console: Console) -> None:
    sale = await console.sold("S-1", amount="0.10")
    text = unescape(re.sub(r"<[^>]+>", "", (await console.get(f"/sagas/{sale}")).text))
    assert '"amount": "0.10"' in text
    assert '"serial": 9007199254740993' in text
    assert "9007199254740992" not in text


async def test_a_saga_is_found_by_its_business_key_and_an_unknown_one_is_a_page_that_says_so(
    console: Console,
) -> None:
    sale = await console.sold("S-1")
    found = await console.get("/find?ref=S-1")
    assert (found.status_code, found.headers["location"]) == (303, f"/sagas/{sale}")
    for path in ("/sagas/nobody", "/find?ref=nobody", "/sagas?status=odd"):
        answer = await console.get(path)
        assert answer.status_code in (404, 422, 400), path
        assert answer.text.startswith("<!doctype html>")
    assert "nobody" in (await console.get("/sagas/nobody")).text


async def test_what_users_wrote_is_shown_and_never_run(console: Console) -> None:
    evil = "<script>alert(1)</script>\"'&"
    sale = await console.sold(evil)
    for path in (f"/sagas/{sale}", "/sagas", f"/sagas/{sale}/lines", "/locks"):
        text = (await console.get(path)).text
        assert "<script>alert" not in text, path
    assert "&lt;script&gt;alert(1)" in (await console.get("/sagas")).text


async def test_a_long_log_comes_in_pieces_that_leave_no_line_out(console: Console) -> None:
    handle = await console.sagas.start("Chatter", {"name": "long", "times": 450})
    await settled(console.sagas, handle.id)
    many = len(await console.sagas.history(handle.id))
    assert many > 450
    seen: list[int] = []
    path: str | None = f"/sagas/{handle.id}/lines"
    while path is not None:
        text = (await console.get(path, **{"hx-request": "true"})).text
        assert "<html" not in text, "a script gets the piece alone"
        seen += [int(one) for one in re.findall(r'id="line-(\d+)"', text)]
        more = re.search(r'hx-get="([^"]+)"', text)
        path = unescape(more[1]) if more else None
    assert seen == list(range(many))
    page = (await console.get(f"/sagas/{handle.id}/lines?after=199")).text
    assert 'id="line-200"' in page
    assert "<html" in page, "who has no script gets a whole page"


async def test_only_what_went_wrong_can_be_shown(console: Console, tmp_path: Path) -> None:
    (tmp_path / "charge-is-down").touch()
    sale = await console.sold("S-1")
    text = (await console.get(f"/sagas/{sale}/lines?failures=true")).text
    kinds = set(re.findall(r'<span class="kind">([^<]+)<', text))
    assert kinds == {"failed"}
    assert "503 charge is down" in text


async def test_colours_and_keys_are_kept_in_cookies_and_lead_back_to_our_own_pages_only(
    console: Console,
) -> None:
    page = await console.get("/sagas")
    csrf = re.search(r'name="csrf" value="([^"]+)"', page.text)
    assert csrf is not None
    origin = {"origin": "http://127.0.0.1"}
    for back, leads in (("/sagas?status=stuck", "/sagas?status=stuck"), ("//evil.example/", "/")):
        form = {"csrf": csrf[1], "theme": "dark", "keys": "off", "back": back}
        answer = await console.client.post("/console/settings", data=form, headers=origin)
        assert (answer.status_code, answer.headers["location"]) == (303, leads), answer.text
    text = (await console.get("/sagas")).text
    assert 'data-theme="dark"' in text
    assert "data-keys" not in text


async def test_files_of_the_pages_come_from_here_and_are_kept_by_the_browser(console: Console) -> None:
    text = (await console.get("/")).text
    files = re.findall(r'"(/console/static/[^"]+)"', text)
    assert len(files) >= 4
    for file in files:
        answer = await console.get(file)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
    assert (await console.get("/console/static/frame.py")).status_code == 404
    assert (await console.get("/console/static/..%2Fframe.py")).status_code == 404


class Striding:
    """A clock that has gone on by as much as somebody slept."""

    def __init__(self) -> None:
        self.at = 0.0

    def monotonic(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += seconds


async def test_a_stream_ends_within_a_minute_so_nobody_listens_longer_than_they_are_let_in(
    console: Console,
) -> None:
    clock = Striding()
    pulse = Pulse(SimpleNamespace(sagas=console.sagas), clock)  # type: ignore[arg-type]
    stream = pulse.events()
    said = [await anext(stream)]
    assert pulse.open == 1
    said += [event async for event in stream]
    assert said[0].startswith("retry: 3000\nevent: here")
    assert (pulse.open, clock.at) == (0, 60.0)


async def test_no_more_streams_are_open_than_the_server_bears(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sagacity.web.console.live.LISTENERS", 0)
    answer = await console.get("/console/events")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
