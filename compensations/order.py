"""How each effect of an order is made good.

Each names the call that it undoes, and the service bars that call if it has not come by then. So all of
them are safe on nothing: they may run although nobody knows whether there is something to undo.
"""

from decimal import Decimal

from pydantic import BaseModel

from sagacity import Compensation
from sagas.outside import Booking, Carrier, Charge, Payments, Reservation, Warehouse


class Sold(BaseModel):
    """What these need to know of the order."""

    order_id: str
    amount: Decimal


class ReleaseStock(Compensation, safe_on_nothing=True):
    """Let the reserved goods go."""

    async def run(self, order: Sold, reservation: Reservation | None, warehouse: Warehouse) -> None:
        """Release, also when nobody knows whether the goods were reserved."""
        await warehouse.release(order.order_id)


class Refund(Compensation, safe_on_nothing=True):
    """Give the money back."""

    async def run(self, order: Sold, charge: Charge | None, payments: Payments) -> None:
        """Refund what was charged, or what would have been."""
        await payments.refund(order.order_id, charge.amount if charge else order.amount)


class CancelBooking(Compensation, safe_on_nothing=True):
    """Call the parcel back."""

    async def run(self, order: Sold, booking: Booking | None, carrier: Carrier) -> None:
        """Cancel, also when nobody knows whether the carrier was booked."""
        await carrier.cancel(order.order_id)
