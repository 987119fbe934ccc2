"""Which value each parameter gets: types matched against what the flow has to give.

A result can be asked for only where it is there: some step before returns it, and unless the
parameter says `X | None`, no way leads past all of those steps.
"""

import enum
from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sagacity.definition import graph
from sagacity.definition.draft import Draft, Producer
from sagacity.definition.external import External
from sagacity.definition.flow import Param
from sagacity.definition.params import About, Wish, type_name
from sagacity.definition.stage import Stage

_PLAIN = (
    str,
    bytes,
    int,
    float,
    bool,
    Decimal,
    datetime,
    date,
    time,
    timedelta,
    UUID,
    list,
    dict,
    set,
    tuple,
    enum.Enum,
)


def params_of(
    draft: Draft,
    label: str,
    wishes: Iterable[Wish],
    *,
    at: Iterable[str],
    own: str | None = None,
    pure: bool = False,
) -> tuple[Param, ...]:
    """The parameters of one function.

    Args:
        draft: the class being made.
        label: the function's name, for faults.
        wishes: what it takes.
        at: nodes in which it is called.
        own: a step that has run when it is called (for guards).
        pure: only the input and results may be taken.
    """
    places = tuple(at)
    found: list[Param] = []
    for wish in wishes:
        param = _given(draft, wish)
        if param is None:
            param = _result(draft, label, wish, places, own)
        elif pure and param.kind != "input":
            draft.blame(
                label,
                f"it takes {type_name(wish.type)}, and only looks.",
                "Let it take the input and results only.",
            )
        if param is not None:
            found.append(param)
    return tuple(found)


def _given(draft: Draft, wish: Wish) -> Param | None:
    """The input, an external, the stage, or facts of the execution; None for everything else."""
    kind: Any = None
    if wish.type is draft.input:
        kind = "input"
    elif wish.type is Stage:
        kind = "stage"
    elif wish.type is About:
        kind = "saga"
    elif isinstance(wish.type, type) and issubclass(wish.type, External):
        kind = "external"
    return kind and Param(name=wish.name, kind=kind, type=wish.type, optional=wish.optional)


def _result(draft: Draft, label: str, wish: Wish, at: tuple[str, ...], own: str | None) -> Param | None:
    told = f"`{wish.name}: {type_name(wish.type)}`"
    fitting = [producer for producer in draft.producers if producer.type == wish.type]
    earlier = [p for p in fitting if p.name == own or any(place in draft.after(p.event) for place in at)]
    if not earlier:
        draft.blame(label, f"nothing gives {told}.", _fix(draft, wish, fitting))
        return None
    certain = frozenset(p.event for p in earlier if p.certain)
    sure = any(p.name == own and p.certain for p in earlier)
    if not wish.optional and not sure and graph.without(draft.machine, certain) & set(at):
        names = " and ".join(producer.name for producer in earlier)
        draft.blame(
            label,
            f"{told} may not be there: a way leads here without {names}.",
            f"Write `{wish.name}: {type_name(wish.type)} | None`.",
        )
    order = graph.depths(draft.machine)
    earlier.sort(key=lambda p: _latest_first(draft, p, order, own), reverse=True)
    sources = tuple(producer.name for producer in earlier)
    return Param(name=wish.name, kind="result", type=wish.type, source=sources, optional=wish.optional)


def _latest_first(
    draft: Draft, producer: Producer, order: dict[str, int], own: str | None
) -> tuple[int, int, int]:
    depth = max((order.get(node, 0) for node in draft.sources(producer.event)), default=0)
    return int(producer.name == own), depth, draft.producers.index(producer)


def _fix(draft: Draft, wish: Wish, fitting: list[Producer]) -> str:
    if fitting:
        return f"{' and '.join(p.name for p in fitting)} gives one, but only later: reorder the steps."
    if isinstance(wish.type, type) and issubclass(wish.type, _PLAIN):
        return "Plain values are not given by type: let a step return a model or dataclass and take that."
    known = sorted({type_name(p.type) for p in draft.producers} | {"Input", "Stage", "About"})
    return f"Take the input, an External, or a result of an earlier step; here: {', '.join(known)}."
