"""`step`, `spawns` and `awaits`: what a class body says of its transitions.

They only write down what was said. Nothing is judged here, so that all faults of a class can
be told at once when the class is made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, TypeVar

from sagacity.definition.flow import CANCEL
from sagacity.definition.retries import DEFAULT_TIMEOUT, RetrySpec

cancel: Final = CANCEL
"""Go back: undo every effect, drop what was staged, end as `rolled_back`."""

MARKS = "__sagacity_steps__"
_F = TypeVar("_F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class StepMark:
    """What `@step` or `@spawns` said of a method."""

    event: Any
    undo: Any
    final: bool
    pivot: bool
    retry: RetrySpec
    timeout: Any
    locks: Any
    child: Any


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WaitMark:
    """What `awaits` said."""

    event: Any
    signal: Any
    approval: Any
    after: Any
    within: Any
    otherwise: Any
    data: Any
    during: tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OverrideMark:
    """What `override` said."""

    source: Any
    target: Any
    why: Any


def step(
    event: Any,
    *,
    undo: Any = None,
    final: bool = False,
    pivot: bool = False,
    retry: RetrySpec = None,
    timeout: timedelta = DEFAULT_TIMEOUT,
    locks: Any = None,
) -> Callable[[_F], _F]:
    """Bind a method to a transition: it runs, and then the machine moves.

    Args:
        event: the transition, e.g. `reserve` after `reserve = placed.to(reserved)`.
        undo: how its effect is made good: a `Compensation`, or the external's own inverse (`Payments.void`).
        final: its effect cannot be undone.
        pivot: once it has happened there is only forward.
        retry: a tenacity stop, wait, pair of both, or `dict(stop=…, wait=…)`. By default five attempts
            with exponential waits from 0.1 s to 60 s; behind a pivot without end.
        timeout: how long one attempt may take.
        locks: a method that yields locks to take just before this step.
    """
    mark = StepMark(
        event=event,
        undo=undo,
        final=final,
        pivot=pivot,
        retry=retry,
        timeout=timeout,
        locks=locks,
        child=None,
    )
    return _marker(mark)


def spawns(
    event: Any,
    child: type,
    *,
    retry: RetrySpec = None,
    timeout: timedelta = DEFAULT_TIMEOUT,
    locks: Any = None,
) -> Callable[[_F], _F]:
    """Bind a method to a transition: it returns inputs of `child`, and each becomes a saga.

    It returns one input or a list of them. The step is done when all of them are committed; its result
    is a list of `ChildEnd`. Going back rolls the children back; nothing has to be declared for it.
    """
    mark = StepMark(
        event=event,
        undo=None,
        final=False,
        pivot=False,
        retry=retry,
        timeout=timeout,
        locks=locks,
        child=child,
    )
    return _marker(mark)


def _marker(mark: StepMark) -> Callable[[_F], _F]:
    def marked(function: _F) -> _F:
        setattr(function, MARKS, (*getattr(function, MARKS, ()), mark))
        return function

    return marked


def awaits(
    event: Any,
    *,
    signal: str | None = None,
    approval: str | None = None,
    after: timedelta | None = None,
    within: timedelta | None = None,
    otherwise: Any = None,
    data: Any = None,
    during: Sequence[Any] = (),
) -> WaitMark:
    """Bind something from outside to a transition: when it comes, the machine moves.

    Exactly one of `signal`, `approval` and `after` says what is awaited.

    Args:
        event: the transition it fires, or `cancel`.
        signal: name of the signal.
        approval: name of the approval; its data is `{"approved": bool}`, and a refusal leads to `otherwise`.
        after: a timer, counted from reaching the state.
        within: the deadline, counted from reaching the state.
        otherwise: what the deadline leads to: `cancel`, or a transition that leaves the same state.
        data: type of what the signal carries; later steps may take it by that type.
        during: only with `cancel`: the states in which it is listened for.
    """
    return WaitMark(
        event=event,
        signal=signal,
        approval=approval,
        after=after,
        within=within,
        otherwise=otherwise,
        data=data,
        during=tuple(during) if isinstance(during, list | tuple) else (during,),
    )


def override(source: Any, target: Any, *, why: str) -> OverrideMark:
    """Declare an edge that only an operator takes, by `force`: no step and no signal ever moves along it.

    It is part of the definition: drawn dashed, in its hash, and checked like everything else. It is for
    ways out that are known beforehand, so that nobody has to break the glass at night.

    Args:
        source: the state that it leaves; of a state with states in it, any of them.
        target: the state that it leads to.
        why: when it is to be taken, for the operator who reads it.
    """
    return OverrideMark(source=source, target=target, why=why)
