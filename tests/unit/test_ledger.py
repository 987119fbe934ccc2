"""Ledgers are judged by what landed: nothing twice, nothing left standing that was rolled back."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from sagas.services.desk import OFFERS
from sagas.services.ledger import (
    SERVICES,
    Entry,
    Journal,
    Kind,
    Ledger,
    doubled,
    moved,
    read_ledger,
    read_ledgers,
    standing,
)


def entry(
    kind: Kind, key: str, *, undoes: str | None = None, about: str = "o-1", action: str = "charge"
) -> Entry:
    return Entry(
        n=1,
        service="payments",
        action=action,
        kind=kind,
        key=key,
        undoes=undoes,
        about=about,
        amount=None,
        source=None,
        target=None,
        detail=None,
    )


def test_what_was_undone_refused_or_repeated_does_not_stand() -> None:
    left = entry("done", "k1", about="left")
    entries = [
        left,
        entry("repeat", "k1", about="left"),
        entry("done", "k2", about="back"),
        entry("undone", "u2", undoes="k2", about="back", action="refund"),
        entry("refused", "k3", about="no"),
        entry("empty", "u4", undoes="k4", about="never", action="refund"),
        entry("late", "k4", about="never"),
    ]

    assert standing(entries) == {"left": [left]}
    assert doubled(entries) == []


def test_an_effect_under_a_second_key_is_doubled_only_while_the_first_stands() -> None:
    first, second = entry("done", "k1"), entry("done", "k2")
    undo = entry("undone", "u1", undoes="k1", action="refund")

    assert doubled([first, second]) == [second]
    assert doubled([first, undo, second]) == []
    assert doubled([first, replace(second, service="carrier")]) == []


def test_a_key_that_landed_twice_and_an_undo_that_landed_twice_are_doubled() -> None:
    first = entry("done", "k1")
    undo, again = (entry("undone", key, undoes="k1", action="refund") for key in ("u1", "u2"))

    assert doubled([first, undo, first]) == [first]
    assert doubled([first, undo, again]) == [again]


def test_the_bank_moves_the_same_amount_there_and_back() -> None:
    there = replace(
        entry("done", "k1", about="t-1", action="transfer"), amount="12.50", source="a", target="b"
    )
    kept = replace(there, key="k2", about="t-2", amount="0.105")
    back = replace(there, kind="undone", key="u1", undoes="k1", source="b", target="a")
    refused = replace(there, kind="refused", key="k3")

    assert moved([there, kept, back, refused]) == {"a": Decimal("-0.105"), "b": Decimal("0.105")}


def test_a_torn_last_line_is_cut_off_and_the_ledger_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "payments.jsonl"
    ledger = Ledger(path, service="payments")
    ledger.append(action="charge", kind="done", key="k1", about="o-1", amount="1.00")
    ledger.close()
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"n":2,"serv')

    assert [line.n for line in read_ledger(path)] == [1]
    again = Ledger(path, service="payments")
    again.append(action="charge", kind="repeat", key="k1", about="o-1", amount="1.00")
    again.close()

    assert [(line.n, line.kind) for line in read_ledger(path)] == [(1, "done"), (2, "repeat")]


def test_a_file_with_nothing_but_a_torn_line_starts_empty(tmp_path: Path) -> None:
    path = tmp_path / "torn.jsonl"
    path.write_bytes(b'{"half')

    with Journal(path) as journal:
        assert journal.found == []
        journal.append({"whole": 1}, {"whole": 2})

    assert path.read_bytes() == b'{"whole":1}\n{"whole":2}\n'


def test_a_missing_ledger_is_an_empty_one(tmp_path: Path) -> None:
    assert read_ledger(tmp_path / "bank.jsonl") == []
    assert read_ledgers(tmp_path) == []
    assert tuple(OFFERS) == SERVICES
