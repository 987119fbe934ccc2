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

from sagacity.errors import PayloadTooLarge
from sagacity.model.canonical import MAX_PAYLOAD, parsed

_M = TypeVar("_M", bound="Body")
_Key = Annotated[str, Field(min_length=1, max_length=500)]
_Name = Annotated[str, Field(min_length=1, max_length=200)]
_Reason = Annotated[str, Field(min_length=1, max_length=2_000)]
_Actor = Annotated[str | None, Field(max_length=200)]


class Body(BaseModel):
    """A JSON object; a field that is not declared is refused."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)


class StartBody(Body):
    """Start one saga."""

    definition: _Name = Field(description="name of the flow")
    input: dict[str, Any]
    key: _Key | None = Field(default=None, description="business key; default: what the flow declares")
    ignore_unknown: bool = Field(default=False, description="leave out fields that the flow does not know")
    actor: _Actor = None


class SignalBody(Body):
    """Tell one saga that something happened."""

    name: _Name = Field(description="the signal, or the approval")
    data: Any = None
    id: UUID | None = Field(default=None, description="sent twice, it counts once")
    actor: _Actor = None


class AddressedSignalBody(SignalBody):
    """A signal that names its saga itself, as a web hook does: by id, or by flow and key."""

    saga: UUID | None = None
    definition: _Name | None = None
    key: _Key | None = None

    @model_validator(mode="after")
    def _one_address(self) -> "AddressedSignalBody":
        if (self.saga is None) == (self.key is None):
            raise ValueError("give either `saga`, or `key` (with `definition`)")
        return self


class CancelBody(Body):
    """Ask a saga to go back."""

    reason: _Reason
    actor: _Actor = None


class RetryBody(Body):
    """Send a saga on."""

    reason: _Reason | None = None
    actor: _Actor = None


class RollbackBody(Body):
    """Roll a committed saga back."""

    reason: _Reason
    accept_remaining: bool = Field(
        default=False, description="undo what can be undone, leave the rest standing"
    )
    actor: _Actor = None


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


def documented(shape: type[Body]) -> dict[str, Any]:
    """What OpenAPI says of a body that is read by hand."""
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": shape.model_json_schema()}},
        }
    }
