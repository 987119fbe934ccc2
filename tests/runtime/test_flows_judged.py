"""How `make run` judges a run: by the ledgers alone, naming what does not agree."""

import json
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from sagacity.model.record import Lane, Status
from sagacity.model.views import SagaSummary
from sagas.run import SAMPLE, Job, judge, next_steps

AT = datetime(2026, 3, 2, tzinfo=UTC)
SERVICE = {"reserve": "warehouse", "charge": "payments", "book": "carrier"}


def _saga(key: str, status: Status, state: str = "delivered") -> SagaSummary:
    return SagaSummary(
        id=uuid4(),
        definition="Order",
        version=1,
        key=key,
        status=status,
        waits_for=None,
        state=(state,),
        reason=None,
        created_at=AT,
        updated_at=AT,
        due_at=None,
        lane=Lane.LIVE,
    )


def _did(folder: Path, *actions: str, key: str = "k", about: str = "o-1") -> None:
    for action in actions:
        entry: dict[str, object] = {"n": 1, "external": SERVICE[action], "call": action, "kind": "done"}
        entry |= {"key": f"{key}:{action}", "about": about}
        entry |= dict.fromkeys(["undoes", "amount", "source", "target", "detail"])
        with (folder / f"{SERVICE[action]}.jsonl").open("a") as ledger:
            ledger.write(json.dumps(entry) + "\n")


def test_a_committed_order_with_all_its_effects_is_right(tmp_path: Path) -> None:
    _did(tmp_path, "reserve", "charge", "book")
    assert judge(tmp_path, {"o-1": _saga("o-1", Status.COMMITTED)}) == []


def test_an_effect_left_standing_for_a_rolled_back_order_is_named(tmp_path: Path) -> None:
    _did(tmp_path, "reserve")
    assert judge(tmp_path, {"o-1": _saga("o-1", Status.ROLLED_BACK)}) == [
        "o-1 was rolled back, yet reserve stands"
    ]


def test_a_committed_order_without_its_effects_is_named(tmp_path: Path) -> None:
    _did(tmp_path, "reserve", "charge")
    assert judge(tmp_path, {"o-1": _saga("o-1", Status.COMMITTED)}) == ["o-1 was committed without book"]


def test_an_effect_done_twice_is_named(tmp_path: Path) -> None:
    _did(tmp_path, "reserve", "charge", "book")
    _did(tmp_path, "charge", key="another")
    [fault] = judge(tmp_path, {"o-1": _saga("o-1", Status.COMMITTED)})
    assert fault == "payments did charge for o-1 once too often"


def _job(store: str) -> Job:
    return Job(orders=SAMPLE, store=store, ledger=SAMPLE.parent)


@pytest.mark.parametrize(
    ("store", "tail"),
    [
        ("sqlite:///sagacity.db", ""),
        ("postgres", " --store postgres"),
        ("sqlite:///my shop.db", " --store 'sqlite:///my shop.db'"),
    ],
)
def test_what_to_try_next_names_only_what_is_there(
    store: str, tail: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("SAGACITY_STORE", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Makefile").touch()
    waiting = {"o-2": _saga("o-2", Status.WAITING, "shipped")}
    _, signal, again = next_steps(waiting, _job(store))
    assert signal.endswith(f"sagacity signal o-2 carrier.delivered{tail}")
    assert again == f"make run{tail.replace('--store ', 'STORE=')}"
    assert next_steps({}, _job(store)) == []


def test_another_store_in_the_environment_does_not_mislead_what_is_pasted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SAGACITY_STORE", "sqlite:///other.db")
    _, signal, _ = next_steps({"o-2": _saga("o-2", Status.WAITING, "shipped")}, _job("sqlite:///sagacity.db"))
    assert signal.endswith("carrier.delivered --store sqlite:///sagacity.db")


def test_a_password_is_not_told_again() -> None:
    waiting = {"o-2": _saga("o-2", Status.WAITING, "shipped")}
    lines = next_steps(waiting, _job("postgresql://me:secret@db/shop"))
    assert "secret" not in "".join(lines)
    assert "first set SAGACITY_STORE" in lines[0]
