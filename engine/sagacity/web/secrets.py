"""What is marked secret is not shown: neither where it stands, nor where it turned up in words.

A value that a field declares secret is looked for in everything that is shown of its saga, because an error
or an effect repeats what it was given. What stands in the marked field itself is hidden whatever it is;
elsewhere values of fewer than four characters are left alone, for they are found everywhere.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Annotated, Any, TypeVar, get_args, get_origin

import orjson
from pydantic import AliasChoices, BaseModel
from pydantic.fields import FieldInfo

from sagacity.cli import shapes
from sagacity.definition.flow import Flow
from sagacity.model.canonical import JsonText

HIDDEN = "•••"
_SHORTEST = 4
_V = TypeVar("_V")


def _marked(extra: Any) -> bool:
    return isinstance(extra, dict) and extra.get("secret") is True


@cache
def holds_secrets(hint: Any) -> bool:
    """Whether a value of this type can have a marked field somewhere in it."""
    return _holds(hint, frozenset())


def _holds(hint: Any, seen: frozenset[Any]) -> bool:
    if get_origin(hint) is Annotated:
        marks = (one for one in get_args(hint)[1:] if isinstance(one, FieldInfo))
        return any(_marked(one.json_schema_extra) for one in marks) or _holds(get_args(hint)[0], seen)
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return hint not in seen and any(
            _marked(field.json_schema_extra) or _holds(field.annotation, seen | {hint})
            for field in hint.model_fields.values()
        )
    return any(_holds(one, seen) for one in get_args(hint) if one is not hint)


def found(hint: Any, value: Any) -> Iterator[Any]:
    """The values of `value`'s marked fields."""
    if value is None or not holds_secrets(hint):
        return
    if get_origin(hint) is Annotated:
        marked = any(
            _marked(one.json_schema_extra) for one in get_args(hint)[1:] if isinstance(one, FieldInfo)
        )
        yield from leaves_of(value) if marked else found(get_args(hint)[0], value)
    elif isinstance(hint, type) and issubclass(hint, BaseModel):
        fields = _fields(hint)
        for name, inner in value.items() if isinstance(value, dict) else ():
            field = fields.get(name)
            marked = field is None or _marked(field.json_schema_extra)
            yield from leaves_of(inner) if marked or field is None else found(field.annotation, inner)
    else:
        for inner_hint, inner in _inside(hint, value):
            yield from found(inner_hint, inner)


def _inside(hint: Any, value: Any) -> Iterator[tuple[Any, Any]]:
    """The parts of a container, each with every type that it may have."""
    options = [one for one in get_args(hint) if holds_secrets(one)]
    container = get_origin(hint) in (list, tuple, set, frozenset, dict) or (
        isinstance(get_origin(hint), type) and issubclass(get_origin(hint), (Mapping, Iterable))
    )
    parts = [value]
    if container:
        parts = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    for part in parts:
        for option in options:
            yield option, part


