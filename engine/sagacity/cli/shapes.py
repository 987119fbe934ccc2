"""Views as JSON: the one shape that HTTP answers and `-o json` prints.

What users stored is embedded as it stands, byte for byte, so a number is never read and
written again on its way out: 9007199254740993 and 0.10 arrive as they were put in.
"""

import dataclasses
import types
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import orjson
from pydantic import BaseModel, ConfigDict, create_model

from sagacity.model.canonical import Json

SCHEMA_VERSION = 1
"""Version of every JSON document that the edges print."""

_JSON_MARKS = get_args(Json)[1:]


def dump(value: Any, *, indent: bool = False) -> bytes:
    """`value` (views, records, mappings, sequences) as JSON text."""
    return orjson.dumps(plain(value), option=orjson.OPT_INDENT_2 if indent else None)


def document(value: Any) -> dict[str, Any]:
    """One view as a JSON object that says which version its shape has."""
    return {"schema_version": SCHEMA_VERSION, **plain(value)}


def page(items: Iterable[Any], *, after: str | None = None) -> dict[str, Any]:
    """Many views as one JSON object; `after` is the cursor of the next page."""
    return {"schema_version": SCHEMA_VERSION, "items": [plain(item) for item in items], "next": after}


def plain(value: Any) -> Any:
    """`value` in what orjson can write, stored JSON embedded as fragments."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        hints = hints_of(type(value))
        return {name: _field(getattr(value, name), hint) for name, hint in hints.items()}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return instant(value)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    return value


def instant(value: datetime) -> str:
    """An instant as RFC 3339 in UTC, to the microsecond."""
    return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


@cache
def hints_of(cls: type) -> dict[str, Any]:
    """The annotation of each field of a view, marks included."""
    hints = get_type_hints(cls, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def _field(value: Any, hint: Any) -> Any:
    if value is None:
        return None
    if is_json(hint):
        return orjson.Fragment(value)
    if get_origin(hint) is dict and is_json(get_args(hint)[1]):
        return {str(key): orjson.Fragment(item) for key, item in value.items()}
    return plain(value)


def is_json(hint: Any) -> bool:
    """Whether a field's annotation is `Json` or `Json | None`."""
    if get_origin(hint) in (Union, types.UnionType):
        return any(is_json(option) for option in get_args(hint))
    return get_origin(hint) is Annotated and get_args(hint)[1:] == _JSON_MARKS


@cache
def schema_of(cls: type, *, whole: bool = True) -> type[BaseModel]:
    """A pydantic model of the shape that `document` gives a view: for OpenAPI, never filled in.

    Args:
        cls: a frozen record.
        whole: it stands by itself and so says its version; False: a part of another.
    """
    shape: dict[str, Any] = {"schema_version": (int, SCHEMA_VERSION)} if whole else {}
    shape |= {name: (_documented(hint), ...) for name, hint in hints_of(cls).items()}
    return create_model(cls.__name__, __config__=ConfigDict(title=cls.__name__), __doc__=cls.__doc__, **shape)


def _documented(hint: Any) -> Any:
    if is_json(hint):
        return Any
    if dataclasses.is_dataclass(hint):
        return schema_of(hint, whole=False)  # type: ignore[arg-type]
    origin, inner = get_origin(hint), get_args(hint)
    if origin is dict:
        return dict[str, _documented(inner[1])]  # type: ignore[misc]
    if origin is tuple:
        return list[_documented(inner[0])]  # type: ignore[misc]
    if origin in (Union, types.UnionType):
        return Union[tuple(_documented(option) for option in inner)]  # noqa: UP007 - options are computed
    return hint
