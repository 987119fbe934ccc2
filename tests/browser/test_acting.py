"""Acting in a browser, with a real worker and PostgreSQL: by keyboard, in two, with two people."""

import httpx2
from playwright.sync_api import expect

from tests.browser.conftest import Inviting
from tests.browser.shop import Shop, until


def test_a_stuck_compensation_is_resolved_from_the_attention_page_by_keyboard_alone(
    shop: Shop, invite: Inviting
) -> None:
    sale = shop.stuck("K-1")
    page = invite().goes("/sagas")
    keys = page.keyboard
    keys.press("g")
    keys.press("a")
    expect(page.locator("h1")).to_have_text("Attention")
    for _ in range(30):
        keys.press("j")
        if "K-1" in str(page.evaluate("document.activeElement.textContent")):
            break
    keys.press("Enter")
    expect(page.locator("h1")).to_have_text("K-1")
    expect(page.locator("#why")).to_contain_text("503 refund is down for maintenance")
    shop.up("refund")
    keys.press(".")
    expect(page.locator(":focus")).to_have_text("retry")
    keys.press("Enter")
    expect(page.locator("h1")).to_have_text("Retry")
    keys.press(".")
    expect(page.locator(":focus")).to_have_text("Plan it")
    keys.press("Enter")
    expect(page.locator("h1")).to_have_text("Retry Sale K-1")
    expect(page.locator("#items-live")).to_contain_text("GiveBack makes good for take_money")
    assert shop.status(sale) == "stuck", "a plan changes nothing"
    keys.press(".")
    expect(page.locator(":focus")).to_have_attribute("name", "reason")
    keys.type("the bank answers again")
    keys.press("Enter")
    expect(page.locator("#outcome")).to_contain_text("Done.")
    shop.reaches(sale, "rolled_back")
    keys.press("g")
    keys.press("a")
    expect(page.locator("h1")).to_have_text("Attention")
    expect(page.locator("main")).not_to_contain_text("K-1")
    keys.press("g")
    keys.press("u")
    row = page.locator("tr", has_text="K-1")
    expect(row).to_contain_text("the bank answers again")
    expect(row).to_contain_text("dev")


def test_of_two_browsers_with_a_plan_each_the_later_one_is_refused_and_told_what_moved(
    shop: Shop, invite: Inviting
) -> None:
    sale = shop.stuck("T-1")
    first, second, late = invite().page, invite().page, invite(java_script_enabled=False).page
    for page in (first, second, late):
        page.goto(f"{shop.url}/sagas/{sale}/acts/retry")
        page.get_by_role("button", name="Plan it").click()
        expect(page.locator("h1")).to_have_text("Retry Sale T-1")
    assert len({page.url for page in (first, second, late)}) == 3, "three plans"
    shop.up("refund")
    first.get_by_role("button", name="Retry Sale T-1").click()
    expect(first.locator("#outcome")).to_contain_text("Done.")
    expect(second.locator("#stale")).to_contain_text("This plan is stale")
    expect(second.get_by_role("button", name="Retry Sale T-1")).to_be_hidden()
    with late.expect_response(lambda answer: answer.request.method == "POST") as answered:
        late.get_by_role("button", name="Retry Sale T-1").click()
    assert answered.value.status == 409
    expect(late.locator("#error")).to_contain_text("is stale, nothing was done")
    shop.reaches(sale, "rolled_back")
    lines = shop.sagacity("log", sale)
    assert lines.count("retry") == 1, lines


def test_what_is_dangerous_takes_a_reason_a_typed_key_and_a_second_person(
    shop: Shop, invite: Inviting
) -> None:
    sale = shop.stuck("A-1")
    maker, other = invite(), invite()
    other.becomes("second")
    page = maker.goes(f"/sagas/{sale}/acts/abandon")
    page.get_by_role("button", name="Plan it").click()
    expect(page.locator("#waits")).to_contain_text("Somebody else has to approve it first")
    expect(page.get_by_role("button", name="Approve")).to_have_count(0)
    page.locator("#reason").fill("settled with the customer")
    page.locator("#confirm").fill("A-1")
    page.get_by_role("button", name="Abandon Sale A-1").click()
    expect(page.locator("#error")).to_contain_text("second person")
    token = page.locator("input[name=csrf]").first.get_attribute("value") or ""
    own = maker.context.request.post(
        f"{page.url.removesuffix('/apply')}/approve", form={"csrf": token}, headers={"origin": shop.url}
    )
    assert own.status == 403, "nobody approves a plan of their own"
    assert shop.status(sale) == "stuck"

    seen = other.goes("/")
    seen.get_by_text("abandon", exact=False).first.click()
    seen.locator("tr", has_text="A-1").get_by_role("link", name="plan").click()
    expect(seen.locator("#items-live")).to_contain_text("stays as it is, for ever")
    seen.get_by_role("button", name="Approve").click()
    expect(seen.locator(".facts")).to_contain_text("approved by second")

    page.goto(page.url.removesuffix("/apply"))
    expect(page.locator(".facts")).to_contain_text("approved by second")
    page.locator("#reason").fill("settled with the customer")
    page.locator("#confirm").fill("A-2")
    page.get_by_role("button", name="Abandon Sale A-1").click()
    expect(page.locator("#error")).to_contain_text("'A-1', typed as confirmation")
    page.locator("#confirm").fill("A-1")
    page.get_by_role("button", name="Abandon Sale A-1").click()
    expect(page.locator("#outcome")).to_contain_text("Done.")
    shop.reaches(sale, "abandoned")
    line = page.goto(f"{shop.url}/audit")
    assert line is not None
    row = page.locator("tr", has_text="A-1").filter(has_text="abandon")
    expect(row).to_contain_text("settled with the customer")
    expect(row).to_contain_text("second")