def leaves_of(value: Any) -> Iterator[Any]:
    """Every single value in it."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from leaves_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves_of(inner)
    elif value is not None:
        yield value


def covered(hint: Any, value: Any) -> Any:
    """`value` with every marked field hidden, whatever stands in it."""
    if value is None or not holds_secrets(hint):
        return value
    if get_origin(hint) is Annotated:
        marks = (one for one in get_args(hint)[1:] if isinstance(one, FieldInfo))
        return (
            HIDDEN if any(_marked(m.json_schema_extra) for m in marks) else covered(get_args(hint)[0], value)
        )
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        if not isinstance(value, dict):
            return value
        fields = _fields(hint)
        return {name: _covered_field(fields.get(name), inner) for name, inner in value.items()}
    for option in get_args(hint):
        if holds_secrets(option):
            value = _covered_parts(hint, option, value)
    return value


def _covered_field(field: FieldInfo | None, value: Any) -> Any:
    if value is None:
        return None
    # What the model does not know stands beside what is secret: it may be that, misspelt.
    hidden = field is None or _marked(field.json_schema_extra)
    return HIDDEN if hidden or field is None else covered(field.annotation, value)


@cache
def _fields(model: type[BaseModel]) -> Mapping[str, FieldInfo]:
    """Its fields by every name that they may have in JSON."""
    known = dict(model.model_fields)
    for field in model.model_fields.values():
        for alias in (field.alias, field.validation_alias, field.serialization_alias):
            names = alias.choices if isinstance(alias, AliasChoices) else [alias]
            known |= {name: field for name in names if isinstance(name, str)}
    return known


def _covered_parts(hint: Any, option: Any, value: Any) -> Any:
    container = get_origin(hint) in (list, tuple, set, frozenset, dict)
    if container and isinstance(value, list):
        return [covered(option, one) for one in value]
    if container and isinstance(value, dict):
        return {name: covered(option, one) for name, one in value.items()}
    return covered(option, value)


class Mask:
    """What to hide of one saga.

    Attributes:
        texts: it, the longest first.
    """

    def __init__(self, values: Iterable[Any]) -> None:
        texts = {value if isinstance(value, str) else orjson.dumps(value).decode() for value in values}
        # The longest first, so that no part of one stays behind for a shorter one in it.
        self.texts = sorted((text for text in texts if len(text) >= _SHORTEST), key=len, reverse=True)

    def text(self, text: str) -> str:
        """`text` without what is secret."""
        for secret in self.texts:
            text = text.replace(secret, HIDDEN)
        return text

    def value(self, value: Any) -> Any:
        """A JSON value without what is secret; all else exactly as it was."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(name): self.value(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [self.value(inner) for inner in value]
        if value is not None and not isinstance(value, bool) and str(value) in self.texts:
            return HIDDEN
        return value

    def json(self, text: JsonText) -> JsonText:
        """Stored JSON without what is secret."""
        return written(self.value(orjson.loads(text))) if self.texts else text

    def view(self, view: _V) -> _V:
        """A view without what is secret: every text and every stored JSON in it, at any depth."""
        shown: _V = self._part(view, None) if self.texts else view
        return shown

    def _part(self, part: Any, hint: Any) -> Any:
        if part is None:
            return None
        if hint is not None and shapes.is_json(hint):
            return self.json(part)
        if dataclasses.is_dataclass(part) and not isinstance(part, type):
            hints = shapes.hints_of(type(part))
            changed = {name: self._part(getattr(part, name), hints[name]) for name in hints}
            return dataclasses.replace(part, **changed)
        if type(part) is str:
            return self.text(part)
        if isinstance(part, tuple):
            return tuple(self._part(one, None) for one in part)
        if isinstance(part, dict):
            inner = get_args(hint)[1] if get_args(hint)[1:] else None
            return {name: self._part(one, inner) for name, one in part.items()}
        return part


NOTHING = Mask(())


def written(value: Any) -> JsonText:
    """`value` as canonical text; what it was read from is exact, so this is."""
    return JsonText(orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode())


def any_secret(flow: Flow) -> bool:
    """Whether anything that a saga of this flow keeps can be marked."""
    results = (one.result_type for one in flow.steps.values())
    data = (one.data_type for one in flow.awaits.values())
    return any(holds_secrets(hint) for hint in (flow.input, *results, *data))


def hint_of(flow: Flow, name: str) -> Any:
    """The type of what step or wait `name` left."""
    if name in flow.steps:
        return flow.steps[name].result_type
    return flow.awaits[name].data_type if name in flow.awaits else None


def secrets_of(flow: Flow, input: JsonText, results: Mapping[str, JsonText]) -> list[Any]:
    """Every secret value that a saga keeps."""
    values = list(found(flow.input, orjson.loads(input)))
    for name, result in results.items():
        hint = hint_of(flow, name)
        if hint is not None and holds_secrets(hint):
            values += found(hint, orjson.loads(result))
    return values
