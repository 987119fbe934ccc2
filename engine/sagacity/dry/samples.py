"""A small value of a declared type, for what nobody scripted: the least that the type allows.

For answers that nobody mocks, one that differs from call to call and is the same for the same seed.
"""

from typing import Any

from pydantic import TypeAdapter, ValidationError

from sagacity.definition.flow import Await
from sagacity.errors import InputError
from sagacity.model.canonical import Json, canonical
from sagacity.model.record import WaitsFor
from sagacity.testing.chance import decided

_TEXTS = {
    "date-time": "2026-01-01T00:00:00Z",
    "date": "2026-01-01",
    "time": "00:00:00Z",
    "uuid": "00000000-0000-7000-8000-000000000000",
    "duration": "PT1S",
    "uri": "https://example.com/",
    "email": "somebody@example.com",
}
_YES: tuple[Any, ...] = ({"approved": True}, True, None)


def sample_of(awaited: Await) -> Json:
    """What a signal or an approval may carry; an approval says yes.

    Raises:
        InputError: nothing simple fits its type: the script must say what it carries.
    """
    made: Any = None
    try:
        made = _value(awaited.data.json_schema(), {})
    except (KeyError, TypeError, ValueError):
        made = None
    if awaited.kind is WaitsFor.APPROVAL:
        approved = {**made, "approved": True} if isinstance(made, dict) else True
        candidates = (approved, *_YES)
    else:
        candidates = (made, None, {})
    for candidate in candidates:
        if _fits(awaited.data, candidate):
            return canonical(candidate)
    raise InputError(f"{awaited.name}: no simple value fits what it carries: say in the script what comes")


def generated(adapter: TypeAdapter[Any], seed: int, *call: str) -> Json | None:
    """An answer of this type, as JSON; the same for the same seed and call. None: none was found that fits.

    Args:
        adapter: of the declared type.
        seed: the run's.
        call: whose answer it is.
    """
    try:
        schema = adapter.json_schema(mode="validation")
        least = _value(schema, {})
    except (KeyError, TypeError, ValueError):
        return canonical(None) if _fits(adapter, None) else None
    drawn = decided("generated", seed, *call)
    by = (100, 5, 0)
    for candidate in (*(_varied(least, drawn, most) for most in by), least):
        if _fits(adapter, candidate):
            return canonical(candidate)
    return None


def _varied(value: Any, drawn: float, most: int) -> Any:
    """`value` with its free texts and numbers made the call's own; numbers by less than `most`."""
    if isinstance(value, dict):
        return {name: _varied(held, drawn, most) for name, held in value.items()}
    if value == "x":
        return f"x{int(drawn * 2**32):08x}"
    if isinstance(value, int) and not isinstance(value, bool):
        return value + int(drawn * most)
    return value


def _fits(adapter: TypeAdapter[Any], value: Any) -> bool:
    try:
        adapter.validate_json(canonical(value))
    except ValidationError:
        return False
    return True


def _value(schema: Any, known: dict[str, Any]) -> Any:
    """The least value of a JSON schema."""
    known = {**known, **schema.get("$defs", {})}
    if "$ref" in schema:
        return _value(known[schema["$ref"].rpartition("/")[2]], known)
    for name in ("default", "const"):
        if name in schema:
            return schema[name]
    if "enum" in schema:
        return schema["enum"][0]
    for name in ("anyOf", "oneOf", "allOf"):
        if name in schema:
            return _value(schema[name][0], known)
    return _typed(schema, known)


def _typed(schema: Any, known: dict[str, Any]) -> Any:
    match schema.get("type"):
        case "object":
            wanted = schema.get("required", ())
            return {name: _value(schema["properties"][name], known) for name in wanted}
        case "array":
            return [_value(schema["items"], known)] * schema.get("minItems", 0)
        case "integer" | "number":
            return _number(schema)
        case "boolean":
            return True
        case "string":
            return _TEXTS.get(schema.get("format", ""), "x" * max(1, schema.get("minLength", 1)))
        case _:
            return None


def _number(schema: Any) -> Any:
    low = schema.get("minimum", schema.get("exclusiveMinimum", 0))
    return low + 1 if "exclusiveMinimum" in schema and "minimum" not in schema else low
