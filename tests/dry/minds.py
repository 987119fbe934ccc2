"""Services that decide by the order's id alone, so that a dry run and a real one meet the same ones."""

from sagacity.errors import Refused
from sagacity.testing.chance import decided
from sagas.outside import Booking, Charge
from sagas.outside import Carrier as RealCarrier
from sagas.outside import Payments as RealPayments


def says(order_id: str, what: str) -> float:
    """The number from 0 to 1 that belongs to this order and question."""
    return decided("mind", order_id, what)


class Payments(RealPayments.Mock):
    async def charge(self, order_id: str, customer_id: str, amount: object) -> Charge:
        if says(order_id, "charge") < 0.2:
            raise Refused("the card is declined")
        return Charge.model_validate({"charge_id": f"ch-{order_id}", "amount": amount})


class Carrier(RealCarrier.Mock):
    async def book(self, order_id: str) -> Booking:
        if says(order_id, "book") < 0.15:
            raise Refused("nobody drives there")
        return Booking(booking_id=f"bk-{order_id}")
