"""Transfers end to end: refusals, approvals and rollbacks after commit leave everything exact."""

from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import ValidationError

from sagas.transfer import Account, Transfer
from tests.shown.transfers import SMALL, exact_to_the_cent
from tests.shown.world import World

pytestmark = pytest.mark.timeout(300)


async def test_balances_and_the_banks_ledger_are_exact_after_rollbacks(tmp_path: Path) -> None:
    seen = await exact_to_the_cent(World(tmp_path), SMALL)
    assert seen.committed > 0
    assert seen.exact > 0
    assert seen.counter == SMALL.late


async def test_balances_are_exact_on_postgresql(tmp_path: Path, pg_url: str) -> None:
    world = World(tmp_path, store=pg_url, accept_loss=True)
    world.sagacity("migrate")
    await exact_to_the_cent(world, SMALL)


def test_an_overdraft_rolls_back_before_the_bank_hears_of_it(tmp_path: Path) -> None:
    world = World(tmp_path)
    with world.services():
        line = {"transfer_id": "T-1", "source": "poor", "target": "rich", "amount": "5.00"}
        summary = world.run("sagas/transfer.py:Transfer", [line])
    assert (summary["rolled_back"], summary["locks_held"]) == (1, 0)
    assert world.entries() == []
    assert "cannot be taken out" in world.sagacity("show", "T-1")


@pytest.mark.parametrize("amount", ["0", "-1", "NaN", "Infinity", "0.001"])
def test_no_amount_but_money_is_taken(amount: str) -> None:
    with pytest.raises(ValidationError):
        Transfer.Input(transfer_id="T-1", source="a", target="b", amount=Decimal(amount))


def test_source_and_target_are_two_accounts() -> None:
    with pytest.raises(ValidationError, match="one account"):
        Transfer.Input(transfer_id="T-1", source="a", target="a", amount=Decimal(1))


def test_debit_and_credit_are_each_others_inverse() -> None:
    before = Account.State(balance=Decimal("10.00"))
    after = Account().credit(before, Decimal("2.50"))
    assert Account().debit(after, Decimal("2.50")) == before
