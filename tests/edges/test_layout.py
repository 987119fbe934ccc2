"""What a screen of 80 columns shows: whole words, whole ids, and no line that runs over."""

import json
from pathlib import Path

import pytest

from sagacity.cli.layout import Column, hanging, json_lines, table
from tests.edges.shop import Shop

ID = "01a1fd41-d80d-777f-83e0-8a39c477e2ff"
ITEMS = [{"key": ID, "state": "shipped", "why": "the carrier called the shipment off, twice " * 2}] * 2
COLUMNS = [
    Column(title="KEY", text=lambda item: item["key"]),
    Column(title="STATE", text=lambda item: item["state"], spare=1),
    Column(title="WHY", text=lambda item: item["why"].strip(), wraps=True),
]


def drawn(width: int | None) -> list[str]:
    return ["".join(text for text, _ in line) for line in table(ITEMS, COLUMNS, width=width)]


def test_without_a_width_every_item_is_one_line() -> None:
    assert len(drawn(None)) == 3
    assert all(item["why"].strip() in line for item, line in zip(ITEMS, drawn(None)[1:], strict=True))


def test_texts_wrap_first_and_ids_never() -> None:
    lines = drawn(80)
    assert lines[0].split() == ["KEY", "STATE", "WHY"]
    assert all(len(line) <= 80 for line in lines)
    assert sum(ID in line for line in lines) == 2
    assert " ".join(" ".join(lines[1:]).split()).count("twice") == 4


def test_then_what_can_be_spared_goes_and_last_every_item_stands_by_itself() -> None:
    assert drawn(60)[0].split() == ["KEY", "WHY"]
    alone = drawn(50)
    assert alone[0] == f"KEY    {ID}"
    assert alone[1] == "STATE  shipped"
    assert "" in alone
    assert all(len(line) <= 50 for line in alone)


def test_a_long_word_is_not_broken_where_the_screen_is_too_narrow() -> None:
    assert f"KEY    {ID}" in drawn(30)


def test_a_line_hangs_under_its_own_beginning() -> None:
    assert hanging("  1  ", "a b c " * 20, width=60).splitlines()[1].startswith("     b c a")
    assert "\n" not in hanging("  1  ", "a b c " * 20, width=None)


def test_long_json_has_a_line_for_each_field_and_every_byte_of_it() -> None:
    text = json.dumps({"a": 'x,{[\\"]}' * 9, "b": [1.10, {"c": {}}], "d": 9007199254740993})
    text = text.replace(", ", ",").replace(": ", ":")
    shown = json_lines(text, width=60)
    assert len(shown.splitlines()) == 5
    assert json.loads(shown) == json.loads(text)
    assert "".join(line.removeprefix("  ") for line in shown.splitlines()) == text
    assert json_lines(text, width=None) == text


def test_every_look_fits_80_columns_with_its_ids_whole(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    note = "as the customer wished on the telephone, after a long talk about parcels and their ways"
    shop.run("Sale", {"sale_id": "s1", "amount": "1", "note": note}, {"sale_id": "poor", "amount": "5000"})
    shop.run("Order", {"order_id": f"customer-{ID}", "amount": "1"})
    [sale] = shop.says("list", "--key", "s1", "-o", "ids").lines
    monkeypatch.setenv("COLUMNS", "80")
    for look in (
        ("list",),
        ("log", "s1"),
        ("log", "poor"),
        ("show", "s1"),
        ("locks",),
        ("object", "books:s1"),
        ("object", "books:s1", "--history"),
        ("rollback", "s1", "--preview"),
    ):
        said = shop.says(*look)
        assert said.code == 0
        assert [line for line in said.lines if len(line) > 80] == [], look
    assert sale in shop.says("object", "books:s1", "--history").out
    assert f"customer-{ID}" in shop.says("list").out
    assert f"shelf:customer-{ID}" in shop.says("locks").out
    assert " ".join(shop.says("log", "s1").out.split()).count(note) == 1


LOOKS = [
    ("list",),
    ("show", "s1"),
    ("log", "s1"),
    ("object", "books:s1"),
    ("locks",),
    ("verify",),
    ("diagram", "s1"),
    ("signal", "s1", "x"),
    ("cancel", "s1", "--reason", "x"),
    ("retry", "s1"),
    ("rollback", "s1", "--preview"),
    ("rebuild", "--into", "sqlite:///again.db"),
]


@pytest.mark.parametrize("store", ["sqlite:///typo.db", "sqlite:///file:typo.db?uri=true", "postgres"])
def test_looking_at_a_store_that_is_not_there_makes_none(shop: Shop, store: str) -> None:
    before = set(shop.folder.iterdir())
    for look in LOOKS:
        said = shop.says(*look, "--store", store)
        assert said.code == 2, look
        assert f"there is no store at {shop.folder}" in said.err
        assert "correct --store" in said.err
    assert {path for path in set(shop.folder.iterdir()) - before if path.name != "__pycache__"} == set()


def test_what_starts_sagas_makes_the_store(shop: Shop) -> None:
    assert shop.says("start", "Sale", "-i", '{"sale_id": "s1", "amount": "1"}').code == 0
    assert Path("sagacity.db").exists()


def test_a_signal_that_is_not_awaited_now_is_said_to_be_kept(shop: Shop) -> None:
    shop.run("Order", {"order_id": "o1", "amount": "3"})
    early = shop.says("signal", "o1", "parcel.returned")
    assert early.code == 0
    assert "parcel.returned is kept for saga" in early.out
    assert "until it is awaited, if ever: it waits for parcel.fetched now" in early.out
    assert "is on its way" in shop.says("signal", "o1", "parcel.fetched").out


def test_show_writes_every_time_the_same_way(shop: Shop) -> None:
    shop.run("Order", {"order_id": "o1", "amount": "3"})
    screen = shop.says("show", "o1").out
    assert screen.count("Z: the deadline of fetching passes") == 1
    assert "+00:00" not in screen
