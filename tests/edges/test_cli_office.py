"""The office on the command line: plans are shown, what is missing is said, nothing is done by halves."""

import io
import json
import re

import pytest

from sagacity.cli.call import Call
from tests.edges.shop import Said, Shop

ORDERS = [{"order_id": f"o{n}", "amount": "3"} for n in range(1, 4)]


@pytest.fixture
def busy(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """Three orders that wait for a signal, and one that is stuck; ana sits at the command line."""
    monkeypatch.setenv("SAGACITY_ACTOR", "ana")
    monkeypatch.setenv("COLUMNS", "80")
    shop.run("Order", *ORDERS)
    shop.run("Jammed", {"sale_id": "j1"})
    return shop


def narrow(said: Said) -> Said:
    """The same, and every line of it fits 80 columns."""
    assert [line for line in said.lines if len(line) > 80] == []
    return said


def plan_id(said: Said) -> str:
    found = re.search(r"PLAN ([0-9a-f-]{36})", said.out)
    assert found, said
    return found[1]


def worked(shop: Shop) -> None:
    """What lies in the mail is carried out."""
    shop.run("Order", ORDERS[0])
    shop.run("Jammed", {"sale_id": "j1"})


def test_attention_shows_what_is_stuck_and_a_retry_is_seen_through(busy: Shop) -> None:
    said = narrow(busy.says("attention"))
    assert said.code == 1
    assert "undo_failed" in said.out
    assert "j1" in said.out
    [group] = json.loads(busy.says("attention", "-o", "json").out)["items"]
    assert (group["count"], group["exact"], group["definition"]) == (1, True, "Jammed")
    [row] = busy.says("attention", "--rows", "-o", "jsonl").lines
    assert json.loads(row)["key"] == "j1"

    planned = narrow(busy.says("retry", "j1", "--plan"))
    assert planned.code == 0
    assert "asks for   nothing more" in planned.out
    assert "nothing was changed" in planned.err
    assert busy.says("ops").err.strip() == "no plan was applied yet"
    assert busy.says("plan", "apply", plan_id(planned)).code == 0
    worked(busy)
    assert "done" in narrow(busy.says("ops", plan_id(planned))).out
    assert "1 done" in busy.says("ops").out
    audit = narrow(busy.says("audit"))
    assert "local:ana" in audit.out
    assert "retry" in audit.out
    assert busy.says("audit", "--actor", "local:bob").err.strip() == "nobody has acted yet"


def test_an_acknowledged_item_is_left_out_until_its_saga_moves(busy: Shop) -> None:
    assert busy.says("ack", "j1").code == 0
    worked(busy)
    assert busy.says("attention").code == 0
    assert busy.says("retry", "j1").code == 0
    worked(busy)
    assert busy.says("attention").code == 1


def test_every_act_names_its_page_where_the_consoles_address_is_known(
    busy: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "page:" not in busy.says("retry", "j1", "--plan").err
    monkeypatch.setenv("SAGACITY_WEB_URL", "https://sagas.example/")
    planned = busy.says("retry", "j1", "--plan")
    page = f"page:  https://sagas.example/plans/{plan_id(planned)}"
    assert page in planned.err
    assert page in busy.says("plan", "apply", plan_id(planned)).err


def test_pause_and_resume_do_one_thing_each(busy: Shop) -> None:
    assert busy.says("pause", "o1", "--reason", "the carrier is down").code == 0
    worked(busy)
    assert "paused" in busy.says("show", "o1").out
    assert busy.says("list", "-q", "paused:yes", "-o", "ids").lines == [key(busy, "o1")]
    assert busy.says("pause", "o1").code == 6
    assert busy.says("resume", "o1").code == 0
    worked(busy)
    assert busy.says("list", "-q", "paused:yes", "-o", "ids").lines == []


def key(shop: Shop, name: str) -> str:
    [id_] = shop.says("list", "--key", name, "-o", "ids").lines
    return id_


def test_a_selection_of_several_is_only_planned_until_somebody_says_yes(busy: Shop) -> None:
    chosen = busy.says("select", "type:Order status:waiting", "-o", "ids")
    [selection] = chosen.lines
    said = narrow(busy.says("pause", selection))
    assert said.code == 3
    assert "pause 3 sagas, tier 1" in said.out
    assert "it still needs a confirmation" in said.err
    told = json.loads(busy.says("pause", selection, "-o", "json").out)
    assert (told["applied"], told["missing"], len(told["items"])) == (False, ["confirmation"], 3)
    assert told["apply_command"] == f"sagacity plan apply {told['plan']} --yes"
    assert busy.says("audit").out == ""
    assert busy.says("plan", "apply", told["plan"], "--yes").code == 0
    worked(busy)
    assert busy.says("ops", told["plan"], "-o", "jsonl").out.count('"state":"done"') == 3


def test_ids_are_read_from_stdin(busy: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = busy.says("list", "-q", "type:Order waits:signal", "-o", "ids").out
    monkeypatch.setattr("sys.stdin", io.StringIO(ids))
    said = busy.says("cancel", "-", "--reason", "the shop has closed", "--yes")
    assert said.code == 0
    assert "cancel is on its way to 3 sagas" in said.out
    worked(busy)
    assert busy.says("list", "-s", "rolled_back", "-o", "ids").out.count("\n") == 3


def test_a_stale_plan_is_5_and_says_what_moved(busy: Shop) -> None:
    stale = busy.says("cancel", "o1", "--plan")
    assert busy.says("pause", "o1").code == 0
    worked(busy)
    said = busy.says("plan", "apply", plan_id(stale), "--reason", "the customer called")
    assert said.code == 5
    assert "(o1) stood at revision" in said.err
    assert busy.says("resume", "o1", "--expect-rev", "1").code == 5


def test_abandoning_takes_a_second_person_or_breaks_the_glass(
    busy: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = narrow(busy.says("abandon", "j1", "--reason", "settled by hand", "--yes"))
    assert said.code == 3
    assert f"sagacity plan approve {plan_id(said)}" in said.err
    assert busy.says("plan", "approve", plan_id(said)).code == 6
    monkeypatch.setenv("SAGACITY_ACTOR", "bob")
    assert busy.says("plan", "approve", plan_id(said)).code == 0
    assert "approved by local:bob" in busy.says("plan", "show", plan_id(said)).out
    doing = ("plan", "apply", plan_id(said), "--reason", "settled by hand", "--yes")
    assert busy.says(*doing).code == 6, "who approved it would do it alone"
    monkeypatch.setenv("SAGACITY_ACTOR", "ana")
    assert busy.says(*doing).code == 0
    worked(busy)
    assert "abandoned" in busy.says("show", "j1").out
    assert busy.says("plan", "reject", plan_id(said)).code == 5


def test_broken_glass_is_acknowledged_by_somebody_else(busy: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    said = busy.says("abandon", "j1", "--reason", "nobody is awake", "--yes", "--break-glass", "-o", "json")
    assert said.code == 0
    plan = json.loads(said.out)["plan"]
    worked(busy)
    assert "break_glass" in busy.says("attention").out
    assert "(no second person)" in busy.says("audit", "-o", "json").out
    assert busy.says("ack", plan).code == 6
    monkeypatch.setenv("SAGACITY_ACTOR", "bob")
    assert busy.says("ack", plan).code == 0
    assert busy.says("attention").code == 0


def test_at_a_terminal_a_bulk_is_asked_for(busy: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    [selection] = busy.says("select", "type:Order", "-o", "ids").lines
    monkeypatch.setattr(Call, "at_terminal", property(lambda _: True))
    monkeypatch.setattr("typer.confirm", lambda *_, **__: False)
    assert busy.says("pause", selection).code == 3
    monkeypatch.setattr("typer.confirm", lambda *_, **__: True)
    assert busy.says("pause", selection).code == 0


def test_whoami_and_can_tell_before_anything_is_done(busy: Shop) -> None:
    assert busy.says("whoami").out == "local:ana, a person with the role admin for all definitions\n"
    yes = busy.says("can", "abandon", "j1")
    assert (yes.code, yes.out) == (0, "yes: tier 3, asks for reason and confirmation and approval\n")
    no = busy.says("can", "retry", "o1")
    assert (no.code, no.out) == (6, "no: nothing to retry: it is waiting\n")
    assert busy.says("can", "explode", "o1").code == 2


def test_show_offers_commands_that_can_be_pasted(busy: Shop) -> None:
    shown = busy.says("show", "j1").out
    assert "sagacity skip j1 --landed yes --plan" in shown
    assert busy.says("skip", "j1", "--landed", "yes", "--plan").code == 0
    assert busy.says("abandon", "j1", "--plan").code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("list", "-q", "colour:red"), 2, "column 1: there is no qualifier colour:"),
        (("list", "-q", "type:A", "-s", "stuck"), 2, "either --query or --status"),
        (("select", 'error:"503"'), 2, "would read every saga"),
        (("plan", "show", "nonsense"), 2, "is not an id"),
        (("plan", "burn", "019caefd-6f00-7000-8000-000000000001"), 2, "say show, apply"),
        (("plan", "show", "019caefd-6f00-7000-8000-000000000001"), 4, "no plan"),
        (("ops", "019caefd-6f00-7000-8000-000000000001"), 4, "no plan"),
        (("skip", "o1", "--landed", "perhaps"), 2, "say yes or no"),
        (("release-lock", "a:1", "--expect-holder", "nobody", "--fence", "1"), 4, "no saga 'nobody'"),
    ],
)
def test_bad_calls_of_the_office_say_what_to_mend(
    busy: Shop, arguments: tuple[str, ...], code: int, says: str
) -> None:
    said = busy.says(*arguments)
    assert (said.code, says in said.err) == (code, True), said
