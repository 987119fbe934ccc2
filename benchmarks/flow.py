"""The measured saga as we write it: three effects with their undo, two locked objects, one change of each."""

from collections.abc import Iterable
from typing import Self

from pydantic import BaseModel

from benchmarks import steps
from sagacity import External, Participant, Refused, Saga, Stage, State, effect, exclusive, operation, step
from sagacity.definition.external import ExternalSettings
from sagacity.model.record import Lock


class Reservation(BaseModel):
    """What the first effect answers."""

    reservation_id: str


class Charge(BaseModel):
    """What the second effect answers."""

    charge_id: str
    amount: str


class Booking(BaseModel):
    """What the third effect answers."""

    booking_id: str


class Outside(External):
    """Everything that the measured saga does outside."""

    @classmethod
    async def connect(cls, settings: ExternalSettings) -> Self:
        """Nothing to connect to: the effects are in this process."""
        return cls()

    @effect(inverse="release")
    async def reserve(self, name: str) -> Reservation:
        """The first effect."""
        return Reservation(**await steps.reserve(name))

    @effect(inverse="refund")
    async def charge(self, name: str) -> Charge:
        """The second effect."""
        return Charge(**await steps.charge(name))

    @effect(inverse="call_off")
    async def book(self, name: str, *, refused: bool) -> Booking:
        """The third effect; it may be refused."""
        try:
            return Booking(**await steps.book(name, refused=refused))
        except steps.Refusal as no:
            raise Refused(str(no)) from None

    @effect(safe_on_nothing=True)
    async def release(self, reservation: Reservation | None, *, undoes: str) -> None:
        """Takes `reserve` back."""
        await steps.release(reservation.reservation_id if reservation else undoes)

    @effect(safe_on_nothing=True)
    async def refund(self, charge: Charge | None, *, undoes: str) -> None:
        """Takes `charge` back."""
        await steps.refund(charge.charge_id if charge else undoes)

    @effect(safe_on_nothing=True)
    async def call_off(self, booking: Booking | None, *, undoes: str) -> None:
        """Takes `book` back."""
        await steps.call_off(booking.booking_id if booking else undoes)

    class Mock:
        """Answers the same: there is no outside to spare."""

        async def reserve(self, name: str) -> Reservation:
            """The first effect."""
            return Reservation(**await steps.reserve(name))

        async def charge(self, name: str) -> Charge:
            """The second effect."""
            return Charge(**await steps.charge(name))

        async def book(self, name: str, *, refused: bool) -> Booking:
            """The third effect."""
            return Booking(**await steps.book(name, refused=refused))

        async def release(self, reservation: Reservation | None) -> None:
            """Takes `reserve` back."""

        async def refund(self, charge: Charge | None) -> None:
            """Takes `charge` back."""

        async def call_off(self, booking: Booking | None) -> None:
            """Takes `book` back."""


class Deal(Participant, type="deal"):
    """The first locked object: what was booked for one order."""

    class State(BaseModel):
        """What is known of it."""

        booking: str = ""

    @operation(inverse="undo")
    def book(self, state: State, booking: str) -> State:
        """Note the booking."""
        return Deal.State(booking=booking)

    @operation(inverse="book")
    def undo(self, state: State, booking: str) -> State:
        """Forget it."""
        return Deal.State()


class Account(Participant, type="account"):
    """The second locked object: how many orders an account has."""

    class State(BaseModel):
        """What is known of it."""

        orders: int = 0

    @operation(inverse="subtract")
    def add(self, state: State, orders: int) -> State:
        """So many more."""
        return Account.State(orders=state.orders + orders)

    @operation(inverse="add")
    def subtract(self, state: State, orders: int) -> State:
        """So many less."""
        return Account.State(orders=state.orders - orders)


class Measured(Saga, version=1, key="name"):
    """Reserve, charge, book; then both objects change."""

    class Input(BaseModel):
        """Fields of `benchmarks.steps.Order`."""

        name: str
        account: str
        refused: bool = False

    placed = State(initial=True)
    reserved = State()
    charged = State()
    booked = State(final=True)

    reserve = placed.to(reserved)
    charge = reserved.to(charged)
    book = charged.to(booked)

    def participants(self, order: Input) -> Iterable[Lock]:
        """Two objects, for the whole saga."""
        yield exclusive("deal", order.name)
        yield exclusive("account", order.account)

    @step(reserve, undo=Outside.release)
    async def reserve_goods(self, order: Input, outside: Outside) -> Reservation:
        """The first step."""
        return await outside.reserve(order.name)

    @step(charge, undo=Outside.refund)
    async def take_money(self, order: Input, outside: Outside) -> Charge:
        """The second step."""
        return await outside.charge(order.name)

    @step(book, undo=Outside.call_off)
    async def book_carrier(self, order: Input, outside: Outside, stage: Stage) -> Booking:
        """The third step; what it stages happens when the saga commits."""
        booking = await outside.book(order.name, refused=order.refused)
        stage(Deal, order.name).book(booking.booking_id)
        stage(Account, order.account).add(1)
        return booking
