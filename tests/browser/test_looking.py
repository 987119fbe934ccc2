"""Looking in a browser: nothing for axe to find, exact numbers, rows that stay where they are, long logs."""

import json
from datetime import timedelta
from uuid import UUID

import pytest
from playwright.sync_api import Page, expect

from sagacity.chain import extend
from sagacity.fold import folded
from sagacity.ids import new_id
from sagacity.model import lines as L
from sagacity.model.canonical import JsonText, canonical
from sagacity.model.unit import Batch, Message, Unit, WorkerInfo
from sagacity.orchestrator import Orchestrator
from tests.browser.conftest import AXE, Inviting, Someone
from tests.browser.shop import Shop

LINES = 10_000
PAGES = ("/", "/sagas", "/operations", "/locks", "/dry-runs", "/definitions", "/audit", "/sagas?q=odd:1")


def _addresses(shop: Shop, someone: Someone) -> list[str]:
    """Every page, each with something on it."""
    sale = shop.stuck("X-1")
    shop.start("Sale", order="X-2", customer="X-1", amount="3.00")
    page = someone.goes(f"/sagas/{sale}/acts/skip")
    page.goto(f"{shop.url}/sagas/{sale}/acts/abandon")
    page.get_by_role("button", name="Plan it").click()
    expect(page.locator("h1")).to_have_text("Abandon Sale X-1")
    plan = page.url.removeprefix(shop.url)
    own = (f"/sagas/{sale}", f"/sagas/{sale}/lines", f"/sagas/{sale}/acts/force", f"/sagas/{sale}/acts/skip")
    return [*PAGES, *own, plan, "/sagas/nobody"]


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_axe_finds_nothing_on_any_page(shop: Shop, invite: Inviting, colours: str) -> None:
    someone = invite(color_scheme=colours, bypass_csp=True)
    found = {}
    for path in _addresses(shop, someone):
        page = someone.goes(path)
        page.add_script_tag(path=AXE)
        tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
        report = page.evaluate("tags => axe.run(document, {runOnly: tags})", tags)
        assert len(report["passes"]) > 15, path
        found[path] = [
            (one["id"], one["nodes"][0]["html"][:160], one["nodes"][0].get("failureSummary", "")[:200])
            for one in report["violations"]
        ]
    assert {path: what for path, what in found.items() if what} == {}


def test_no_page_is_wider_than_a_telephone(shop: Shop, invite: Inviting) -> None:
    someone = invite(viewport={"width": 400, "height": 800})
    wide = {}
    for path in _addresses(shop, someone):
        width = someone.goes(path).evaluate("document.documentElement.scrollWidth")
        wide[path] = width
    assert {path: width for path, width in wide.items() if width > 400} == {}


def test_numbers_are_the_same_on_the_page_when_copied_on_the_command_line_and_from_the_api(
    shop: Shop, invite: Inviting
) -> None:
    sale = shop.start("Sale", order="N-1", customer="N-1", amount="0.10", serial=9007199254740993)
    shop.reaches(sale, "committed")
    page = invite().goes(f"/sagas/{sale}")
    shown = page.locator("#data pre").first
    copied = page.evaluate(
        "node => { getSelection().selectAllChildren(node); return getSelection().toString(); }",
        shown.element_handle(),
    )
    for text in (shown.inner_text(), copied):
        value = json.loads(text, parse_int=str)
        assert (value["amount"], value["serial"]) == ("0.10", "9007199254740993")
    printed = shop.sagacity("show", sale, "-o", "json")
    api = page.context.request.get(f"{shop.url}/v1/sagas/{sale}").text()
    for text in (printed, api):
        assert '"serial":9007199254740993' in text.replace(" ", "")
        assert '"amount":"0.10"' in text.replace(" ", "")
    expect(page.locator("#effects")).to_contain_text("9007199254740993")


