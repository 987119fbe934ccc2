"""Finished orders as the engine would have written them: its own decisions, lines, hashes and rows.

Nothing is copied from a template: every saga goes through the same pure functions as in a worker, only that
the outside answers at once. So what is filled in verifies, and costs to read what real history costs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sagacity.chain import extend
from sagacity.decide.begin import ask_locks, begin, start_message
from sagacity.decide.draft import Draft, RunStep, Scope
from sagacity.decide.finish import finish
from sagacity.decide.forward import advance
from sagacity.decide.outcomes import settle
from sagacity.ids import derived_id
from sagacity.model import lines as L
from sagacity.model.canonical import NULL, Json, canonical
from sagacity.model.outcome import Completed
from sagacity.model.record import Record, Staged
from sagacity.model.unit import ChainHead, LogRow, Message, ObjectState, Unit
from sagas.order import Order, Sale

START = datetime(2026, 1, 5, 8, tzinfo=UTC)
"""When the first order is placed; each one a second later."""

_ANSWERS: dict[str, Json] = {
    "reserve_goods": canonical({"reservation_id": "R-1"}),
    "take_money": canonical({"charge_id": "C-1", "amount": "19.90"}),
    "book_carrier": canonical({"booking_id": "B-1"}),
    "enter_sale": NULL,
}
_SIGNALS = ("payments.approved", "carrier.handed_over", "carrier.delivered")


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """One finished saga with all that belongs to it."""

    record: Record
    start: Message
    signals: tuple[Message, ...]
    objects: tuple[ObjectState, ...]


def scope_of(tenant: str) -> Scope:
    """What decisions about orders need."""
    return Scope(flow=Order.flow, participants={"order": Sale}, tenant=tenant, lane="live")


class Placed:
    """One order on its way: `units` are what a worker would hand to its committer, one by one.

    Args:
        scope: see `scope_of`.
        saga: its id.
        name: its order id, which is its key.
        n: which one it is; decides its instants and its customer.
    """

    def __init__(self, scope: Scope, saga: UUID, name: str, n: int) -> None:
        self._scope = scope
        self._now = START + timedelta(seconds=n)
        self._signals: list[Message] = []
        self._customer = f"{name.partition('-')[0]}-{n % 10_000}"
        given = {"order_id": name, "customer_id": self._customer, "amount": "19.90"}
        self._name = name
        self.start = start_message(scope.flow, saga=saga, key=name, data=canonical(given), now=self._now)
        self._draft = begin(scope, self.start, now=self._now)
        self._draft.consumed.append(saga)
        ask_locks(self._draft, granted=True, now=self._now)

    def units(self) -> Iterator[Unit]:
        """Its moves up to the end."""
        waiting = list(_SIGNALS)
        while True:
            moves = self._moves()
            if moves.steps:
                if moves.intends:
                    yield self._unit()
                self._does(moves.steps[0])
            elif moves.finish:
                finish(self._draft, {f"order:{self._name}": _empty(f"order:{self._name}")}, now=self._now)
                yield self._unit(release=True)
                return
            else:
                assert moves.sleep is not None
                self._draft.add(L.Slept(waits_for=moves.sleep, due_at=moves.due_at, at=self._now))
                yield self._unit(release=True)
                self._draft.mail.append(self._signal(waiting.pop(0)))

    def _moves(self) -> Any:
        self._now += timedelta(milliseconds=2)
        return advance(self._draft, now=self._now)

    def _does(self, run: RunStep) -> None:
        result, staged = _ANSWERS[run.step.name], ()
        if run.step.name == "enter_sale":
            args = canonical({"amount": "19.90", "booking_id": "B-1", "charge_id": "C-1"})
            one = Staged(object=f"order:{self._name}", operation="enter", args=args, step=run.step.name)
            staged = (one,)  # type: ignore[assignment]
        outcome = Completed(result=result, staged=staged)
        settle(self._draft, run.step, visit=run.visit, attempt=run.attempt, outcome=outcome, now=self._now)

    def _signal(self, name: str) -> Message:
        saga = self.start.id
        message = Message(
            id=derived_id(saga, name), kind="signal", saga=saga, name=name, data=NULL, arrived_at=self._now
        )
        self._signals.append(message)
        return message

    def _unit(self, *, release: bool = False) -> Unit:
        unit = self._draft.unit(epoch=1, release=release)
        self._draft = Draft(self._scope, unit.record, self._draft.mail)
        return unit

    def filled(self) -> Filled:
        """The saga and its rows, once `units` has ended."""
        record = self._draft.record
        sold = canonical({"booking_id": "B-1", "charge_id": "C-1", "sold_for": "19.90"})
        objects = (
            ObjectState(object=f"order:{self._name}", version=1, state=sold),
            _empty(f"customer:{self._customer}"),
        )
        return Filled(record=record, start=self.start, signals=tuple(self._signals), objects=objects)


def _empty(name: str) -> ObjectState:
    return ObjectState(object=name, version=0, state=NULL)


def batches(
    orders: list[Placed], head: ChainHead, *, tenant: str
) -> Iterator[tuple[tuple[LogRow, ...], ChainHead]]:
    """The lines of orders that run side by side on one chain, batch by batch, and the head behind each."""
    running = [order.units() for order in orders]
    while running:
        units: list[Unit] = []
        left = []
        for moving in running:
            unit = next(moving, None)
            if unit is not None:
                units.append(unit)
                left.append(moving)
        running = left
        if units:
            rows = extend(head, units, tenant=tenant, lane="live")
            head = ChainHead(id=head.id, epoch=head.epoch, position=rows[-1].position, hash=rows[-1].hash)
            yield rows, head
