"""Move money between two accounts through a bank that cannot undo."""

from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Self

from pydantic import BaseModel, Field, model_validator

from compensations.transfer import TransferBack
from sagacity import (
    Lock,
    Participant,
    Refused,
    Saga,
    Stage,
    State,
    awaits,
    cancel,
    exclusive,
    operation,
    step,
)
from sagas.outside import Bank, Payment

Money = Annotated[Decimal, Field(gt=0, allow_inf_nan=False, decimal_places=2, max_digits=15)]
LIMIT = Decimal(10_000)


class Account(Participant, type="account"):
    """Money of one owner. It never goes below zero."""

    class State(BaseModel):
        """An account that nobody opened is empty."""

        balance: Decimal = Decimal(0)

    @operation(inverse="credit")
    def debit(self, state: State, amount: Money) -> State:
        """Take money out; refused when there is not enough."""
        if state.balance < amount:
            raise Refused(f"the balance is {state.balance}, {amount} cannot be taken out")
        return Account.State(balance=state.balance - amount)

    @operation(inverse="debit")
    def credit(self, state: State, amount: Money) -> State:
        """Put money in."""
        return Account.State(balance=state.balance + amount)


class OpenAccount(Saga, version=1, key="account_id"):
    """Open an account with money in it."""

    class Input(BaseModel):
        """Whose account, and how much it starts with."""

        account_id: str
        balance: Money

    asked = State(initial=True)
    opened = State(final=True)

    open = asked.to(opened)

    def participants(self, account: Input) -> Iterable[Lock]:
        """The new account alone."""
        yield exclusive("account", account.account_id)

    @step(open)
    def pay_in(self, account: Input, stage: Stage) -> None:
        """Pay in the first money."""
        stage(Account, account.account_id).credit(account.balance)


class Transfer(Saga, version=1, key="transfer_id"):
    """One transfer: booked on both accounts and made at the bank, or neither."""

    class Input(BaseModel):
        """Who pays whom, and how much."""

        transfer_id: str
        source: str
        target: str
        amount: Money

        @model_validator(mode="after")
        def _two_accounts(self) -> Self:
            if self.source == self.target:
                raise ValueError("source and target are one account: name two")
            return self

    asked = State(initial=True)
    held = State()
    cleared = State()
    sent = State(final=True)

    book = asked.to(held, cond="is_over_limit") | asked.to(cleared)
    release = held.to(cleared)
    pay = cleared.to(sent)

    def participants(self, transfer: Input) -> Iterable[Lock]:
        """Both accounts; nobody else sees or moves them until the end."""
        yield exclusive("account", transfer.source)
        yield exclusive("account", transfer.target)

    def is_over_limit(self, transfer: Input) -> bool:
        """Say whether somebody has to approve it."""
        return transfer.amount > LIMIT

    @step(book)
    def book_both(self, transfer: Input, stage: Stage) -> None:
        """Stage both sides; an overdraft is refused before the bank hears of it."""
        stage(Account, transfer.source).debit(transfer.amount)
        stage(Account, transfer.target).credit(transfer.amount)

    approval = awaits(release, approval="limit", within=timedelta(days=2), otherwise=cancel)

    @step(pay, undo=TransferBack, timeout=timedelta(seconds=10))
    async def tell_bank(self, transfer: Input, bank: Bank) -> Payment:
        """Have the bank move the money."""
        return await bank.transfer(transfer.transfer_id, transfer.source, transfer.target, transfer.amount)
