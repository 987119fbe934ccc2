"""The user's own rows: read as canonical JSON before and after a unit's statements.

The log tells what happened to a row in the same words as for an engine-owned object, so a row
is read as the database shows it, column by column, and nothing of the user's types is asked for.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Integer, Numeric, Uuid, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.types import TypeEngine

from sagacity.errors import InputError
from sagacity.model.canonical import NULL, Json, canonical
from sagacity.store.base import OwnRow, OwnTableError, RowImages


class Rehearsed(Exception):
    """Carries images out of a transaction and so rolls it back."""

    def __init__(self, images: Mapping[str, RowImages]) -> None:
        super().__init__("rolled back on purpose")
        self.images = images


_KEYS: tuple[tuple[type[TypeEngine[Any]], type[Any]], ...] = (
    (Integer, int),
    (Uuid, UUID),
    (Numeric, Decimal),
)
"""Key columns whose values are no text, and what they are in Python."""


def key_of(row: OwnRow) -> Any:
    """The object's id as a value of the key column's type.

    Raises:
        OwnTableError: the id cannot be one.
    """
    id = row.object.partition(":")[2]
    column = row.table.c[row.key].type
    kind = next((python for known, python in _KEYS if isinstance(column, known)), None)
    if kind is None:
        return id
    try:
        return kind(id)
    except (ValueError, ArithmeticError):
        raise OwnTableError(
            f"{row.object}: {id!r} cannot be a key of {row.table.name}.{row.key} ({kind.__name__})"
        ) from None


def image(conn: Connection, row: OwnRow) -> Json:
    """The row as it stands, locked where the database locks rows; JSON null where there is none."""
    column = row.table.c[row.key]
    found = conn.execute(select(row.table).where(column == key_of(row)).with_for_update()).one_or_none()
    if found is None:
        return NULL
    try:
        return canonical({name: _plain(value) for name, value in found._mapping.items()}, limit=None)
    except InputError as error:
        raise OwnTableError(f"{row.object}: a column cannot be stored in the log: {error}") from error


def _plain(value: Any) -> Any:
    """Column values that canonical JSON refuses, in a plain form: naive instants, bytes, odd floats."""
    match value:
        case datetime() | time():
            return value.isoformat()
        case bytes() | bytearray() | memoryview():
            return bytes(value).hex()
        case float() if not math.isfinite(value):
            return str(value)
        case _:
            return value


def run_statements(conn: Connection, rows: Sequence[OwnRow]) -> dict[str, RowImages]:
    """Lock and read each row in key order, run its statements, read it again.

    Raises:
        OwnTableError: a statement failed; the caller rolls the transaction back.
    """
    ordered = sorted(rows, key=lambda row: row.object)
    try:
        before = {row.object: image(conn, row) for row in ordered}
        for row in ordered:
            for statement in row.statements:
                conn.execute(statement)
        if (
            conn.dialect.name == "postgresql"
        ):  # what a commit would check is checked now, while it can be told
            conn.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
        after = {row.object: image(conn, row) for row in ordered}
    except SQLAlchemyError as error:
        raise OwnTableError(f"a statement on the user's own tables failed: {error}") from error
    return {name: RowImages(before=before[name], after=after[name]) for name in before}
