"""Exploring: every failure point is played, and a flow with a gap is caught."""

import pytest

from sagacity.dry import explored
from sagacity.dry.faults import KINDS, Fault, read_fault
from sagas.offboarding import Offboarding
from sagas.order import Order
from sagas.transfer import Transfer
from tests.dry.flows import Careless, Forgetful, Forward, Sale

pytestmark = pytest.mark.simulation

ORDER = {"order_id": "A-1", "customer_id": "C-7", "amount": "9.90"}
TRANSFER = {"transfer_id": "T-1", "source": "a", "target": "b", "amount": "11000"}
OFFBOARDING = {"account_id": "X", "clusters": ["c1", "c2"], "subscriptions": ["s1"], "resources": ["r1"]}
RICH = {"account:a": {"balance": "20000"}}


async def test_nothing_that_can_fail_in_an_order_leaves_anything_standing() -> None:
    order = await explored(Order, ORDER)
    assert order.ok, order.text()
    spots = {(f.where, f.name) for path in order.paths for f in path.faults}
    for step in ("reserve_goods", "take_money", "book_carrier"):
        assert ("effect", step) in spots
        assert ("undo", step) in spots
        assert ("cancel", step) in spots
    for wait in ("approved", "handed_over", "delivery", "called_off"):
        assert ("wait", wait) in spots
    kinds = {path.faults[-1].kind for path in order.paths if path.faults}
    assert {"unreachable", "down", "lost", "silent", "late", "refused", "missing", "twice", "early"} <= kinds
    crashes = [p for p in order.paths if p.faults and p.faults[-1].where == "crash"]
    assert len(crashes) > 20
    assert all(p.reached for p in crashes)
    assert {p.verdict for p in order.paths if p.told} == {"would be stuck"}
    assert max(map(len, order.text().splitlines())) <= 80


async def test_the_other_reference_flows_are_sound_too() -> None:
    transfer = await explored(Transfer, TRANSFER, objects=RICH)
    offboarding = await explored(Offboarding, OFFBOARDING)
    for found in (transfer, offboarding):
        assert found.ok, found.text()
        assert found.paths[0].verdict == "would commit"
        assert {path.faults[-1].where for path in found.paths[1:]} >= {"effect", "undo", "cancel", "crash"}


async def test_a_good_flow_of_ours_is_found_good() -> None:
    sale = await explored(Sale, {"show": "hamlet"})
    assert sale.ok, sale.text()


@pytest.mark.parametrize(
    ("flow", "input", "fault", "standing"),
    [
        (
            Careless,
            {"name": "x", "amount": "5"},
            "undo charge: lost",
            "bureau.refund took bureau.charge back a second",
        ),
        (Forward, {"show": "lear"}, "wait agreed: missing", "theatre.book did theatre.book instead"),
        (Forgetful, {"show": "lear"}, "cancel take_seat: after", "theatre.book stands"),
    ],
    ids=["ignores-its-key", "goes-forward", "does-nothing"],
)
async def test_a_planted_gap_is_caught(flow: type, input: dict[str, str], fault: str, standing: str) -> None:
    found = await explored(flow, input)
    assert not found.ok
    assert found.paths[0].ok, "where nothing fails nothing is wrong"
    path = next(p for p in found.failing if p.faults[-1] == read_fault(fault))
    assert any(standing in what for what in path.standing)
    assert "must not go live" in found.text()


def test_a_faults_text_is_the_whole_fault() -> None:
    for where, kinds in KINDS.items():
        for kind in kinds:
            for hit in (1, 3):
                fault = Fault(where=where, name="completed take_money", kind=kind, hit=hit)
                assert read_fault(str(fault)) == fault