def test_a_row_changes_where_it_stands_and_what_is_new_is_announced(shop: Shop, invite: Inviting) -> None:
    shop.down("refund")
    waiting = shop.start("Credit", number="L-1", customer="L-1", amount="5")
    shop.reaches(waiting, "waiting")
    page = invite().goes("/sagas")
    expect(page.locator("body[data-stream=here]")).to_be_attached()
    before = _order(page)
    row = page.locator(f"#saga-{waiting}")
    expect(row).to_contain_text("waiting")
    top = row.bounding_box()
    shop.start("Sale", order="L-2", customer="L-2", amount="1.00")
    shop.sagacity("signal", waiting, "credit", "--data", '{"approved": true}')
    expect(row).to_contain_text("committed")
    expect(page.locator("#show-news")).to_contain_text("1 change, show")
    assert _order(page) == before, "no row moved, none came in"
    assert row.bounding_box() is not None
    assert top is not None
    page.keyboard.press("r")
    expect(page.locator("tr", has_text="L-2")).to_be_visible()
    expect(page.locator("#show-news")).to_be_hidden()


def _order(page: Page) -> list[str]:
    found: list[str] = page.eval_on_selector_all("[data-rows] [data-row]", "rows => rows.map(row => row.id)")
    return found


def test_colours_and_keys_can_be_switched(shop: Shop, invite: Inviting) -> None:
    page = invite(color_scheme="light").goes("/sagas")
    light = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    page.get_by_role("button", name="dark").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") != light
    page.keyboard.press("/")
    expect(page.locator("#find")).to_be_focused()
    page.get_by_role("button", name="off").click()
    expect(page.locator("html[data-keys]")).to_have_count(0)
    page.keyboard.press("/")
    expect(page.locator("#find")).not_to_be_focused()


def test_a_log_of_ten_thousand_lines_scrolls(shop: Shop, invite: Inviting) -> None:
    saga = shop.ask(_long)
    page = invite().goes(f"/sagas/{saga}")
    expect(page.locator("#event-count")).to_have_text(str(LINES))
    log = page.locator("#log > li[data-row]")
    expect(log).to_have_count(200)
    for pieces in range(2, 7):
        page.locator("#log > li").last.scroll_into_view_if_needed()
        expect(page.locator(f"#line-{pieces * 200 - 1}")).to_be_attached()
    seqs = page.eval_on_selector_all("#log .seq", "all => all.map(one => Number(one.textContent))")
    assert seqs == list(range(len(seqs))), "one behind the other, none twice"
    page.get_by_role("link", name="the last 200").click()
    expect(page.locator(f"#line-{LINES - 1}")).to_contain_text("committed")


async def _long(app: Orchestrator) -> UUID:
    """A saga with ten thousand lines, written at once."""
    flow, saga, worker = app.project.flows["Chatter"], new_id(), new_id()
    now = await app.store.now()
    info = WorkerInfo(
        id=worker, name="long", definitions={}, started_at=now, lease_until=now + timedelta(minutes=1)
    )
    head = await app.store.register(info)
    begun = L.Started(
        definition=flow.name,
        version=flow.version,
        definition_hash=flow.hash,
        key="long",
        request_hash="",
        input=canonical({"name": "long", "times": LINES}),
        state=("talking",),
        at=now,
    )
    lines: list[L.Line] = [begun]
    lines += [
        L.Completed(
            step="say_it",
            visit=n,
            attempt=1,
            result=JsonText(f'{{"count":{n}}}'),
            state=("talking",) if n < LINES - 2 else ("silent",),
            at=now,
        )
        for n in range(1, LINES - 1)
    ]
    lines.append(L.Committed(at=now))
    record = folded(saga, lines)
    start = Message(
        id=saga, kind="start", saga=saga, definition=flow.name, key="long", data=begun.input, arrived_at=now
    )
    unit = Unit(record=record, before=None, epoch=1, lines=tuple(lines), release=True, start=start)
    rows = extend(head, [unit], tenant=app.store.tenant, lane=app.store.lane)
    await app.store.write(Batch(head=head, rows=rows, units=(unit,), worker=worker))
    await app.store.unregister(worker)
    return saga
