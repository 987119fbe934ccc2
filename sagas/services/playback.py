"""Play real orders back: what each outside service did, read from how the order ended in life.

The status decides what happens; the time stamps only order the signals. All of it is pure: a service asks
and then acts, and the flow under test never sees the file.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import orjson

APPROVED = "payments.approved"
HANDED_OVER = "carrier.handed_over"
DELIVERED = "carrier.delivered"
CALLED_OFF = "carrier.called_off"

_APPROVED_IN_LIFE = frozenset({"delivered", "shipped", "invoiced", "processing", "canceled"})
_STATUSES = _APPROVED_IN_LIFE | {"created", "unavailable"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayedOrder:
    """How one order went in life; an instant is `None` where that step never happened."""

    order_id: str
    status: str
    approved_at: datetime | None = None
    carrier_at: datetime | None = None
    delivered_at: datetime | None = None


def unavailable(order: PlayedOrder) -> str | None:
    """Say why the warehouse refuses to reserve, or `None`."""
    if order.status == "unavailable":
        return f"the goods of order {order.order_id} are not available"
    return None


def declined(order: PlayedOrder) -> str | None:
    """Say why the payment provider refuses to charge, or `None`."""
    if order.status == "canceled" and order.approved_at is None:
        return f"the payment of order {order.order_id} was not approved"
    return None


def after_charge(order: PlayedOrder) -> list[str]:
    """Name the signals that follow a charge, in order; an early hand-over stands before the approval."""
    if order.status not in _APPROVED_IN_LIFE or declined(order) is not None:
        return []
    return [HANDED_OVER, APPROVED] if _is_handed_over_early(order) else [APPROVED]


def after_booking(order: PlayedOrder) -> list[str]:
    """Name the signals that follow a booking, in order, without a hand-over that was sent early."""
    signals: list[str] = []
    if _is_handed_over(order) and not _is_handed_over_early(order):
        signals.append(HANDED_OVER)
    if order.status == "delivered":
        first = _stands_before(order.delivered_at, order.carrier_at)
        signals.insert(0 if first else len(signals), DELIVERED)
    if order.status == "canceled":
        signals.append(CALLED_OFF)
    return signals


def _is_handed_over(order: PlayedOrder) -> bool:
    if order.status == "canceled":
        return order.carrier_at is not None
    return order.status in ("delivered", "shipped")


def _is_handed_over_early(order: PlayedOrder) -> bool:
    return _is_handed_over(order) and _stands_before(order.carrier_at, order.approved_at)


def _stands_before(one: datetime | None, other: datetime | None) -> bool:
    return one is not None and other is not None and one < other


def read_orders(path: Path) -> dict[str, PlayedOrder]:
    """Read an orders file of JSON lines, by order id.

    A line that is not an order is named on stderr and left out: whoever starts sagas from the same file
    reports it too, and the others still play.
    """
    orders: dict[str, PlayedOrder] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            order = _order(orjson.loads(line))
        except (ValueError, KeyError, TypeError) as fault:
            print(f"{path}:{number}: not an order, left out: {fault!r}", file=sys.stderr)
            continue
        orders[order.order_id] = order
    return orders


def _order(line: Mapping[str, object]) -> PlayedOrder:
    order_id, status = line["order_id"], line["status"]
    if not isinstance(order_id, str) or status not in _STATUSES:
        raise ValueError(f"order_id {order_id!r}, status {status!r}")
    return PlayedOrder(
        order_id=order_id,
        status=str(status),
        approved_at=_instant(line.get("approved_at")),
        carrier_at=_instant(line.get("carrier_at")),
        delivered_at=_instant(line.get("delivered_at")),
    )


def _instant(text: object) -> datetime | None:
    if text is None:
        return None
    if not isinstance(text, str):
        raise ValueError(f"{text!r} is not an instant")
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return instant