def test_everything_can_be_read_and_done_without_script(shop: Shop, invite: Inviting) -> None:
    sale = shop.stuck("J-1")
    page = invite(java_script_enabled=False).goes("/")
    page.get_by_role("link", name="J-1").click()
    expect(page.locator("h1")).to_have_text("J-1")
    expect(page.locator("svg.diagram")).to_be_visible()
    expect(page.locator("ol.outline")).to_contain_text("the saga is here")
    page.get_by_label("only what went wrong").check()
    page.get_by_role("button", name="Narrow").click()
    expect(page.locator("#log")).to_contain_text("503 refund is down")
    page.go_back()
    page.get_by_role("link", name="retry", exact=True).click()
    page.get_by_role("button", name="Plan it").click()
    shop.up("refund")
    page.locator("#reason").fill("the bank is there again")
    page.get_by_role("button", name="Retry Sale J-1").click()
    expect(page.locator("#outcome")).to_be_visible()
    shop.reaches(sale, "rolled_back")
    page.reload()
    expect(page.locator("#outcome")).to_contain_text("Done.")
    page.locator("#find").fill("J-1")
    page.locator("#find").press("Enter")
    expect(page.locator("#facts")).to_contain_text("rolled back")


def test_a_plan_for_many_touches_those_that_were_ticked(shop: Shop, invite: Inviting) -> None:
    shop.down("refund")
    sales = {
        order: shop.start("Sale", order=order, customer=order, amount="1500")
        for order in ("B-1", "B-2", "B-3")
    }
    for sale in sales.values():
        shop.reaches(sale, "stuck")
    page = invite().goes("/sagas?q=status:stuck")
    for order in ("B-1", "B-2"):
        page.get_by_label(f"tick Sale {order}").check()
    expect(page.locator("#ticked")).to_have_text("2")
    shop.start("Credit", number="B-9", customer="nobody", amount="1")
    page.wait_for_timeout(1500)
    expect(page.get_by_label("tick Sale B-1")).to_be_checked()
    shop.up("refund")
    page.get_by_role("button", name="those ticked").click()
    expect(page.locator("h1")).to_have_text("Retry 2 sagas")
    page.get_by_role("button", name="Retry 2 sagas").click()
    expect(page.locator("#outcome")).to_contain_text("2 done")
    for order in ("B-1", "B-2"):
        shop.reaches(sales[order], "rolled_back")
    assert shop.status(sales["B-3"]) == "stuck"


def test_a_viewer_can_look_at_everything_and_write_nowhere(shop: Shop, invite: Inviting) -> None:
    from sagacity.model.operating import Role
    from sagacity.web.roles import ROLES

    sale = shop.stuck("V-1")
    token = shop.sagacity("token", "issue", "looker", "--role", "viewer", "--person").split()[-1]
    before = shop.ask(lambda app: app.store.heads())
    with shop.serving() as url:
        headers = {"authorization": f"Bearer {token}"}
        someone = invite(url=url, extra_http_headers=headers)
        page = someone.goes(f"/sagas/{sale}")
        expect(page.locator("#actor")).to_have_text("token:looker")
        expect(page.locator("#allowed a")).to_have_count(0)
        expect(page.locator("#allowed")).to_contain_text("has not the role operator")
        for path in ("/", "/sagas", "/operations", "/locks", "/dry-runs", "/definitions", "/audit"):
            page.goto(url + path)
            expect(page.locator("main form[method=post]")).to_have_count(0)
        tried = []
        with httpx2.Client(base_url=url, headers=headers) as client:
            for call, role in ROLES.items():
                method, _, path = call.partition(" ")
                if method == "GET" or role is None:
                    continue
                answer = client.request(method, _filled(path, sale), json={}, headers={"origin": url})
                tried.append((call, answer.status_code))
                if role is not Role.VIEWER:
                    assert answer.status_code == 403, (call, answer.text)
                else:
                    assert answer.status_code in (303, 403, 404, 415, 422), (call, answer.text)
        assert len(tried) > 12
        someone.page.goto("about:blank")
    shop.sagacity("token", "revoke", "looker")
    until(lambda: shop.ask(lambda app: app.store.heads()) == before, "nothing was written")
    assert shop.status(sale) == "stuck"


def _filled(path: str, saga: str) -> str:
    """A path of the table with this saga in it."""
    for name in ("{saga}", "{ref}", "{plan}", "{run}", "{token}", "{selection}"):
        path = path.replace(name, saga)
    return path.replace("{verb}", "retry").replace("{type}", "x").replace("{id:path}", "x")
