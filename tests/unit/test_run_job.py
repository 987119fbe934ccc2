"""`make run`: which ledgers a run uses."""

from argparse import Namespace
from pathlib import Path

from sagas.run import Job


def job(orders: Path, store: str) -> Job:
    return Job.of(Namespace(orders=orders, store=store))


def test_files_of_one_store_share_the_services_and_stores_do_not(tmp_path: Path) -> None:
    one, other = tmp_path / "one.jsonl", tmp_path / "other.jsonl"
    one.write_text("{}\n")
    other.write_text("{}\n\n")
    assert job(one, "sqlite:///a.db").ledger == job(other, "sqlite:///a.db").ledger
    assert job(one, "sqlite:///a.db").noted != job(other, "sqlite:///a.db").noted
    assert job(one, "sqlite:///a.db").ledger != job(one, "sqlite:///b.db").ledger
