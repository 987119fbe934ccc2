"""Flows for the dry lane: a good one, and some that are wrong in one way each."""

from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal

from pydantic import BaseModel

from sagacity import (
    Compensation,
    External,
    Lock,
    Participant,
    Saga,
    Stage,
    State,
    awaits,
    cancel,
    effect,
    exclusive,
    operation,
    read,
    step,
)


class Seat(BaseModel):
    number: int


class Price(BaseModel):
    amount: Decimal


class Theatre(External):
    @effect(inverse="free")
    async def book(self, show: str, *, key: str) -> Seat:
        raise AssertionError("a dry run called the real theatre")

    @effect(safe_on_nothing=True)
    async def free(self, show: str, *, key: str, undoes: str) -> None:
        raise AssertionError("a dry run called the real theatre")

    class Mock:
        def book(self, show: str) -> Seat:
            return Seat(number=7)

        async def free(self, show: str) -> None:
            return None


class Prices(External):
    @read
    async def price(self, show: str) -> Price:
        raise AssertionError("a dry run asked the real prices")

    class Mock:
        def price(self, show: str) -> Price:
            return Price(amount=Decimal("12.50"))


class Bureau(External):
    """A service of the careless kind: its refund takes no key and no `undoes`."""

    @effect(inverse="refund")
    async def charge(self, amount: Decimal, *, key: str) -> Seat:
        raise AssertionError("a dry run called the real bureau")

    @effect
    async def refund(self, amount: Decimal) -> None:
        raise AssertionError("a dry run called the real bureau")

    class Mock:
        def charge(self, amount: Decimal) -> Seat:
            return Seat(number=1)

        def refund(self, amount: Decimal) -> None:
            return None


class Ticket(BaseModel):
    show: str


class FreeSeat(Compensation, safe_on_nothing=True):
    async def run(self, ticket: Ticket, theatre: Theatre) -> None:
        await theatre.free(ticket.show)


class Ledger(Participant, type="till"):
    class State(BaseModel):
        takings: Decimal = Decimal(0)

    @operation(inverse="strike")
    def enter(self, state: State, amount: Decimal) -> State:
        return Ledger.State(takings=state.takings + amount)

    @operation(inverse="enter")
    def strike(self, state: State, amount: Decimal) -> State:
        return Ledger.State(takings=state.takings - amount)


class Sale(Saga, version=1, key="show"):
    """One seat: booked, approved, entered."""

    class Input(BaseModel):
        show: str

    asked = State(initial=True)
    booked = State()
    approved = State()
    sold = State(final=True)

    book = asked.to(booked)
    agree = booked.to(approved)
    close = approved.to(sold)

    def participants(self, sale: Input) -> Iterable[Lock]:
        yield exclusive("till", "main")

    @step(book, undo=FreeSeat, timeout=timedelta(seconds=5))
    async def take_seat(self, sale: Input, theatre: Theatre) -> Seat:
        return await theatre.book(sale.show)

    consent = awaits(agree, approval="manager", within=timedelta(days=2), otherwise=cancel)

    @step(close)
    async def enter(self, sale: Input, prices: Prices, stage: Stage) -> None:
        stage(Ledger, "main").enter((await prices.price(sale.show)).amount)


class PlainSale(Saga, version=1, key="show"):
    """The same in plain functions: they run in threads and wait there."""

    class Input(BaseModel):
        show: str

    asked = State(initial=True)
    booked = State()
    sold = State(final=True)
    book = asked.to(booked)
    look = booked.to(sold)

    def participants(self, sale: Input) -> Iterable[Lock]:
        yield exclusive("till", "main")

    @step(book, undo=FreeSeat, timeout=timedelta(seconds=5))
    def take_seat(self, sale: Input, theatre: Theatre) -> Seat:
        seat: Seat = theatre.book(sale.show)  # type: ignore[assignment]  # a plain step gets the answer itself
        return seat

    @step(look)
    def look_at_price(self, sale: Input, prices: Prices) -> Price:
        prices.price(sale.show)  # type: ignore[unused-coroutine]
        price: Price = prices.price(sale.show)  # type: ignore[assignment]
        return price


class Paid(BaseModel):
    amount: Decimal


class GiveBack(Compensation, safe_on_nothing=True):
    """Ignores its key: said twice, it pays twice."""

    async def run(self, sale: Paid, bureau: Bureau) -> None:
        await bureau.refund(sale.amount)


class TakeAgain(Compensation, safe_on_nothing=True):
    """The undo that goes forward."""

    async def run(self, sale: Ticket, theatre: Theatre) -> None:
        await theatre.book(sale.show)


class Forgets(Compensation, safe_on_nothing=True):
    """Says that it is done and does nothing."""

    async def run(self, sale: Ticket) -> None:
        return None


class Careless(Saga, version=1, key="name"):
    """Its refund ignores the key."""

    class Input(BaseModel):
        name: str
        amount: Decimal

    asked = State(initial=True)
    paid = State()
    done = State(final=True)
    pay = asked.to(paid)
    end = paid.to(done)

    def participants(self, sale: Input) -> Iterable[Lock]:
        yield exclusive("till", "main")

    @step(pay, undo=GiveBack)
    async def charge(self, sale: Input, bureau: Bureau) -> Seat:
        return await bureau.charge(sale.amount)

    agreed = awaits(end, signal="agreed", within=timedelta(days=1), otherwise=cancel)


class Forward(Saga, version=1, key="show"):
    """Its undo goes forward."""

    class Input(BaseModel):
        show: str

    asked = State(initial=True)
    booked = State()
    done = State(final=True)
    book = asked.to(booked)
    end = booked.to(done)

    def participants(self, sale: Input) -> Iterable[Lock]:
        yield exclusive("till", "main")

    @step(book, undo=TakeAgain)
    async def take_seat(self, sale: Input, theatre: Theatre) -> Seat:
        return await theatre.book(sale.show)

    agreed = awaits(end, signal="agreed", within=timedelta(days=1), otherwise=cancel)


class Forgetful(Saga, version=1, key="show"):
    """Its undo does nothing."""

    class Input(BaseModel):
        show: str

    asked = State(initial=True)
    booked = State()
    done = State(final=True)
    book = asked.to(booked)
    end = booked.to(done)

    def participants(self, sale: Input) -> Iterable[Lock]:
        yield exclusive("till", "main")

    @step(book, undo=Forgets)
    async def take_seat(self, sale: Input, theatre: Theatre) -> Seat:
        return await theatre.book(sale.show)

    agreed = awaits(end, signal="agreed", within=timedelta(days=1), otherwise=cancel)
