"""Request bodies: their shapes, and how they are read without changing a digit.

The framework's own reader turns numbers into floats. Here the bytes are counted while they
come, parsed with exact numbers, and only then validated.
"""

from typing import Annotated, Any, TypeVar
from uuid import UUID

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from starlette.exceptions import HTTPException

from sagacity.errors import InputError, PayloadTooLarge
from sagacity.model.canonical import MAX_PAYLOAD, parsed

_M = TypeVar("_M", bound="Body")
_Key = Annotated[str, Field(min_length=1, max_length=500)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Reason = Annotated[str, Field(min_length=1, max_length=2_000)]
_Actor = Annotated[str | None, Field(max_length=200)]


class Body(BaseModel):
    """A JSON object; a field that is not declared is refused."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)


class StartBody(Body):
    """Start one saga."""

    definition: Name = Field(description="name of the flow")
    input: dict[str, Any]
    key: _Key | None = Field(default=None, description="business key; default: what the flow declares")
    ignore_unknown: bool = Field(default=False, description="leave out fields that the flow does not know")
    actor: _Actor = None


class SignalBody(Body):
    """Tell one saga that something happened."""

    name: Name = Field(description="the signal, or the approval")
    data: Any = None
    id: UUID | None = Field(default=None, description="sent twice, it counts once")
    actor: _Actor = None


class AddressedSignalBody(SignalBody):
    """A signal that names its saga itself, as a web hook does: by id, or by flow and key."""

    saga: UUID | None = None
    definition: Name | None = None
    key: _Key | None = None

    @model_validator(mode="after")
    def _one_address(self) -> "AddressedSignalBody":
        if (self.saga is None) == (self.key is None):
            raise ValueError("give either `saga`, or `key` (with `definition`)")
        return self


class ActBody(Body):
    """An act on one saga; what its tier asks for beside a reason may be given along."""

    reason: Reason | None = None
    ticket: Annotated[str, Field(max_length=200)] | None = None
    confirm: Annotated[str, Field(max_length=500)] | None = Field(
        default=None, description="tier 3: the business key"
    )
    break_glass: bool = Field(default=False, description="tier 3: without the second person; it is told")
    actor: _Actor = None


class CancelBody(ActBody):
    """Ask a saga to go back."""

    reason: Reason


class RetryBody(ActBody):
    """Send a saga on."""


class RollbackBody(ActBody):
    """Roll a committed saga back."""

    reason: Reason
    accept_remaining: bool = Field(
        default=False, description="undo what can be undone, leave the rest standing"
    )


async def read(request: Request, shape: type[_M]) -> _M:
    """The body of `request` as `shape`, numbers exact.

    Raises:
        PayloadTooLarge: over 256 KiB. InputError: not JSON. RequestValidationError: another shape.
        HTTPException: 415, it does not say that it is JSON (so no web page can send it unasked).
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HTTPException(415, f"the body is {kind or 'of no named type'}: send application/json")
    value = parsed(await _bytes(request) or b"null")
    if not isinstance(value, dict):
        fault = {"type": "dict_type", "loc": (), "msg": "the body is not a JSON object", "input": None}
        raise RequestValidationError([fault])
    try:
        return shape.model_validate(value)
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_url=False, include_context=False)) from None


async def _bytes(request: Request) -> bytes:
    found = bytearray()
    async for chunk in request.stream():
        found += chunk
        if len(found) > MAX_PAYLOAD:
            raise PayloadTooLarge(len(found), MAX_PAYLOAD)
    return bytes(found)


def documented(shape: type[Body], *, idempotent: bool = False) -> dict[str, Any]:
    """What OpenAPI says of a body that is read by hand; `idempotent`: the call takes an `Idempotency-Key`."""
    said: dict[str, Any] = {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _whole(shape)}},
        }
    }
    if idempotent:
        text = {"type": "string", "minLength": 1, "maxLength": KEY_UPTO}
        said["parameters"] = [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "description": "sent again by the same caller, the call gives what it gave before",
                "schema": text,
            }
        ]
    return said


def _whole(shape: type[Body]) -> dict[str, Any]:
    """A body's schema with its parts in place: a reference from here would lead nowhere."""
    schema = shape.model_json_schema()
    parts = schema.pop("$defs", {})

    def placed(value: Any) -> Any:
        if isinstance(value, dict):
            name = str(value.get("$ref", "")).removeprefix("#/$defs/")
            more = {key: placed(one) for key, one in value.items() if key != "$ref"}
            return placed(parts[name]) | more if name in parts else {**value, **more}
        return [placed(one) for one in value] if isinstance(value, list) else value

    found: dict[str, Any] = placed(schema)
    return found


KEY_UPTO = 200
"""Characters of an `Idempotency-Key`."""


def key_of(request: Request) -> str | None:
    """The call's `Idempotency-Key`, if it has one.

    Raises:
        InputError: it is empty or too long.
    """
    key = request.headers.get("idempotency-key")
    if key is not None and not 1 <= len(key) <= KEY_UPTO:
        raise InputError(f"Idempotency-Key must have 1 to {KEY_UPTO} characters")
    return key
