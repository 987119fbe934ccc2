"""Debian's Chromium and a shop that runs, for every test that looks at pages."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from sagacity.store.private import PrivatePostgres
from tests.browser.shop import Shop

AXE = Path(__file__).with_name("vendored") / "axe.min.js"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The distribution's browser. Where there is none this fails: nothing was looked at then.

    For one module at a time: its driver keeps a loop in this thread, and other tests need theirs.
    """
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert found is not None, "no Chromium here: apt-get install chromium (.ci/run does)"
    expect.set_options(timeout=20_000)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def shop(pg_server: PrivatePostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A shop with a worker and a server, both processes of their own, on PostgreSQL."""
    made = Shop(tmp_path_factory.mktemp("shop"), pg_server.create_database("browser"))
    made.sagacity("migrate")
    with made.working(), made.serving() as url:
        made.url = url
        yield made
    made.close()


class Someone:
    """A person with a browser."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.context, self.url = context, url
        self.faults: list[str] = []
        self.page = context.new_page()
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", self._hears)

    def _hears(self, said: ConsoleMessage) -> None:
        if said.type == "error":
            self.faults.append(said.text)

    def goes(self, path: str) -> Page:
        """Open a page."""
        self.page.goto(self.url + path)
        return self.page

    def becomes(self, name: str) -> None:
        """Switch to the other person of development."""
        self.goes("/operations")
        self.page.get_by_role("button", name=f"become {name}").click()
        expect(self.page.locator("#actor")).to_have_text(name)


@pytest.fixture
def people(chromium: Browser, shop: Shop) -> Iterator[list[Someone]]:
    """Whoever has a browser in this test; nothing may have gone wrong in any of them."""
    found: list[Someone] = []
    yield found
    for one in found:
        faults = [fault for fault in one.faults if "status of 4" not in fault]
        one.context.close()
        assert faults == []


class Inviting:
    """Gives people browsers."""

    def __init__(self, chromium: Browser, shop: Shop, people: list[Someone]) -> None:
        self._chromium, self._shop, self._people = chromium, shop, people

    def __call__(self, *, url: str | None = None, **options: object) -> Someone:
        """A browser of its own. `url`: of another server; `options`: those of Playwright's `new_context`."""
        context = self._chromium.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})  # type: ignore[arg-type]
        someone = Someone(context, url or self._shop.url)
        self._people.append(someone)
        return someone


@pytest.fixture
def invite(chromium: Browser, shop: Shop, people: list[Someone]) -> Inviting:
    """Call it for a browser."""
    return Inviting(chromium, shop, people)
