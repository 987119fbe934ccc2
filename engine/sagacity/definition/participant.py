"""Participants: the objects that sagas lock, and the named operations that change them.

An operation is pure, so it can be staged as a name with arguments, played on an overlay, played
again at commit, and read in the log years later. Of an engine-owned object the operation returns
the new state; of a row in the user's own table it returns the statement to run.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, create_model

from sagacity.definition.facts import brief
from sagacity.definition.params import Wishes, wishes_of
from sagacity.definition.registry import REGISTRY, place_of
from sagacity.errors import DefinitionError, Fault, InputError, NotFound
from sagacity.model.canonical import NULL, Json, canonical
from sagacity.model.record import Staged

_F = TypeVar("_F", bound=Callable[..., Any])
_MARK = "__sagacity_operation__"
Registry = Mapping[str, "type[Participant]"]
"""Participants by type name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A named change of a participant.

    Attributes:
        function: the plain function; takes the participant, its state (or the row's id), the arguments.
        arguments: pydantic model of the arguments.
        inverse: name of the operation that takes it back with the same arguments.
        id: adapter of the row's id, where the participant is a row of the user's own table.
    """

    name: str
    function: Callable[..., Any]
    arguments: type[BaseModel]
    inverse: str | None
    id: TypeAdapter[Any] | None


def operation(*, inverse: str | None = None) -> Callable[[_F], _F]:
    """A method that is a named change: pure, and the unit that is staged and logged.

    Args:
        inverse: name of the operation that takes this one back when given the same arguments.
    """

    def marked(function: _F) -> _F:
        setattr(function, _MARK, (inverse,))
        return function

    return marked


class Participant:
    """An object that sagas lock and change: `class Account(Participant, type="account")`.

    With a nested `State` model the engine keeps its state, versioned; every field needs a default, which
    is the state of an object never seen before. With `table=` it is a row of the user's own table.

    Attributes:
        type: the word before the colon in `account:7`.
        table: the user's own SQLAlchemy table, or None.
        key: the column that identifies a row.
        guarded: on PostgreSQL, a trigger refuses writes to a locked row by anybody but its saga.
        operations: its operations by name.
    """

    type: ClassVar[str] = ""
    table: ClassVar[Any] = None
    key: ClassVar[str | None] = None
    guarded: ClassVar[bool] = False
    operations: ClassVar[Mapping[str, Operation]] = {}
    State: ClassVar[Any] = None

    def __init_subclass__(
        cls,
        *,
        type: str | None = None,
        table: Any = None,
        key: str | None = None,
        guarded: bool = False,
        **options: Any,
    ) -> None:
        super().__init_subclass__(**options)
        faults: list[Fault] = []

        def blame(name: str, what: str, fix: str) -> None:
            faults.append(Fault(where=place_of(cls), name=name, what=what, fix=fix))

        cls.type, cls.table, cls.key, cls.guarded = type or "", table, key, guarded
        _check_kind(cls, blame)
        cls.operations = _operations(cls, blame)
        if faults:
            raise DefinitionError(faults)
        REGISTRY.add("participants", cls.type, cls)


Blame = Callable[[str, str, str], None]


def _check_kind(cls: type[Participant], blame: Blame) -> None:
    name = cls.__name__
    if not cls.type or ":" in cls.type:
        blame(name, "it has no type, or one with a colon.", f'Write `class {name}(Participant, type="…")`.')
    if cls.table is None:
        if cls.guarded or cls.key is not None:
            blame(name, "`key` and `guarded` go with a table of yours.", "Give `table=` too, or drop them.")
        _check_state(cls, blame)
        return
    if cls.State is not None:
        blame(
            "State", "a row of your own table has no state kept by the engine.", "Drop `State`, or `table=`."
        )
    columns = getattr(cls.table, "columns", None)
    if cls.key is None or (columns is not None and cls.key not in columns):
        blame(name, f"key={cls.key!r} is no column of its table.", 'Name the identifying column: `key="id"`.')


def _check_state(cls: type[Participant], blame: Blame) -> None:
    state = cls.State
    if not (isinstance(state, type) and issubclass(state, BaseModel)):
        blame(
            cls.__name__,
            "it has neither a `State` model nor a table.",
            "Declare `class State(BaseModel)` in it.",
        )
        return
    bare = sorted(name for name, field in state.model_fields.items() if field.is_required())
    if bare:
        blame(
            "State",
            f"no default for {', '.join(bare)}: the state of an object never seen before is unknown.",
            "Give every field a default.",
        )


def _operations(cls: type[Participant], blame: Blame) -> dict[str, Operation]:
    found: dict[str, Operation] = {}
    for name in dir(cls):
        function = inspect.getattr_static(cls, name)
        mark = getattr(function, _MARK, None)
        if mark is not None:
            found[name] = _operation(cls, name, function, mark[0], blame)
    for name, one in found.items():
        inverse = found.get(one.inverse) if one.inverse else None
        if one.inverse and inverse is None:
            blame(name, f"its inverse {one.inverse!r} is no operation.", f"Declare `def {one.inverse}(…)`.")
        elif inverse and set(inverse.arguments.model_fields) != set(one.arguments.model_fields):
            blame(
                name,
                f"its inverse {one.inverse!r} takes other arguments.",
                "Let both take the same arguments.",
            )
    return found


def _operation(
    cls: type[Participant], name: str, function: Any, inverse: str | None, blame: Blame
) -> Operation:
    if inspect.iscoroutinefunction(function):
        blame(name, "an operation must be a plain function: it is pure.", f"Write `def {name}(…)`.")
    wishes = wishes_of(function, dict(vars(cls)), blame)
    first = wishes.params[0] if wishes.params else None
    own = cls.table is not None
    if first is None or (not own and first.type is not cls.State):
        blame(
            name,
            "it does not take the row's id first." if own else "it does not take the state first.",
            f"Write `def {name}(self, id: str, …)`."
            if own
            else f"Write `def {name}(self, state: State, …)`.",
        )
    return Operation(
        name=name,
        function=function,
        arguments=_arguments(name, function, wishes),
        inverse=inverse,
        id=TypeAdapter(first.type) if own and first is not None else None,
    )


def _arguments(name: str, function: Any, wishes: Wishes) -> type[BaseModel]:
    defaults = {n: p.default for n, p in inspect.signature(function).parameters.items()}
    fields: dict[str, Any] = {}
    for wish in wishes.params[1:]:
        default = ... if defaults[wish.name] is inspect.Parameter.empty else defaults[wish.name]
        fields[wish.name] = (wish.type | None if wish.optional else wish.type, default)
    return create_model(name, __config__=ConfigDict(extra="forbid"), **fields)


def operation_of(registry: Registry, staged: Staged) -> Operation:
    """The operation that `staged` names.

    Raises:
        NotFound: this process knows no such participant or operation.
    """
    cls = participant_of(registry, staged.object)
    found = cls.operations.get(staged.operation)
    if found is None:
        known = ", ".join(sorted(cls.operations)) or "none"
        raise NotFound(f"participant {cls.type!r} has no operation {staged.operation!r}; it has: {known}")
    return found


def participant_of(registry: Registry, object: str) -> type[Participant]:
    """The class of `type:id`.

    Raises:
        NotFound: no participant of that type is declared.
    """
    type_ = object.partition(":")[0]
    try:
        return registry[type_]
    except KeyError:
        known = ", ".join(sorted(registry)) or "none"
        raise NotFound(
            f"no participant of type {type_!r} is declared (known: {known}): "
            f'write `class …(Participant, type="{type_}")` in a module that is loaded'
        ) from None


def is_own_table(registry: Registry, object: str) -> bool:
    """Whether `object` is a row of the user's own table."""
    return participant_of(registry, object).table is not None


def arguments_of(one: Operation, args: Sequence[Any], named: Mapping[str, Any]) -> Json:
    """Arguments as canonical JSON.

    Raises:
        InputError: they do not fit the operation.
    """
    names = list(one.arguments.model_fields)
    if len(args) > len(names):
        raise InputError(f"{one.name} takes {len(names)} arguments, not {len(args)}")
    given = {**dict(zip(names, args, strict=False)), **named}
    try:
        return canonical(one.arguments.model_validate(given))
    except ValidationError as error:
        raise InputError(f"{one.name}: {brief(error)}") from None


def state_of(cls: type[Participant], state: Json) -> Any:
    """The state model of an engine-owned object; JSON null is one never seen before."""
    return cls.State() if state == NULL else cls.State.model_validate_json(state)


def played_once(cls: type[Participant], one: Operation, state: Any, args: Json) -> Any:
    """The state after one operation; `state` itself is left alone.

    Raises:
        Refused: the operation does not allow it.
        InputError: the operation returned no state.
    """
    given = one.arguments.model_validate_json(args)
    values = {name: getattr(given, name) for name in one.arguments.model_fields}
    after = one.function(cls(), state.model_copy(deep=True), **values)
    if not isinstance(after, cls.State):
        raise InputError(f"{cls.type}.{one.name} returned {after!r}: return the new `State`")
    return after


def played(registry: Registry, object: str, state: Json, operations: Sequence[Staged]) -> Json:
    """The state of an engine-owned object after `operations`.

    Args:
        registry: participants by type.
        object: `type:id`.
        state: its state before, JSON null where it was never changed.
        operations: in the order in which they were staged; those of other objects are left out.

    Raises:
        Refused: an operation does not allow it.
        NotFound: the participant or an operation is not declared.
    """
    cls = participant_of(registry, object)
    now = state_of(cls, state)
    for staged in operations:
        if staged.object == object:
            now = played_once(cls, operation_of(registry, staged), now, staged.args)
    return canonical(now)


def statements(registry: Registry, object: str, operations: Sequence[Staged]) -> tuple[Any, ...]:
    """The statements that change a row of the user's own table, in the order of `operations`.

    Raises:
        NotFound: the participant or an operation is not declared.
    """
    cls = participant_of(registry, object)
    found: list[Any] = []
    for staged in operations:
        if staged.object != object:
            continue
        one = operation_of(registry, staged)
        assert one.id is not None
        given = one.arguments.model_validate_json(staged.args)
        values = {name: getattr(given, name) for name in one.arguments.model_fields}
        found.append(one.function(cls(), one.id.validate_python(object.partition(":")[2]), **values))
    return tuple(found)


def inverse_of(registry: Registry, staged: Staged) -> Staged | None:
    """The operation that takes `staged` back; None where none is declared."""
    inverse = operation_of(registry, staged).inverse
    if inverse is None:
        return None
    return Staged(object=staged.object, operation=inverse, args=staged.args, step=staged.step)
