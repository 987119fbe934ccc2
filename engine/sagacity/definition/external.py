"""Outside services as classes: the only door through which a step may reach the world.

Which methods change the world (`@effect`) and which only ask (`@read`) is declared, not
guessed: the engine writes an intent before an effect and nothing before a read. Every
external brings its mock, so each flow can be rehearsed without touching anything.
"""

import inspect
import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Concatenate, Self, TypeVar, overload

from sagacity.definition.registry import REGISTRY, place_of
from sagacity.errors import DefinitionError, Fault

_S = TypeVar("_S")
_R = TypeVar("_R")
_Given = Callable[Concatenate[_S, ...], Coroutine[Any, Any, _R]]
_MARK = "__sagacity_call__"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalSettings:
    """What an external is made with.

    Attributes:
        name: the external's name, e.g. `payments`.
        url: its address, from `SAGACITY_<NAME>_URL`; None where none was set.
    """

    name: str
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Landed:
    """A probe's answer: the effect happened; `answer` is what it returned, as JSON values or as its type."""

    answer: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotLanded:
    """A probe's answer: the effect did not happen, and will not by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One declared method of an external.

    Attributes:
        kind: effect or read.
        inverse: for an effect, the name of the effect that takes it back.
        safe_on_nothing: as an inverse, it may run although the effect may never have happened.
        takes_key: it wants the idempotency key as `key`.
        takes_undoes: as an inverse, it wants the key of what it takes back as `undoes`.
        safe: as a read, a dry run may make it for real where it is asked to.
    """

    name: str
    kind: str
    inverse: str | None = None
    safe_on_nothing: bool = False
    takes_key: bool = False
    takes_undoes: bool = False
    safe: bool = False


@overload
def effect(function: _Given[_S, _R], /) -> _Given[_S, _R]: ...
@overload
def effect(
    *, inverse: str | None = None, safe_on_nothing: bool = False
) -> Callable[[_Given[_S, _R]], _Given[_S, _R]]: ...
def effect(function: Any = None, /, *, inverse: str | None = None, safe_on_nothing: bool = False) -> Any:
    """A method that changes the world outside; one step makes at most one such call.

    Args:
        function: an async method. With a parameter `key` it gets the idempotency key, the same on
            every attempt; with `undoes`, as an inverse, the key of what it takes back.
        inverse: name of the effect that takes this one back.
        safe_on_nothing: as an inverse, it may be called although the effect may never have happened.
    """

    def marked(function: Any) -> Any:
        wanted = inspect.signature(function).parameters
        call = Call(
            name=function.__name__,
            kind="effect",
            inverse=inverse,
            safe_on_nothing=safe_on_nothing,
            takes_key="key" in wanted,
            takes_undoes="undoes" in wanted,
        )
        setattr(function, _MARK, call)
        return function

    return marked if function is None else marked(function)


@overload
def read(function: _Given[_S, _R], /) -> _Given[_S, _R]: ...
@overload
def read(*, safe: bool = False) -> Callable[[_Given[_S, _R]], _Given[_S, _R]]: ...
def read(function: Any = None, /, *, safe: bool = False) -> Any:
    """A method that only asks the world; a step may call any number of them.

    Args:
        function: an async method.
        safe: asking costs and changes nothing, so a dry run may ask for real (`--real-reads`).
    """

    def marked(function: Any) -> Any:
        setattr(function, _MARK, Call(name=function.__name__, kind="read", safe=safe))
        return function

    return marked if function is None else marked(function)


def call_of(function: Any) -> Call | None:
    """What `@effect` or `@read` said of `function`; None for anything else."""
    found = getattr(function, _MARK, None)
    return found if isinstance(found, Call) else None


class External:
    """An outside service. Subclasses declare effects and reads, and a `Mock` that answers in their place.

    Made once per process by `connect`, closed when the process stops.

    Attributes:
        name: snake case of the class, unless it says `name=…`; gives `SAGACITY_<NAME>_URL` its name.
        effects: declared effects by name.
        reads: declared reads by name.
        has_probe: it can tell whether an effect landed.
        record: its real answers may answer in dry runs (`--recorded`).
        secrets: fields of those answers that are blotted out then.
    """

    name: ClassVar[str] = ""
    effects: ClassVar[Mapping[str, Call]] = {}
    reads: ClassVar[Mapping[str, Call]] = {}
    has_probe: ClassVar[bool] = False
    record: ClassVar[bool] = False
    secrets: ClassVar[tuple[str, ...]] = ()
    Mock: ClassVar[Any] = None

    def __init_subclass__(
        cls,
        *,
        name: str | None = None,
        record: bool | None = None,
        secrets: Sequence[str] | None = None,
        **options: Any,
    ) -> None:
        super().__init_subclass__(**options)
        cls.name = name or snake_case(cls.__name__)
        cls.record = cls.record if record is None else record
        cls.secrets = cls.secrets if secrets is None else tuple(secrets)
        calls = {
            attribute: call
            for attribute in dir(cls)
            if (call := call_of(inspect.getattr_static(cls, attribute))) is not None
        }
        cls.effects = {n: call for n, call in calls.items() if call.kind == "effect"}
        cls.reads = {n: call for n, call in calls.items() if call.kind == "read"}
        cls.has_probe = cls.probe is not External.probe
        faults = list(_faults(cls, calls))
        if faults:
            raise DefinitionError(faults)
        REGISTRY.add("externals", cls.name, cls)

    @classmethod
    async def connect(cls, settings: ExternalSettings) -> Self:
        """Make the one instance of this process; override to open connections."""
        del settings
        return cls()

    async def close(self) -> None:
        """Free what `connect` opened; called once, when the process stops."""

    async def probe(self, key: str) -> Landed | NotLanded | None:
        """Whether the effect with `key` landed; None where it cannot tell. Override it if the service can."""
        del key
        return None


def snake_case(name: str) -> str:
    """`PaymentProvider` → `payment_provider`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def _faults(cls: type[External], calls: Mapping[str, Call]) -> list[Fault]:
    where = place_of(cls)
    faults: list[Fault] = []

    def blame(name: str, what: str, fix: str) -> None:
        faults.append(Fault(where=where, name=name, what=what, fix=fix))

    for name, call in calls.items():
        if not inspect.iscoroutinefunction(getattr(cls, name)):
            blame(name, f"an {call.kind} must be async.", f"Write `async def {name}(…)`.")
        _check_inverse(cls, call, blame)
    mock = cls.__dict__.get("Mock", cls.Mock)
    missing = [name for name in calls if not callable(getattr(mock, name, None))]
    if missing and mock is None:
        blame(cls.__name__, "it has no mock.", f"Declare `class Mock:` in it, with {_listed(missing)}.")
    elif missing:
        blame("Mock", f"it lacks {_listed(missing)}.", "Give the mock a method for every effect and read.")
    return faults


def _check_inverse(cls: type[External], call: Call, blame: Callable[[str, str, str], None]) -> None:
    if call.inverse is not None and call.inverse not in cls.effects:
        known = _listed(sorted(set(cls.effects) - {call.name})) or "no other effect"
        blame(
            call.name,
            f"its inverse {call.inverse!r} is not an effect of {cls.__name__}.",
            f"Declare `@effect async def {call.inverse}(…)`, or name one that exists ({known}).",
        )
    if call.safe_on_nothing and not (call.takes_undoes or call.takes_key):
        blame(
            call.name,
            "it says that it is safe on nothing, and cannot know what it takes back when there is no result.",
            "Let it take `undoes: str`, the key of the effect that it takes back.",
        )


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
