"""Make orders of our own: `python -m sagas.services.sample FILE`.

Every run gives the same file, byte for byte, because chance is drawn from a hash of the seed. All ways an
order can end are in it, also those whose time stamps stand in an unlikely order.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson

SEED = "sagacity"
COUNT = 200
_FIRST_DAY = datetime(2025, 3, 1, 6, 0, tzinfo=UTC)
_PAYMENTS = ("credit_card", "debit_card", "bank_slip", "voucher")
_ENDINGS = (
    *["delivered"] * 136,
    *["delivered, early hand-over"] * 12,
    *["delivered before the hand-over"] * 3,
    *["shipped"] * 9,
    *["invoiced"] * 5,
    *["processing"] * 5,
    *["created"] * 4,
    *["unavailable"] * 9,
    *["canceled, payment refused"] * 7,
    *["canceled, approved"] * 6,
    *["canceled, on its way"] * 3,
    *["canceled, early hand-over"] * 1,
)


def draw(below: int, *parts: object) -> int:
    """Draw a number from 0 up to but not including `below`, the same for the same parts."""
    digest = hashlib.sha256("\n".join([SEED, *map(str, parts)]).encode()).digest()
    return int.from_bytes(digest[:8], "big") % below


def sample_orders(count: int = COUNT) -> Iterator[dict[str, str | None]]:
    """Make `count` orders, oldest first, with every ending as often as in two hundred."""
    endings = sorted(range(count), key=lambda number: draw(2**32, "turn", number))
    for number in range(count):
        yield _order(number, _ENDINGS[endings[number] % len(_ENDINGS)])


def _order(number: int, ending: str) -> dict[str, str | None]:
    purchased = _FIRST_DAY + timedelta(minutes=47 * number + draw(40, "purchased", number))
    approved, carrier, delivered = _instants(number, ending, purchased)
    cents = 990 + draw(28_000, "amount", number)
    return {
        "order_id": _made("order", number),
        "customer_id": _made("customer", draw(160, "customer", number)),
        "status": ending.partition(",")[0].partition(" ")[0],
        "payment": _PAYMENTS[draw(len(_PAYMENTS), "payment", number)],
        "amount": f"{cents // 100}.{cents % 100:02d}",
        "purchased_at": _written(purchased),
        "approved_at": _written(approved),
        "carrier_at": _written(carrier),
        "delivered_at": _written(delivered),
        "promised_at": _written(purchased + timedelta(days=10 + draw(12, "promised", number))),
    }


def _instants(
    number: int, ending: str, purchased: datetime
) -> tuple[datetime | None, datetime | None, datetime | None]:
    approved = purchased + timedelta(minutes=5 + draw(1500, "approved", number))
    carrier = approved + timedelta(hours=4 + draw(60, "carrier", number))
    delivered = carrier + timedelta(hours=20 + draw(200, "delivered", number))
    if "early hand-over" in ending:
        carrier = approved - timedelta(minutes=3)
    if ending == "delivered before the hand-over":
        delivered = carrier - timedelta(minutes=30)
    status = ending.partition(" ")[0].rstrip(",")
    if ending in ("created", "canceled, payment refused"):
        return None, None, None
    if status == "delivered":
        return approved, carrier, delivered
    if status == "shipped" or ending in ("canceled, on its way", "canceled, early hand-over"):
        return approved, carrier, None
    return approved, None, None


def _made(kind: str, number: int) -> str:
    return hashlib.sha256(f"{SEED}\n{kind}\n{number}".encode()).hexdigest()[:16]


def _written(instant: datetime | None) -> str | None:
    return None if instant is None else instant.strftime("%Y-%m-%dT%H:%M:%SZ")


def main(argv: Sequence[str] | None = None) -> int:
    """Write the sample to the named file."""
    parser = argparse.ArgumentParser(prog="python -m sagas.services.sample", description=__doc__)
    parser.add_argument("file", type=Path)
    file: Path = parser.parse_args(argv).file
    file.write_bytes(b"".join(orjson.dumps(order) + b"\n" for order in sample_orders()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
