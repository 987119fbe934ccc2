"""Column types that mean the same on both databases: instants, ids, lock queues.

What Python sees never depends on the database underneath: an instant is aware and in UTC
with its microseconds, an id is a UUID, a queue is a tuple of texts.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from sqlalchemy import BigInteger, Boolean, Dialect, Text, Uuid
from sqlalchemy.dialects.postgresql import ARRAY, TIMESTAMP
from sqlalchemy.types import TypeDecorator, TypeEngine

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def micros(instant: datetime) -> int:
    """Whole microseconds since 1970, exact (no float in between)."""
    return (instant - _EPOCH) // _MICROSECOND


def instant(micros: int) -> datetime:
    """The instant that lies `micros` microseconds after 1970."""
    return _EPOCH + timedelta(microseconds=micros)


class UtcInstant(TypeDecorator[datetime]):
    """An instant: `timestamptz` on PostgreSQL, an integer of microseconds since 1970 on SQLite."""

    impl = BigInteger
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The database's own type."""
        kind: TypeEngine[Any] = TIMESTAMP(timezone=True) if dialect.name == "postgresql" else BigInteger()
        return dialect.type_descriptor(kind)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Python to database."""
        return value if value is None or dialect.name == "postgresql" else micros(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Database to Python."""
        if value is None:
            return None
        return value.astimezone(UTC) if dialect.name == "postgresql" else instant(value)


class Id(TypeDecorator[UUID]):
    """A UUID: `uuid` on PostgreSQL, its text of 36 characters on SQLite (they sort alike)."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The database's own type."""
        kind: TypeEngine[Any] = Uuid(as_uuid=True) if dialect.name == "postgresql" else Text()
        return dialect.type_descriptor(kind)

    def process_bind_param(self, value: UUID | None, dialect: Dialect) -> Any:
        """Python to database."""
        return value if value is None or dialect.name == "postgresql" else str(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> UUID | None:
        """A plain `UUID`; the driver's own subclass is not taken for one by the JSON encoder."""
        if value is None or type(value) is UUID:
            return value
        return UUID(int=value.int) if isinstance(value, UUID) else UUID(value)


class Queue(TypeDecorator[tuple[str, ...]]):
    """A lock queue, front first: `text[]` on PostgreSQL, a JSON array of texts on SQLite."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The database's own type."""
        kind: TypeEngine[Any] = ARRAY(Text()) if dialect.name == "postgresql" else Text()
        return dialect.type_descriptor(kind)

    def process_bind_param(self, value: Sequence[str] | None, dialect: Dialect) -> Any:
        """Python to database."""
        if value is None:
            return None
        return list(value) if dialect.name == "postgresql" else _queue_text(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> tuple[str, ...] | None:
        """Database to Python."""
        if value is None:
            return None
        return tuple(orjson.loads(value) if isinstance(value, str) else value)


def _queue_text(queue: Sequence[str]) -> str:
    return orjson.dumps(tuple(queue)).decode()


def _queue_of(text: str) -> tuple[str, ...]:
    return tuple(orjson.loads(text))


PLAIN: dict[type, Callable[[Any], Any]] = {UtcInstant: micros, Id: str, Queue: _queue_text}
"""What SQLite stores for a value of these types (`None` aside)."""

READ: dict[type, Callable[[Any], Any]] = {UtcInstant: instant, Id: UUID, Queue: _queue_of, Boolean: bool}
"""What Python sees of what SQLite stores for them (`None` aside)."""
