"""`Saga`: the base class of all flows, and the moment at which they are judged.

The metaclass reads the class body before the state-machine library does, gathers every fault
into one error, and only then lets the library have its say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, cast

from statemachine import State as State  # noqa: PLC0414 - a public name of ours
from statemachine import StateMachine
from statemachine.exceptions import InvalidDefinition
from statemachine.factory import StateMachineMetaclass
from statemachine.transition_list import TransitionList

from sagacity.definition.checks import check
from sagacity.definition.compile import compiled, drafted
from sagacity.definition.flow import Flow
from sagacity.definition.registry import REGISTRY, place_of
from sagacity.definition.step import MARKS, OverrideMark, WaitMark
from sagacity.errors import DefinitionError, Fault


class Body(dict[str, Any]):
    """A class body that remembers names which were given twice."""

    def __init__(self) -> None:
        super().__init__()
        self.twice: dict[str, None] = {}

    def __setitem__(self, name: str, value: Any) -> None:
        old = self.get(name)
        if old is not None and _counts(old) and not _extends(old, value):
            self.twice[name] = None
        super().__setitem__(name, value)


def _counts(value: Any) -> bool:
    return isinstance(value, State | TransitionList | WaitMark | OverrideMark) or hasattr(value, MARKS)


def _extends(old: Any, new: Any) -> bool:
    """Whether `new` is `old` with more transitions (`go = go | here.to(there)`)."""
    if old is new:
        return True
    if not (isinstance(old, TransitionList) and isinstance(new, TransitionList)):
        return False
    return {id(transition) for transition in old} <= {id(transition) for transition in new}


class SagaMeta(StateMachineMetaclass):
    """Compiles a flow when its class is made, or refuses it with everything that is wrong."""

    @classmethod
    def __prepare__(mcs, cls_name: str, bases: tuple[type, ...], /, **options: Any) -> Body:
        """The class body, which remembers names given twice."""
        del cls_name, bases, options
        return Body()

    def __new__(  # noqa: D102 - the contract is the language's
        mcs, cls_name: str, bases: tuple[type, ...], namespace: dict[str, Any], /, **options: Any
    ) -> SagaMeta:
        del options
        return super().__new__(mcs, cls_name, bases, namespace)

    def __init__(
        cls, cls_name: str, bases: tuple[type, ...], namespace: dict[str, Any], /, **options: Any
    ) -> None:
        states = any(isinstance(value, State | TransitionList) for value in namespace.values())
        if not states and not options:
            super().__init__(cls_name, cast(Any, bases), namespace)
            return
        flow, faults = _flow_of(cls, bases, namespace, options)
        if faults:
            raise DefinitionError(faults)
        try:
            super().__init__(cls_name, cast(Any, bases), namespace)
        except InvalidDefinition as error:
            raise DefinitionError([_library_fault(cls, error)]) from None
        cls.flow = flow
        REGISTRY.add("sagas", flow.name, cls)


def _flow_of(
    cls: Any, bases: tuple[type, ...], namespace: Mapping[str, Any], options: Mapping[str, Any]
) -> tuple[Flow, list[Fault]]:
    draft = drafted(cls, namespace)
    flow = compiled(
        draft,
        name=options.get("name") or cls.__name__,
        version=options.get("version", 0),
        key_field=options.get("key"),
    )
    check(draft, flow, bases=bases, options=options, twice=getattr(namespace, "twice", ()))
    return flow, draft.faults


def _library_fault(cls: Any, error: InvalidDefinition) -> Fault:
    return Fault(
        where=place_of(cls),
        name=cls.__name__,
        what=str(error),
        fix="Mend what the state-machine library names.",
    )


class Saga(StateMachine, metaclass=SagaMeta):
    """A long-lived business transaction: states, transitions, steps and waits in one class.

    Class arguments: `version` (a positive int), `key` (the field of `Input` that is the business key),
    `name` (by default the class's own).

    Attributes:
        flow: the compiled definition.
    """

    flow: ClassVar[Flow]
