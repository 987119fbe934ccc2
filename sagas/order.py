"""Sell one order: reserve the goods, take the money, hand the parcel to the carrier, see it delivered."""

from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, Field

from compensations.order import CancelBooking, Refund, ReleaseStock
from sagacity import (
    Lock,
    Participant,
    Saga,
    Stage,
    State,
    awaits,
    cancel,
    exclusive,
    operation,
    shared,
    step,
)
from sagas.outside import Booking, Carrier, Charge, Payments, Reservation, Warehouse

Amount = Annotated[Decimal, Field(ge=0, allow_inf_nan=False)]


class Sale(Participant, type="order"):
    """What the books say about an order."""

    class State(BaseModel):
        """Nothing is in the books until the order is delivered."""

        sold_for: Decimal = Decimal(0)
        charge_id: str | None = None
        booking_id: str | None = None

    @operation(inverse="strike_out")
    def enter(self, state: State, amount: Decimal, charge_id: str, booking_id: str) -> State:
        """Enter the sale."""
        return Sale.State(sold_for=amount, charge_id=charge_id, booking_id=booking_id)

    @operation(inverse="enter")
    def strike_out(self, state: State, amount: Decimal, charge_id: str, booking_id: str) -> State:
        """Take the sale out again."""
        return Sale.State()


class Order(Saga, version=1, key="order_id"):
    """One order, from the click to the door."""

    class Input(BaseModel):
        """What the shop knows when the order is placed."""

        order_id: str
        customer_id: str
        amount: Amount

    placed = State(initial=True)
    reserved = State()
    charged = State()
    paid = State()
    booked = State()
    shipped = State()
    arrived = State()
    delivered = State(final=True)

    reserve = placed.to(reserved)
    charge = reserved.to(charged)
    approve = charged.to(paid)
    book = paid.to(booked)
    hand_over = booked.to(shipped)
    arrive = shipped.to(arrived)
    close = arrived.to(delivered)

    def participants(self, order: Input) -> Iterable[Lock]:
        """Nobody else touches this order meanwhile; other orders of the customer may run."""
        yield exclusive("order", order.order_id)
        yield shared("customer", order.customer_id)

    @step(reserve, undo=ReleaseStock, timeout=timedelta(seconds=10))
    async def reserve_goods(self, order: Input, warehouse: Warehouse) -> Reservation:
        """Reserve the goods."""
        return await warehouse.reserve(order.order_id)

    @step(charge, undo=Refund, timeout=timedelta(seconds=10))
    async def take_money(self, order: Input, payments: Payments) -> Charge:
        """Take the money; the approval follows as a signal."""
        return await payments.charge(order.order_id, order.customer_id, order.amount)

    approved = awaits(approve, signal="payments.approved", within=timedelta(days=30), otherwise=cancel)

    @step(book, undo=CancelBooking, timeout=timedelta(seconds=10))
    async def book_carrier(self, order: Input, carrier: Carrier) -> Booking:
        """Have the parcel fetched."""
        return await carrier.book(order.order_id)

    handed_over = awaits(hand_over, signal="carrier.handed_over", within=timedelta(days=30), otherwise=cancel)
    delivery = awaits(arrive, signal="carrier.delivered", within=timedelta(days=60), otherwise=cancel)
    called_off = awaits(cancel, signal="carrier.called_off", during=(booked, shipped))

    @step(close)
    def enter_sale(self, order: Input, charge: Charge, booking: Booking, stage: Stage) -> None:
        """Enter the sale in the books; it is applied at commit, or never."""
        stage(Sale, order.order_id).enter(order.amount, charge.charge_id, booking.booking_id)
