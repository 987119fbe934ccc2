"""What history can be made of: finished orders, finished measured sagas, and sagas that wait."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar

from pydantic import BaseModel

from benchmarks.flow import Account, Deal, Measured
from benchmarks.laid import Laid, empty
from sagacity import Saga, State, awaits, cancel
from sagacity.model.canonical import NULL, canonical
from sagacity.model.record import Staged
from sagacity.model.unit import ObjectState
from sagas.order import Order, Sale


class Placed(Laid):
    """A reference order that was delivered: 20 lines, three signals."""

    flow = Order
    participants: ClassVar[Mapping[str, Any]] = {"order": Sale}
    answers: ClassVar[Mapping[str, Any]] = {
        "reserve_goods": canonical({"reservation_id": "R-1"}),
        "take_money": canonical({"charge_id": "C-1", "amount": "19.90"}),
        "book_carrier": canonical({"booking_id": "B-1"}),
        "enter_sale": NULL,
    }
    signals = ("payments.approved", "carrier.handed_over", "carrier.delivered")

    @property
    def _customer(self) -> str:
        return f"{self.name.partition('-')[0]}-{self.n % 10_000}"

    def given(self) -> Any:
        """See `Laid`."""
        return {"order_id": self.name, "customer_id": self._customer, "amount": "19.90"}

    def staged(self, step: str) -> tuple[Staged, ...]:
        """See `Laid`."""
        if step != "enter_sale":
            return ()
        args = canonical({"amount": "19.90", "booking_id": "B-1", "charge_id": "C-1"})
        return (Staged(object=f"order:{self.name}", operation="enter", args=args, step=step),)

    def before(self) -> tuple[ObjectState, ...]:
        """See `Laid`."""
        return (empty(f"order:{self.name}"),)

    def after(self) -> tuple[ObjectState, ...]:
        """See `Laid`."""
        sold = canonical({"booking_id": "B-1", "charge_id": "C-1", "sold_for": "19.90"})
        order = ObjectState(object=f"order:{self.name}", version=1, state=sold)
        return order, empty(f"customer:{self._customer}")


class Run(Laid):
    """A measured saga that went through: what the benchmark itself leaves behind."""

    flow = Measured
    participants: ClassVar[Mapping[str, Any]] = {"deal": Deal, "account": Account}
    answers: ClassVar[Mapping[str, Any]] = {
        "reserve_goods": canonical({"reservation_id": "R-1"}),
        "take_money": canonical({"charge_id": "C-1", "amount": "19.90"}),
        "book_carrier": canonical({"booking_id": "B-1"}),
    }

    def given(self) -> Any:
        """See `Laid`."""
        return {"name": self.name, "account": self.name, "refused": False}

    def staged(self, step: str) -> tuple[Staged, ...]:
        """See `Laid`."""
        if step != "book_carrier":
            return ()
        booked, one = canonical({"booking": "B-1"}), canonical({"orders": 1})
        return (
            Staged(object=f"deal:{self.name}", operation="book", args=booked, step=step),
            Staged(object=f"account:{self.name}", operation="add", args=one, step=step),
        )

    def before(self) -> tuple[ObjectState, ...]:
        """See `Laid`."""
        return empty(f"deal:{self.name}"), empty(f"account:{self.name}")

    def after(self) -> tuple[ObjectState, ...]:
        """See `Laid`."""
        return (
            ObjectState(object=f"deal:{self.name}", version=1, state=canonical({"booking": "B-1"})),
            ObjectState(object=f"account:{self.name}", version=1, state=canonical({"orders": 1})),
        )


class Waits(Saga, version=1, key="name"):
    """Does nothing but wait for a signal."""

    class Input(BaseModel):
        """Its key."""

        name: str

    asleep = State(initial=True)
    awake = State(final=True)

    wake = asleep.to(awake)

    woken = awaits(wake, signal="go", within=timedelta(days=30), otherwise=cancel)


class Waiting(Laid):
    """A saga that sleeps until it is told."""

    flow = Waits
    participants: ClassVar[Mapping[str, Any]] = {}
    answers: ClassVar[Mapping[str, Any]] = {}

    def given(self) -> Any:
        """See `Laid`."""
        return {"name": self.name}


KINDS: Mapping[str, type[Laid]] = {"order": Placed, "measured": Run, "waiting": Waiting}
"""Kinds of history by name."""
