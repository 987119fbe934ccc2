"""Canonical text keeps every value exactly, or refuses it with the place where it stands."""

import enum
import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter

from sagacity.errors import InputError, PayloadTooLarge
from sagacity.model.canonical import MAX_PAYLOAD, Json, JsonText, canonical, exact, loaded, parsed, storable

texts = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]))
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)
decimals = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30)
rich = plain | decimals | st.datetimes(timezones=st.just(UTC)) | st.uuids() | st.dates() | st.timedeltas()


@given(st.recursive(rich, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=10))
def test_what_was_canonical_stays_as_it_is(value: Any) -> None:
    text = canonical(value, limit=None)
    assert canonical(loaded(text), limit=None) == text


@given(plain)
def test_plain_values_come_back_as_they_were(value: Any) -> None:
    assert loaded(canonical(value, limit=None)) == value
    assert json.loads(canonical(value, limit=None)) == value


@given(st.dictionaries(texts, st.integers(0, 9)))
def test_the_order_of_keys_says_nothing(value: dict[str, int]) -> None:
    turned = dict(reversed(value.items()))
    assert canonical(value) == canonical(turned)


@given(decimals)
def test_decimals_keep_every_digit(value: Decimal) -> None:
    kept = Decimal(exact(value))
    assert kept == value
    assert int(value.as_tuple().exponent) > 0 or kept.as_tuple() == value.as_tuple()


class Colour(enum.StrEnum):
    RED = "red"


class Size(enum.IntEnum):
    BIG = 3


class Grade(enum.Enum):
    BEST = "a"


@dataclass
class Point:
    x: Decimal


class Money(BaseModel):
    amount: Decimal
    at: datetime | None = None


class Subtle(float):
    """A float that is not quite one."""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("0.10"), '"0.10"'),
        (Decimal("1E+3"), '"1000"'),
        (Decimal("-0"), '"-0"'),
        (9007199254740993, "9007199254740993"),
        (-(2**63), "-9223372036854775808"),
        ({"b": 1, "a": [True, None, 1.5]}, '{"a":[true,null,1.5],"b":1}'),
        ({"ä": "€", "z": "😀"}, '{"z":"😀","ä":"€"}'),
        ((1, 2), "[1,2]"),
        ({2, 1}, "[1,2]"),
        (Colour.RED, '"red"'),
        ({Colour.RED: 1}, '{"red":1}'),
        (Size.BIG, "3"),
        (Grade.BEST, '"a"'),
        (UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
        (date(2026, 3, 1), '"2026-03-01"'),
        (datetime(2026, 3, 1, tzinfo=UTC), '"2026-03-01T00:00:00+00:00"'),
        (datetime(2026, 3, 1, tzinfo=timezone(timedelta(hours=2))), '"2026-03-01T00:00:00+02:00"'),
        (timedelta(days=1), '"P1D"'),
        (b"abc", '"abc"'),
        (Point(x=Decimal("1.50")), '{"x":"1.50"}'),
        (Money(amount=Decimal("1.50")), '{"amount":"1.50","at":null}'),
        ([Money(amount=Decimal("1.50"))], '[{"amount":"1.50","at":null}]'),
        (Subtle(1.5), "1.5"),
        (-0.0, "-0.0"),
    ],
    ids=str,
)
def test_one_form_for_each_value(value: Any, text: str) -> None:
    assert canonical(value) == text


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("a\x00b", "NUL"),
        ({"a": ["x", "\x00"]}, r"\$\.a\[1\]"),
        ({"\x00": 1}, "NUL"),
        ("\ud800", "surrogate"),
        ({"\udfff": 1}, "stored as JSON"),
        (float("nan"), "not a number"),
        (float("inf"), "not a number"),
        (Subtle("nan"), "not a number"),
        (Decimal("NaN"), "not an amount"),
        (Decimal("-Infinity"), "not an amount"),
        (Decimal("1E+1001"), "exponent beyond 1000"),
        (Decimal("1E-1001"), "exponent beyond 1000"),
        ({"n": 2**63}, r"\$\.n: integer 9223372036854775808 is over 64 bits"),
        (-(2**63) - 1, "over 64 bits"),
        (datetime(2026, 3, 1), "no time zone"),
        (time(12, 0), "no time zone"),
        ({"at": Money(amount=Decimal(1), at=datetime(2026, 3, 1))}, r"\$\.at\.at: .* no time zone"),
        ({1: "x"}, "key 1 is not a string"),
        (object(), "object"),
        (b"\xff", "utf"),
        ({1, "a"}, "sort"),
        (type("Text", (str,), {})("a\x00"), "NUL"),
        (type("Number", (int,), {})(2**63), "over 64 bits"),
    ],
)
def test_what_would_be_changed_on_its_way_is_refused(value: Any, said: str) -> None:
    with pytest.raises(InputError, match=f"(?i){said}"):
        canonical(value)


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("depth", [300, 5_000])
def test_what_is_nested_too_deep_is_refused(depth: int) -> None:
    with pytest.raises(InputError):
        canonical(nested(depth))


def test_a_payload_over_the_limit_is_refused_in_bytes_not_characters() -> None:
    assert canonical("x" * (MAX_PAYLOAD - 2))
    with pytest.raises(PayloadTooLarge, match=f"{MAX_PAYLOAD + 1} bytes") as refused:
        canonical("x" * (MAX_PAYLOAD - 1))
    assert (refused.value.size, refused.value.limit) == (MAX_PAYLOAD + 1, MAX_PAYLOAD)
    with pytest.raises(PayloadTooLarge):
        canonical("€" * (MAX_PAYLOAD // 3))
    assert canonical("x" * MAX_PAYLOAD, limit=None)


# --- text from outside ------------------------------------------------------------------------------


def test_numbers_from_outside_are_exact() -> None:
    found = parsed('{"a": 0.10, "b": 9007199254740993, "c": 1e2}')
    assert found == {"a": Decimal("0.10"), "b": 9007199254740993, "c": Decimal("1E+2")}
    assert canonical(found) == '{"a":"0.10","b":9007199254740993,"c":"100"}'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ('{"a": NaN}', "NaN is not a number"),
        ("-Infinity", "-Infinity is not a number"),
        ('{"a": 1, "a": 2}', "same key twice"),
        ('[{"x": {"a": 1, "a": 1}}]', "same key twice"),
        ("[" * 100_000, "too deep"),
        (b"\xff\xfe\xfd", "not JSON"),
        ("1" * 5_000, "not JSON"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_bad_text_from_outside_is_refused(text: str | bytes, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parsed(text)


def test_an_error_can_always_be_stored() -> None:
    told = storable("odd \x00 and \ud800" + "x" * 5_000)
    assert len(told) == 2_000
    assert canonical(told)


def test_a_json_field_keeps_its_text() -> None:
    adapter: TypeAdapter[JsonText] = TypeAdapter(Json)
    assert adapter.validate_python({"b": Decimal("0.10"), "a": 1}) == '{"a":1,"b":"0.10"}'
