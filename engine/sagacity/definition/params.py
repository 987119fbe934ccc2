"""What a user's function wants, read from its annotations.

A parameter's type says what is given: the saga's input, an external, the result of an earlier
step. Nothing is passed by position or by a magic name, so a flow reads like plain Python and a
wrong wish is a fault of the class, not of a run.
"""

import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from sagacity.model.record import Lane

Blame = Callable[[str, str, str], None]
"""Takes the name at fault, what is wrong, and the fix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a step may know of its own execution.

    Attributes:
        saga: the saga's id.
        key: the saga's business key.
        step: the step's name.
        attempt: which try of this step, from 1.
        lane: live or dry.
    """

    saga: UUID
    key: str
    step: str
    attempt: int
    lane: Lane = Lane.LIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """One parameter: its name, its type without `| None`, and whether None is an answer."""

    name: str
    type: Any
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """All parameters of a function after `self`, and what it returns (None: nothing)."""

    params: tuple[Wish, ...]
    returns: Any


def wishes_of(
    function: Callable[..., Any], namespace: Mapping[str, Any], blame: Blame, *, returns: bool = False
) -> Wishes:
    """What `function` takes.

    Args:
        function: a method; its first parameter is the object it belongs to.
        namespace: names of the class body it stands in, for annotations such as `Input`.
        blame: told of each annotation that is missing or cannot be resolved.
        returns: resolve the return annotation too; a missing one means None.
    """
    found: list[Wish] = []
    parameters = list(inspect.signature(function).parameters.values())
    if isinstance(inspect.getattr_static(function, "__func__", function), staticmethod) or not parameters:
        blame(function.__name__, "it is not a method.", f"Write `def {function.__name__}(self, …)`.")
    for parameter in parameters[1:]:
        label = f"{function.__name__}({parameter.name})"
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            blame(label, "what it takes cannot be told.", "Name each parameter and annotate it.")
        elif parameter.annotation is parameter.empty:
            blame(label, "it has no annotation.", f"Write `{parameter.name}: SomeType`.")
        else:
            type_ = resolved(parameter.annotation, function, namespace, label, blame)
            if type_ is not UNRESOLVED:
                bare, optional = without_none(type_)
                found.append(Wish(name=parameter.name, type=bare, optional=optional))
    answer = inspect.signature(function).return_annotation
    if not returns or answer in (inspect.Signature.empty, None, "None"):
        return Wishes(params=tuple(found), returns=None)
    type_ = resolved(answer, function, namespace, f"{function.__name__} → result", blame)
    return Wishes(params=tuple(found), returns=None if type_ in (UNRESOLVED, type(None)) else type_)


UNRESOLVED: Any = object()
"""Stands for an annotation that could not be resolved."""


def resolved(
    annotation: Any, function: Callable[..., Any], namespace: Mapping[str, Any], label: str, blame: Blame
) -> Any:
    """The type that `annotation` means where `function` is written, or `UNRESOLVED` after blaming."""
    if not isinstance(annotation, str):
        return annotation
    holder = types.SimpleNamespace(__annotations__={"it": annotation})
    scope = inspect.unwrap(function).__globals__
    try:
        return typing.get_type_hints(holder, globalns=scope, localns=dict(namespace), include_extras=True)[
            "it"
        ]
    except Exception as error:
        blame(
            label,
            f"its annotation `{annotation}` cannot be resolved ({error}).",
            "Import the type at the top of the module, not only under TYPE_CHECKING or inside a function.",
        )
        return UNRESOLVED


def without_none(type_: Any) -> tuple[Any, bool]:
    """`X | None` as (`X`, True); anything else as it is, with False."""
    if typing.get_origin(type_) not in (typing.Union, types.UnionType):
        return type_, False
    rest = tuple(arm for arm in typing.get_args(type_) if arm is not type(None))
    if len(rest) == len(typing.get_args(type_)):
        return type_, False
    return (rest[0] if len(rest) == 1 else typing.Union[rest]), True  # noqa: UP007


def is_record(type_: Any) -> bool:
    """Whether a value can be asked for by this type: a pydantic model or a dataclass."""
    return isinstance(type_, type) and (issubclass(type_, BaseModel) or dataclasses.is_dataclass(type_))


def type_name(type_: Any) -> str:
    """A type as a user writes it."""
    return getattr(type_, "__name__", None) or str(type_)
