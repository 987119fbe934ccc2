"""How a step's effect is made good, as the engine will call it."""

import inspect
from typing import Any

from pydantic import BaseModel

from sagacity.definition.compensation import Compensation
from sagacity.definition.draft import Draft, StepDraft
from sagacity.definition.external import Call, External, call_of
from sagacity.definition.flow import Param, Undo
from sagacity.definition.params import About, type_name, wishes_of
from sagacity.definition.retries import DEFAULT_TIMEOUT, UNDO_STOP, retry_of


def undo_of(draft: Draft, step: StepDraft, external: type[External] | None) -> Undo | None:
    """The undo that a step declares; None where it declares none, or one that was blamed.

    Args:
        draft: the class being made.
        step: the step.
        external: the external with effects that it takes.
    """
    said = step.mark.undo
    if said is None:
        return None
    if isinstance(said, type) and issubclass(said, Compensation):
        return _compensation(draft, step, said)
    call = call_of(said)
    if call is not None:
        return _inverse(draft, step, said, call, external)
    draft.blame(
        step.name,
        f"undo={said!r} is no way to make an effect good.",
        "Give a `Compensation` class, or the external's own inverse such as `Payments.void`.",
    )
    return None


def child_undo() -> Undo:
    """What undoes child sagas: rolling them back, whatever they have done."""
    return Undo(
        name="child",
        kind="child",
        safe_on_nothing=True,
        retry=retry_of(None, _nothing_to_blame, stop=UNDO_STOP),
        timeout=DEFAULT_TIMEOUT,
    )


def _nothing_to_blame(what: str, fix: str) -> None:
    raise AssertionError(f"the defaults are at fault: {what} {fix}")


def _compensation(draft: Draft, step: StepDraft, cls: type[Compensation]) -> Undo:
    run = inspect.getattr_static(cls, "run")
    params = tuple(_compensation_params(draft, step, cls))
    return Undo(
        name=cls.__name__,
        kind="compensation",
        safe_on_nothing=cls.safe_on_nothing,
        retry=cls.retry,
        timeout=cls.timeout,
        cls=cls,
        run=run.__get__(cls()),
        is_async=inspect.iscoroutinefunction(run),
        params=params,
    )


def _compensation_params(draft: Draft, step: StepDraft, cls: type[Compensation]) -> list[Param]:
    label, returns = f"{step.name}: {cls.__name__}", step.wishes.returns
    found: list[Param] = []
    for wish in cls.wishes:
        type_: Any = wish.type
        if type_ == returns:
            if cls.safe_on_nothing and not wish.optional:
                draft.blame(
                    label,
                    f"it is safe on nothing, so `{wish.name}` may be None.",
                    f"Write `{wish.name}: {type_name(type_)} | None`.",
                )
            found.append(
                Param(name=wish.name, kind="result", type=type_, source=(step.name,), optional=wish.optional)
            )
        elif type_ is About:
            found.append(Param(name=wish.name, kind="saga", type=type_))
        elif isinstance(type_, type) and issubclass(type_, External):
            found.append(Param(name=wish.name, kind="external", type=type_, optional=wish.optional))
        elif isinstance(type_, type) and issubclass(type_, BaseModel) and _first_input(found):
            found.append(Param(name=wish.name, kind="input", type=type_))
        else:
            draft.blame(
                label,
                f"nothing gives `{wish.name}: {type_name(type_)}` to it.",
                f"It may take the input, what {step.name} returns ({type_name(returns)}), and externals.",
            )
    return found


def _first_input(found: list[Param]) -> bool:
    return all(param.kind != "input" for param in found)


def _inverse(
    draft: Draft, step: StepDraft, said: Any, call: Call, external: type[External] | None
) -> Undo | None:
    owner = external.__name__ if external else "no external with effects"
    if external is None or inspect.getattr_static(external, call.name, None) is not said:
        draft.blame(
            step.name,
            f"its undo {said.__qualname__} belongs to another external than the one it takes ({owner}).",
            "Name the inverse of the external that the step calls, or write a Compensation.",
        )
        return None
    if not any(effect.inverse == call.name for effect in external.effects.values()):
        draft.blame(
            step.name,
            f"no effect of {owner} names {call.name!r} as its inverse.",
            f'Write `@effect(inverse="{call.name}")` on the effect that it takes back.',
        )
        return None
    _check_result(draft, step, said, call)
    return Undo(
        name=f"{external.__name__}.{call.name}",
        kind="inverse",
        safe_on_nothing=call.safe_on_nothing,
        retry=retry_of(None, _nothing_to_blame, stop=UNDO_STOP),
        timeout=DEFAULT_TIMEOUT,
        external=external,
        method=call.name,
        run=said,
    )


def _check_result(draft: Draft, step: StepDraft, said: Any, call: Call) -> None:
    wishes = [w for w in wishes_of(said, {}, draft.blame).params if w.name not in ("key", "undoes")]
    label, returns = f"{step.name}: {said.__qualname__}", step.wishes.returns
    if len(wishes) != 1 or wishes[0].type != returns:
        draft.blame(
            label,
            f"an inverse takes what its step returns, {type_name(returns)}, and nothing else.",
            f"Write `async def {call.name}(self, result: {type_name(returns)}, *, key: str)`.",
        )
    elif call.safe_on_nothing and not wishes[0].optional:
        draft.blame(
            label,
            f"it is safe on nothing, so `{wishes[0].name}` may be None.",
            f"Write `{wishes[0].name}: {type_name(returns)} | None`.",
        )
