"""Canonical JSON text: the one form in which values are stored, hashed and compared.

Keys sorted, no spaces, UTF-8, numbers exactly as given. What a database or a hash would
quietly change is refused here, before it is in a batch: NUL, lone surrogates, NaN and
infinities, integers over 64 bits, decimals with huge exponents.
"""

import json
import math
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, NewType
from uuid import UUID

import orjson
from pydantic import BaseModel, BeforeValidator
from pydantic_core import PydanticSerializationError, to_jsonable_python

from sagacity.errors import InputError, PayloadTooLarge

JsonText = NewType("JsonText", str)
"""Canonical JSON, as text."""

MAX_PAYLOAD = 256 * 1024
"""Bytes that one stored payload may have."""

_MAX_EXPONENT = 1_000
_INT64 = 1 << 63
NULL = JsonText("null")


def canonical(value: Any, *, limit: int | None = MAX_PAYLOAD) -> JsonText:
    """`value` as canonical JSON text.

    Args:
        value: JSON types, `Decimal`, `datetime`, `UUID`, enums, dataclasses or pydantic models.
        limit: bytes allowed; None for the engine's own texts.

    Raises:
        InputError: a value that cannot be stored unchanged; the message names the place.
        PayloadTooLarge: the text is longer than `limit` bytes.
    """
    try:
        text = orjson.dumps(_plain(value, "$"), option=orjson.OPT_SORT_KEYS).decode()
    except RecursionError:
        raise InputError("value cannot be stored as JSON: nested too deep") from None
    except (TypeError, UnicodeEncodeError) as error:
        raise InputError(f"value cannot be stored as JSON: {error}") from None
    if limit is not None and len(text) > limit // 4 and len(text.encode()) > limit:
        raise PayloadTooLarge(len(text.encode()), limit)
    return JsonText(text)


def _plain(value: Any, path: str) -> Any:
    """`value` in JSON types only, or an error that names `path`."""
    kind = type(value)
    if kind is str:
        if "\x00" in value:
            raise InputError(f"{path}: NUL characters cannot be stored: remove them")
        return value
    if value is None or kind is bool:
        return value
    if kind is int:
        if not -_INT64 <= value < _INT64:
            raise InputError(f"{path}: integer {value} is over 64 bits: send it as a string")
        return value
    if kind is float:
        if not math.isfinite(value):
            raise InputError(f"{path}: {value} is not a number that can be stored")
        return value
    if kind is dict:
        return {_key(key, path): _plain(item, f"{path}.{key}") for key, item in value.items()}
    if kind is list or kind is tuple:
        return [_plain(item, f"{path}[{n}]") for n, item in enumerate(value)]
    return _rich(value, path)


def _key(key: Any, path: str) -> str:
    if not isinstance(key, str):
        raise InputError(f"{path}: key {key!r} is not a string")
    return str(_plain(str(key), path))


def _rich(value: Any, path: str) -> Any:
    """What is not plain JSON but has one exact plain form."""
    if isinstance(value, Decimal):
        return exact(value, path)
    if isinstance(value, BaseModel):
        return _plain(value.model_dump(mode="python"), path)
    if isinstance(value, dict):
        return _plain(dict(value), path)
    if isinstance(value, (set, frozenset, list, tuple)):
        items = value if isinstance(value, (list, tuple)) else _sorted(value, path)
        return [_plain(item, f"{path}[{n}]") for n, item in enumerate(items)]
    if isinstance(value, Enum):
        return _plain(value.value, path)
    if hasattr(value, "isoformat"):
        if getattr(value, "tzinfo", True) is None:
            raise InputError(f"{path}: {value} has no time zone: pass an aware datetime")
        return value.isoformat()
    if isinstance(value, str | UUID):
        return _plain(str(value), path)
    if isinstance(value, int):
        return _plain(int(value), path)
    return _adapted(value, path)


def _sorted(value: Any, path: str) -> list[Any]:
    """A set in the one order that its values have."""
    try:
        return sorted(value)
    except TypeError as error:
        raise InputError(f"{path}: a set that cannot be sorted: {error}") from None


def _adapted(value: Any, path: str) -> Any:
    """Dataclasses, bytes, time deltas: whatever pydantic has a JSON form for."""
    try:
        plain = to_jsonable_python(value, inf_nan_mode="constants")
    except (PydanticSerializationError, ValueError) as error:
        raise InputError(f"{path}: {error}") from None
    return _plain(plain, path)


def exact(value: Decimal, path: str = "$") -> str:
    """A decimal as text, digits kept (`0.10` stays `0.10`).

    Raises:
        InputError: NaN, an infinity, or an exponent beyond ±1000.
    """
    if not value.is_finite():
        raise InputError(f"{path}: {value} is not an amount")
    if abs(value.adjusted()) > _MAX_EXPONENT:
        raise InputError(f"{path}: {value:.3E} has an exponent beyond {_MAX_EXPONENT}")
    return format(value, "f")


def storable(text: str, *, limit: int = 2_000) -> str:
    """What an error says, as text that every database takes: cut to `limit` characters, odd ones replaced."""
    return text[:limit].replace("\x00", "\ufffd").encode(errors="replace").decode()


def parsed(text: str | bytes) -> Any:
    """JSON text from outside as Python values, numbers exact (fractions become `Decimal`).

    Raises:
        InputError: not JSON, NaN or Infinity, a key twice in one object, or nested too deep.
    """
    try:
        return json.loads(
            text, parse_float=Decimal, parse_constant=_refuse_constant, object_pairs_hook=_no_repeats
        )
    except RecursionError:
        raise InputError("not JSON: nested too deep") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise InputError(f"not JSON: {error}") from None


def _refuse_constant(name: str) -> Any:
    raise InputError(f"not JSON: {name} is not a number")


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise InputError("not JSON: an object has the same key twice")
    return found


def loaded(text: JsonText) -> Any:
    """Canonical text as Python values."""
    return orjson.loads(text)


Json = Annotated[JsonText, BeforeValidator(lambda value: canonical(value, limit=None))]
"""For pydantic: a JSON value of any shape, kept as its canonical text."""
