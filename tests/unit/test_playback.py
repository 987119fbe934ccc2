"""The outside world plays each order back as it went: the status decides, the time stamps only order."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest

from sagas.services.playback import (
    PlayedOrder,
    after_booking,
    after_charge,
    declined,
    left_out,
    read_orders,
    unavailable,
)
from sagas.services.sample import main as make_sample

NOON = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
SAMPLE = Path(__file__).parents[2] / "sagas" / "sample_orders.jsonl"


def order(
    status: str, *, approved: int | None = None, carrier: int | None = None, delivered: int | None = None
) -> PlayedOrder:
    """Make an order whose instants are hours after noon."""

    def at(hours: int | None) -> datetime | None:
        return None if hours is None else NOON + hours * HOUR

    return PlayedOrder(
        order_id="o-1",
        status=status,
        approved_at=at(approved),
        carrier_at=at(carrier),
        delivered_at=at(delivered),
    )


@pytest.mark.parametrize(
    ("played", "charged", "booked"),
    [
        (
            order("delivered", approved=1, carrier=2, delivered=3),
            ["payments.approved"],
            ["carrier.handed_over", "carrier.delivered"],
        ),
        (
            order("delivered", approved=2, carrier=1, delivered=3),
            ["carrier.handed_over", "payments.approved"],
            ["carrier.delivered"],
        ),
        (
            order("delivered", approved=1, carrier=3, delivered=2),
            ["payments.approved"],
            ["carrier.delivered", "carrier.handed_over"],
        ),
        (
            order("delivered", carrier=2, delivered=3),
            ["payments.approved"],
            ["carrier.handed_over", "carrier.delivered"],
        ),
        (order("delivered"), ["payments.approved"], ["carrier.handed_over", "carrier.delivered"]),
        (order("shipped", approved=1, carrier=2), ["payments.approved"], ["carrier.handed_over"]),
        (order("shipped", approved=2, carrier=1), ["carrier.handed_over", "payments.approved"], []),
        (order("invoiced", approved=1), ["payments.approved"], []),
        (order("processing", approved=1, carrier=0), ["payments.approved"], []),
        (order("created"), [], []),
        (order("canceled", approved=1), ["payments.approved"], ["carrier.called_off"]),
        (
            order("canceled", approved=1, carrier=2, delivered=3),
            ["payments.approved"],
            ["carrier.handed_over", "carrier.called_off"],
        ),
        (
            order("canceled", approved=2, carrier=1),
            ["carrier.handed_over", "payments.approved"],
            ["carrier.called_off"],
        ),
    ],
)
def test_signals_follow_the_status_in_the_order_of_the_time_stamps(
    played: PlayedOrder, charged: list[str], booked: list[str]
) -> None:
    assert after_charge(played) == charged
    assert after_booking(played) == booked


def test_the_warehouse_refuses_only_what_was_unavailable() -> None:
    assert "not available" in (unavailable(order("unavailable", approved=1)) or "")
    assert unavailable(order("canceled")) is None
    assert unavailable(order("delivered")) is None


def test_the_provider_refuses_only_a_canceled_order_that_was_never_approved() -> None:
    assert "not approved" in (declined(order("canceled")) or "")
    assert after_charge(order("canceled")) == []
    assert declined(order("canceled", approved=1)) is None
    assert declined(order("delivered")) is None
    assert declined(order("created")) is None


def test_a_line_that_is_no_order_is_named_and_the_others_play(tmp_path: Path) -> None:
    file = tmp_path / "orders.jsonl"
    file.write_text(
        '{"order_id": "a", "status": "created"}\n'
        "not json\n"
        '{"order_id": "b", "status": "lost"}\n'
        "\n"
        '{"order_id": "c", "status": "shipped", "carrier_at": "2025-03-01T10:00:00"}\n'
        '{"order_id": "d", "status": "shipped", "carrier_at": "2025-03-01T10:00:00Z"}\n'
    )

    assert list(read_orders(file)) == ["a", "d"]

    said = {line.number: line.reason for line in left_out(file)}
    assert list(said) == [2, 3, 5]
    assert said[2].startswith("not JSON: ")
    assert said[3].startswith('status "lost" is unknown: it is one of canceled, created, ')
    assert said[5].startswith('carrier_at "2025-03-01T10:00:00" has no time zone')


def test_the_committed_sample_is_the_one_that_is_made(tmp_path: Path) -> None:
    made = tmp_path / "sample.jsonl"
    assert make_sample([str(made)]) == 0
    assert made.read_bytes() == SAMPLE.read_bytes()


def test_the_sample_holds_every_way_an_order_can_end() -> None:
    orders = read_orders(SAMPLE)
    lines = [orjson.loads(line) for line in SAMPLE.read_bytes().splitlines()]

    assert len(orders) == len(lines) == 200
    assert Counter(played.status for played in orders.values()) == {
        "delivered": 151,
        "canceled": 17,
        "shipped": 9,
        "unavailable": 9,
        "invoiced": 5,
        "processing": 5,
        "created": 4,
    }
    assert sum(declined(played) is not None for played in orders.values()) == 7
    assert sum(after_charge(played)[:1] == ["carrier.handed_over"] for played in orders.values()) == 13
    assert sum(after_booking(played)[:1] == ["carrier.delivered"] for played in orders.values()) == 15
    assert len({line["customer_id"] for line in lines}) < 200
