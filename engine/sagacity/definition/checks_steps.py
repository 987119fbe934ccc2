"""What is refused of steps: an effect without a way back, or one past the pivot that may give up."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any, get_args, get_origin

from sagacity.definition.draft import Draft, StepDraft
from sagacity.definition.flow import Flow, Step
from sagacity.definition.graph import without
from sagacity.definition.machine import path

_Blame = Callable[[str, str], None]


def check_steps(draft: Draft, flow: Flow) -> None:
    """Add the faults of steps."""
    front = without(draft.machine, draft.pivots)
    undos: dict[str, Any] = {}
    for name, step in flow.steps.items():
        drafted = draft.steps[name]

        def blame(what: str, fix: str, name: str = name) -> None:
            draft.blame(name, what, fix)

        _check_effect(draft, step, drafted, blame)
        _check_pivot(draft, step, front, blame)
        _check_function(step, drafted, blame)
        if step.undo is not None and step.undo.kind == "compensation":
            other = undos.setdefault(step.undo.name, step.undo.cls)
            if other is not step.undo.cls:
                blame(f"two compensations are called {step.undo.name}.", "Give one of them another name.")


def _check_effect(draft: Draft, step: Step, drafted: StepDraft, blame: _Blame) -> None:
    mark = drafted.mark
    taken = [p.type.__name__ for p in step.params if p.kind == "external" and p.type.effects]
    if len(taken) > 1:
        blame(
            f"it takes {len(taken)} externals with effects ({', '.join(taken)}); a step makes one effect.",
            "Make two steps of it.",
        )
    if mark.child is not None and taken:
        blame(
            f"it starts sagas and takes {taken[0]}.",
            "Make two steps of it: one starts sagas, one has the effect.",
        )
        return
    if step.effectful and mark.undo is None and not mark.final:
        blame(
            f"it has an effect ({taken[0]}) and does not say how that is made good.",
            "Write `undo=SomeCompensation`, `undo=" + f"{taken[0]}.inverse`, or `final=True` if nothing can.",
        )
    if mark.undo is not None and mark.final:
        blame("it says both `undo` and `final`.", "Keep `undo`, or `final=True` if nothing can undo it.")
    if not taken and (mark.undo is not None or mark.final):
        blame("it has no effect, so there is nothing to undo or to call final.", "Drop `undo` and `final`.")


def _check_pivot(draft: Draft, step: Step, front: frozenset[str], blame: _Blame) -> None:
    sources = draft.sources(step.event)
    behind = draft.behind(sources)
    if step.effectful and step.final and not step.pivot and front & set(sources):
        blame(
            "its effect has no way back, and what comes after it may still fail.",
            "Write `pivot=True` too (from then on there is only forward), or give it an `undo`.",
        )
    if behind and step.retry.gives_up:
        blame(
            "it is behind the pivot, where there is only forward, and may give up.",
            "Drop the stop from `retry`: behind a pivot a step is tried until it is done.",
        )
    if behind and step.child is not None:
        blame(
            "it starts sagas behind the pivot, and a saga may end rolled back.",
            "Start them before the pivot.",
        )
    nodes = draft.machine.nodes
    inside = any(nodes[place].kind == "parallel" for source in sources for place in path(nodes, source)[1:])
    if step.pivot and inside:
        blame(
            "it is a pivot in a region: what runs beside it may still have to go back.",
            "Put the pivot behind the parallel state.",
        )


def _check_function(step: Step, drafted: StepDraft, blame: _Blame) -> None:
    mark, function = drafted.mark, drafted.function
    if not isinstance(mark.timeout, timedelta) or mark.timeout <= timedelta(0):
        blame(f"timeout={mark.timeout!r} is no span of time.", "Give a `timedelta` above zero.")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        blame("it yields.", "Return one result.")
    if mark.child is not None:
        _check_child(step, drafted.wishes.returns, blame)


def _check_child(step: Step, returns: Any, blame: _Blame) -> None:
    child = getattr(step.child, "flow", None)
    if not isinstance(child, Flow):
        blame(f"{step.child!r} is no flow.", "Name a Saga class that is declared above.")
        return
    many = get_origin(returns) in (list, tuple, Sequence, Iterable) and get_args(returns)[:1] == (
        child.input,
    )
    if returns is not child.input and not many:
        name = step.child.__name__
        blame(
            f"it does not say that it returns inputs of {name}.",
            f"Write `-> {name}.Input` or `-> list[{name}.Input]`.",
        )
