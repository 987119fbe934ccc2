"""What is written as text arrives as it was: every value of every kind of column, on a real server."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sagacity.store import literals

pytestmark = [pytest.mark.parametrize("url", ["fresh postgresql"], indirect=True), pytest.mark.postgres]

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
AWKWARD = st.sampled_from(["", "NULL", "{}", '"', "\\", ",", "\x1c", "\x1d", "\x1c\x1d", "\ue000", " ", "\n"])
INSTANTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))
KINDS: dict[str, st.SearchStrategy[Any]] = {
    "text": TEXTS | AWKWARD,
    "int": st.integers(-(2**31), 2**31 - 1),
    "bigint": st.integers(-(2**63), 2**63 - 1),
    "boolean": st.booleans(),
    "uuid": st.uuids(),
    "bytea": st.binary(max_size=40),
    "timestamptz": INSTANTS,
}
COLUMNS = st.fixed_dictionaries({k: st.lists(st.none() | v, max_size=8) for k, v in KINDS.items()})


async def read_back(connection: asyncpg.Connection, columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
    between, null = literals.marks(columns["text"])
    asked = ", ".join(
        f"{literals.expression(kind, f'${n}', '$1', '$2')} AS {kind}_" for n, kind in enumerate(columns, 3)
    )
    sent = [
        literals.joined(column, between, null) if kind == "text" else literals.literal(kind, column)
        for kind, column in columns.items()
    ]
    row = await connection.fetchrow(f"SELECT $1::text, $2::text, {asked}", between, null, *sent)
    assert row is not None
    return {kind: list(row[f"{kind}_"]) for kind in columns}


@settings(max_examples=60, deadline=timedelta(seconds=10), suppress_health_check=list(HealthCheck))
@given(columns=COLUMNS)
async def test_every_value_of_every_kind_arrives_as_it_was(url: str, columns: dict[str, list[Any]]) -> None:
    connection = await asyncpg.connect(url)
    try:
        back = await read_back(connection, columns)
    finally:
        await connection.close()
    back["uuid"] = [None if id is None else UUID(bytes=id.bytes) for id in back["uuid"]]
    assert back == columns


async def test_a_single_empty_text_and_no_text_at_all_are_not_the_same(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for column in ([], [""], [None], ["", None, ""]):
            assert (await read_back(connection, {"text": column}))["text"] == column
    finally:
        await connection.close()


def test_the_marks_are_in_none_of_the_texts(url: str) -> None:
    used = [chr(code) for code in range(0x1C, 0x20)]
    assert literals.marks(["a", None, "\x1c"]) == ("\x1d", "\x1e")
    assert literals.marks(used) == ("\ue000", "\ue001")


def test_texts_that_leave_no_mark_are_refused(url: str) -> None:
    every = "".join(chr(code) for span in literals._MARKS for code in span)
    with pytest.raises(ValueError, match="private character"):
        literals.marks([every])
