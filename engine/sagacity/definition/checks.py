"""All that is refused when a flow's class is made, gathered; here what concerns the class as a whole."""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel
from statemachine import StateChart, StateMachine
from statemachine.factory import StateMachineMetaclass

from sagacity.definition.checks_states import check_states
from sagacity.definition.checks_steps import check_steps
from sagacity.definition.checks_waits import check_waits
from sagacity.definition.draft import Draft
from sagacity.definition.flow import CANCEL, Flow

_OPTIONS = frozenset({"version", "key", "name"})
_OURS = frozenset({CANCEL, "flow", "listeners", "listeners_inherit"})
_MADE_LATER = frozenset(
    {"model", "history_values", "state_field", "_callbacks", "_config", "_listeners", "_engine"}
)
RESERVED = _MADE_LATER.union(
    dir(StateMachine), vars(StateMachineMetaclass), StateChart.__annotations__, _OURS
)
"""Names that the state-machine library, or Sagacity, uses on the class itself."""


def check(
    draft: Draft,
    flow: Flow,
    *,
    bases: tuple[type, ...],
    options: Mapping[str, Any],
    twice: Iterable[str],
) -> None:
    """Add all faults of the class to `draft`.

    Args:
        draft: what was read.
        flow: what was compiled of it.
        bases: the class's bases.
        options: the class's arguments.
        twice: names that the class body gave twice.
    """
    _check_options(draft, flow, options)
    _check_input(draft)
    _check_names(draft, twice)
    for base in bases:
        if getattr(base, "flow", None) is not None:
            draft.blame(
                draft.cls.__name__,
                f"it inherits from the flow {base.__name__}, whose states it would change.",
                "Write a flow of its own, or let both share plain functions.",
            )
    check_states(draft, flow)
    check_steps(draft, flow)
    check_waits(draft, flow)


def _check_options(draft: Draft, flow: Flow, options: Mapping[str, Any]) -> None:
    name = draft.cls.__name__
    version = options.get("version")
    if type(version) is not int or version < 1:
        said = "no version" if version is None else f"version={version!r}"
        draft.blame(name, f"it has {said}.", f"Write `class {name}(Saga, version=1)`, a whole number from 1.")
    if not str(flow.name).isidentifier():
        draft.blame(
            name, f"name={flow.name!r} is no name.", "Give letters, digits and underscores, or leave it out."
        )
    unknown = sorted(set(options) - _OPTIONS)
    if unknown:
        draft.blame(name, f"a flow has no {', '.join(unknown)}.", "It takes `version`, `key` and `name`.")
    fields = getattr(draft.input, "model_fields", {})
    if flow.key_field is not None and flow.key_field not in fields:
        known = ", ".join(fields) or "none"
        draft.blame(
            name, f"key={flow.key_field!r} is no field of Input.", f"Name one of its fields ({known})."
        )


def _check_input(draft: Draft) -> None:
    model = draft.input
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        draft.blame(
            "Input", "the flow does not say what it is given.", "Declare `class Input(BaseModel)` in it."
        )
        return
    try:
        model.model_json_schema()
    except Exception as error:
        reason = str(error).splitlines()[0]
        draft.blame("Input", f"it has no JSON form ({reason}).", "Use types that JSON can hold.")


def _check_names(draft: Draft, twice: Iterable[str]) -> None:
    for name in twice:
        draft.blame(
            name, "the name is given twice.", "Give each state, transition, step and wait its own name."
        )
    conventions = _conventions(draft)
    for name in draft.namespace:
        if name.startswith("__"):
            continue
        if name in RESERVED or name in conventions or name.startswith(("done_invoke_", "error_")):
            draft.blame(name, "the name is reserved for the state machine itself.", "Choose another name.")
    for name in draft.machine.nodes:
        if name in RESERVED and name not in draft.namespace:
            draft.blame(name, "the name is reserved for the state machine itself.", "Choose another name.")


def _conventions(draft: Draft) -> frozenset[str]:
    """Methods that the library would call by their names."""
    kinds = ("transition", *draft.machine.edges, *draft.machine.joins)
    found = {f"{when}_{kind}" for when in ("before", "on", "after") for kind in kinds}
    places = ("state", *draft.machine.nodes)
    found |= {f"on_{when}_{place}" for when in ("enter", "exit", "invoke") for place in places}
    return frozenset(found | {"prepare_event"})
