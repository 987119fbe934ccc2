"""What an operator gave with an act, and what of it nobody is to read.

A signal's data and a skip's result come from a person's hands, before any saga has taken them. So they are
held against the type that the flow declares, and what does not fit it is hidden whole: a value in the wrong
field is secret still.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, get_type_hints

import orjson
from pydantic import TypeAdapter

from sagacity.definition.flow import Flow, Undo
from sagacity.model.operating import Verb
from sagacity.web.secrets import HIDDEN, any_secret, covered, found, holds_secrets, leaves_of

_GIVEN: Mapping[str, str] = {Verb.SIGNAL: "data", Verb.SKIP: "result"}
"""Where in a verb's arguments stands what a flow has a type for."""


def shown(flows: Iterable[Flow | None], verb: str, args: Any) -> Any:
    """The arguments of an act on sagas of these flows, what is secret hidden. None: a flow not known here."""
    place = _GIVEN.get(verb)
    if place is None or not isinstance(args, dict) or args.get(place) is None:
        return args
    value = args[place]
    for flow in flows:
        hints = _hints(flow, verb, args)
        fitting = [hint for hint in hints if _fits(hint, args[place])]
        if hints and not fitting:
            value = HIDDEN
        for hint in fitting:
            value = covered(hint, value)
    return args | {place: value}


def values(flows: Iterable[Flow | None], verb: str, args: Any) -> Iterator[Any]:
    """The secret values in them: they may be repeated elsewhere."""
    place = _GIVEN.get(verb)
    if place is None or not isinstance(args, dict):
        return
    value = args.get(place)
    for flow in flows:
        hints = _hints(flow, verb, args)
        fitting = [hint for hint in hints if _fits(hint, value)]
        if hints and not fitting:
            yield from leaves_of(value)
        for hint in fitting:
            yield from found(hint, value)


def undone(flow: Flow | None, step: str, value: Any) -> Any:
    """What an undo left, what is secret hidden."""
    if flow is None:
        return value if value is None else HIDDEN
    undo = flow.steps[step].undo if step in flow.steps else None
    return covered(_undo_hint(undo), value) if undo is not None else value


def _hints(flow: Flow | None, verb: str, args: Mapping[str, Any]) -> list[Any]:
    """The types that hold secrets and that the value may be of; `None`: nobody can say."""
    if flow is None:
        return [None]
    if verb == Verb.SIGNAL:
        hints = [one.data_type for one in flow.awaits.values() if one.signal == args.get("name")]
        unsaid = not hints
    else:
        step = args.get("step")
        steps = [one for name, one in flow.steps.items() if step in (None, name)]
        undone = [_undo_hint(one.undo) for one in steps if one.undo is not None]
        hints, unsaid = [*(one.result_type for one in steps), *undone], not steps
    if unsaid:
        return [None] if any_secret(flow) else []
    return [hint for hint in hints if holds_secrets(hint)]


def _fits(hint: Any, value: Any) -> bool:
    if hint is None:
        return False
    try:
        _adapter(hint).validate_json(orjson.dumps(value))
    except Exception:
        return False
    return True


@cache
def _adapter(hint: Any) -> TypeAdapter[Any]:
    return TypeAdapter(hint)


def _undo_hint(undo: Undo) -> Any:
    """What an undo answers, as far as its function says."""
    run = undo.run if undo.run is not None else getattr(undo.external, undo.method or "", None)
    try:
        return get_type_hints(run, include_extras=True).get("return")
    except Exception:
        return None
