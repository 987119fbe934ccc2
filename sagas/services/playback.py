"""Play real orders back: what each outside service did, read from how the order ended in life.

The status decides what happens; the time stamps only order the signals. All of it is pure: a service asks
and then acts, and the flow under test never sees the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A line that cannot be played: its number from 1, its text, and why."""

    number: int
    text: bytes
    reason: str


def read_orders(path: Path) -> dict[str, PlayedOrder]:
    """Read an orders file of JSON lines, by order id; lines that cannot be played are left out."""
    return {order.order_id: order for order in _read(path) if isinstance(order, PlayedOrder)}


def left_out(path: Path) -> list[LeftOut]:
    """Name the lines that `read_orders` leaves out. Three services read a file, one tells."""
    return [line for line in _read(path) if isinstance(line, LeftOut)]


def _read(path: Path) -> Iterator[PlayedOrder | LeftOut]:
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            yield _order(line)
        except ValueError as fault:
            yield LeftOut(number=number, text=line, reason=str(fault))


def _order(text: bytes) -> PlayedOrder:
    try:
        line = orjson.loads(text)
    except orjson.JSONDecodeError as fault:
        raise ValueError(f"not JSON: {fault}") from None
    if not isinstance(line, dict):
        raise ValueError("not a JSON object")
    order_id, status = line.get("order_id"), line.get("status")
    if not isinstance(order_id, str):
        raise ValueError("order_id is missing" if order_id is None else "order_id is no text")
    if not isinstance(status, str) or status not in _STATUSES:
        found = "is missing" if status is None else f"{_shown(status)} is unknown"
        raise ValueError(f"status {found}: it is one of {', '.join(sorted(_STATUSES))}")
    return PlayedOrder(
        order_id=order_id,
        status=status,
        approved_at=_instant(line, "approved_at"),
        carrier_at=_instant(line, "carrier_at"),
        delivered_at=_instant(line, "delivered_at"),
    )


def _instant(line: Mapping[str, object], field: str) -> datetime | None:
    text = line.get(field)
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        instant = None
    if instant is None:
        raise ValueError(f"{field} {_shown(text)} is no instant: write it like 2025-03-01T10:00:00Z")
    if instant.tzinfo is None:
        raise ValueError(f"{field} {_shown(text)} has no time zone: write it like 2025-03-01T10:00:00Z")
    return instant


def _shown(value: object) -> str:
    return orjson.dumps(value).decode()[:60]
