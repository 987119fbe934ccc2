"""How `make run` judges a run: by the ledgers alone, naming what does not agree."""

import json
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from sagacity.model.record import Lane, Status
from sagacity.model.views import SagaSummary
from sagas.run import judge, next_steps

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
        entry: dict[str, object] = {"n": 1, "service": SERVICE[action], "action": action, "kind": "done"}
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


@pytest.mark.parametrize(
    ("store", "tail"), [("sqlite:///sagacity.db", ""), ("postgres", " --store postgres")]
)
def test_what_to_try_next_names_only_what_is_there(store: str, tail: str) -> None:
    waiting = {"o-2": _saga("o-2", Status.WAITING, "shipped")}
    [line] = next_steps(waiting, store)
    assert f"sagacity signal o-2 carrier.delivered{tail}   #" in line
    assert next_steps({}, store) == []


def test_a_password_is_not_told_again() -> None:
    lines = next_steps({"o-2": _saga("o-2", Status.WAITING, "shipped")}, "postgresql://me:secret@db/shop")
    assert "secret" not in "".join(lines)
    assert lines[0].startswith("  export SAGACITY_STORE=postgresql://me:…@db/shop")
