"""A shop that a browser can watch: what it asks of the outside fails as long as a file of that name is there.

Copied into a folder of its own and run by a real worker process there.
"""

from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from pydantic import BaseModel
from tenacity import stop_after_attempt, wait_none

from sagacity import (
    Compensation,
    External,
    Lock,
    Participant,
    Refused,
    Saga,
    Stage,
    State,
    awaits,
    cancel,
    effect,
    exclusive,
    operation,
    override,
    step,
)

TWICE = dict(stop=stop_after_attempt(2), wait=wait_none())


class Slip(BaseModel):
    """What every service answers."""

    number: str
    serial: int = 9007199254740993


class Outside(External):
    """A service that is down while a file with its name lies in the folder."""

    def _come(self, what: str) -> Slip:
        if Path(f"{what}-is-down").exists():
            raise ConnectionError(f"503 {what} is down for maintenance")
        return Slip(number=f"{what}-1")


class Stock(Outside):
    """The warehouse."""

    @effect(inverse="release")
    async def reserve(self, item: str, *, key: str) -> Slip:
        """Put an item aside."""
        return self._come("reserve")

    @effect(safe_on_nothing=True)
    async def release(self, slip: Slip | None, *, key: str, undoes: str) -> None:
        """Put it back."""
        self._come("release")

    class Mock:
        """For dry runs."""

        async def reserve(self, item: str) -> Slip:
            return Slip(number="mock")

        async def release(self, slip: Slip | None) -> None:
            return None


class Bank(Outside):
    """Where the money is."""

    @effect
    async def charge(self, customer: str, amount: Decimal, *, key: str) -> Slip:
        """Take money."""
        return self._come("charge")

    @effect(safe_on_nothing=True)
    async def refund(self, slip: Slip | None, *, key: str, undoes: str) -> None:
        """Give it back."""
        self._come("refund")

    class Mock:
        """For dry runs."""

        async def charge(self, customer: str, amount: Decimal) -> Slip:
            return Slip(number="mock")

        async def refund(self, slip: Slip | None) -> None:
            return None


class Van(Outside):
    """Who brings it. It takes nothing that is worth more than 1000."""

    @effect(inverse="call_back")
    async def send(self, item: str, amount: Decimal, *, key: str) -> Slip:
        """Send it off."""
        if amount > 1000:
            raise Refused(f"{amount} is more than the van is insured for")
        return self._come("send")

    @effect(safe_on_nothing=True)
    async def call_back(self, slip: Slip | None, *, key: str, undoes: str) -> None:
        """Have it turn round."""
        self._come("call_back")

    class Mock:
        """For dry runs."""

        async def send(self, item: str, amount: Decimal) -> Slip:
            return Slip(number="mock")

        async def call_back(self, slip: Slip | None) -> None:
            return None


class Sold(BaseModel):
    """What the undo needs to know."""

    order: str


class GiveBack(Compensation, safe_on_nothing=True, retry=TWICE):
    """Give the money back; gives up soon, so that somebody must look."""

    async def run(self, sold: Sold, slip: Slip | None, bank: Bank) -> None:
        """Refund it."""
        await bank.refund(slip)


class Customer(Participant, type="customer"):
    """What a customer has bought."""

    class State(BaseModel):
        """Nothing, to begin with."""

        spent: Decimal = Decimal(0)

    @operation(inverse="give")
    def spend(self, state: State, amount: Decimal) -> State:
        """Add to it."""
        return Customer.State(spent=state.spent + amount)

    @operation(inverse="spend")
    def give(self, state: State, amount: Decimal) -> State:
        """Take from it."""
        return Customer.State(spent=state.spent - amount)


class Sale(Saga, version=1, key="order"):
    """Sell one thing: put it aside, take the money, send it."""

    class Input(BaseModel):
        """Who buys what, for how much."""

        order: str
        customer: str
        item: str = "lamp"
        amount: Decimal = Decimal("0.10")
        serial: int = 9007199254740993

    placed = State(initial=True)
    reserved = State()
    paid = State()
    checked = State()
    sent = State(final=True)

    reserve = placed.to(reserved)
    charge = reserved.to(paid)
    check = paid.to(checked)
    ship = checked.to(sent)
    at_the_counter = override(paid, sent, why="the customer took it along")

    def participants(self, sale: Input) -> Iterable[Lock]:
        """One sale of a customer at a time."""
        yield exclusive("customer", sale.customer)

    @step(reserve, undo=Stock.release, retry=TWICE)
    async def put_aside(self, sale: Input, stock: Stock) -> Slip:
        """Put it aside."""
        return await stock.reserve(sale.item)

    @step(charge, undo=GiveBack, retry=TWICE)
    async def take_money(self, sale: Input, bank: Bank) -> Slip:
        """Take the money."""
        return await bank.charge(sale.customer, sale.amount)

    @step(check)
    def note_it(self, sale: Input, stage: Stage) -> None:
        """Note it for the end."""
        stage(Customer, sale.customer).spend(sale.amount)

    @step(ship, undo=Van.call_back, retry=TWICE)
    async def send_it(self, sale: Input, van: Van) -> Slip:
        """Send it."""
        return await van.send(sale.item, sale.amount)


class Credit(Saga, version=1, key="number"):
    """Give a customer something back, once somebody has agreed."""

    class Input(BaseModel):
        """To whom, and how much."""

        number: str
        customer: str
        amount: Decimal

    asked = State(initial=True)
    agreed = State()
    given = State(final=True)

    agree = asked.to(agreed)
    give = agreed.to(given)

    def participants(self, credit: Input) -> Iterable[Lock]:
        """The customer."""
        yield exclusive("customer", credit.customer)

    approval = awaits(agree, approval="credit", within=timedelta(days=2), otherwise=cancel)

    @step(give)
    def note_it(self, credit: Input, stage: Stage) -> None:
        """Note it."""
        stage(Customer, credit.customer).give(credit.amount)


class Said(BaseModel):
    """How often it was said."""

    count: int


class Chatter(Saga, version=1, key="name"):
    """Says the same over and over, so that its log grows long."""

    class Input(BaseModel):
        """How often."""

        name: str
        times: int

    talking = State(initial=True)
    silent = State(final=True)

    talk = talking.to(silent, cond="is_done") | talking.to(talking, cond="goes_on")

    def participants(self, chatter: Input) -> Iterable[Lock]:
        """Nothing."""
        return ()

    def is_done(self, chatter: Input, said: Said | None) -> bool:
        """Whether it has said enough."""
        return said is not None and said.count >= chatter.times

    def goes_on(self, chatter: Input, said: Said | None) -> bool:
        """Whether it has more to say."""
        return not self.is_done(chatter, said)

    @step(talk)
    def say_it(self, chatter: Input, said: Said | None) -> Said:
        """Say it once more."""
        return Said(count=said.count + 1 if said else 1)
