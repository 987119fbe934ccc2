"""`make run`: which ledgers a run uses."""

from argparse import Namespace
from pathlib import Path

from sagas.run import Job, blinded, unplayed


def job(orders: Path, store: str) -> Job:
    return Job.of(Namespace(orders=orders, store=store))


def test_files_of_one_store_share_the_services_and_stores_do_not(tmp_path: Path) -> None:
    one, other = tmp_path / "one.jsonl", tmp_path / "other.jsonl"
    one.write_text("{}\n")
    other.write_text("{}\n\n")
    assert job(one, "sqlite:///a.db").ledger == job(other, "sqlite:///a.db").ledger
    assert job(one, "sqlite:///a.db").noted != job(other, "sqlite:///a.db").noted
    assert job(one, "sqlite:///a.db").ledger != job(one, "sqlite:///b.db").ledger


TOO_EARLY = '{"order_id": "a", "customer_id": "c", "amount": "1", "status": "created", "carrier_at": "soon"}'


def test_only_an_order_that_runs_and_that_no_service_knows_is_told_before_the_run(tmp_path: Path) -> None:
    file = tmp_path / "orders.jsonl"
    file.write_text(f'not json\n{{"order_id": "b", "status": "lost"}}\n\n{TOO_EARLY}\n')
    [told] = unplayed(file)
    assert told.startswith(f'{file}:4: no service answers to this order: carrier_at "soon" is no instant')


def test_a_blinded_copy_keeps_every_line_in_its_place_and_those_that_are_no_orders(tmp_path: Path) -> None:
    file = tmp_path / "orders.jsonl"
    file.write_text(f"not json\n\n[1]\n{TOO_EARLY}\n")
    copy = blinded(file, tmp_path / "copies")
    assert copy.read_text().splitlines() == [
        "not json",
        "",
        "[1]",
        '{"order_id": "a", "customer_id": "c", "amount": "1"}',
    ]
