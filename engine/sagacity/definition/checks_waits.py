"""What is refused of waits: one without a deadline, or one that would send a saga back where it cannot go."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from sagacity.definition.draft import Draft, WaitDraft
from sagacity.definition.flow import CANCEL, Flow

_Blame = Callable[[str, str], None]


def check_waits(draft: Draft, flow: Flow) -> None:
    """Add the faults of waits."""
    for name, wait in draft.waits.items():

        def blame(what: str, fix: str, name: str = name) -> None:
            draft.blame(name, what, fix)

        _check_kind(wait, blame)
        _check_spans(wait, blame)
        _check_states(draft, wait, blame)
        _check_deadline(draft, wait, blame)
        _check_otherwise(draft, wait, blame)
        _check_back(draft, wait, blame)
    _check_signals(draft, flow)


def _check_kind(wait: WaitDraft, blame: _Blame) -> None:
    mark = wait.mark
    said = [kind for kind in (mark.signal, mark.approval, mark.after) if kind is not None]
    if len(said) != 1:
        blame(
            "it does not say what it waits for, or says several things.",
            "Give exactly one of `signal=`, `approval=` and `after=`.",
        )
    for kind in (mark.signal, mark.approval):
        if kind is not None and (not isinstance(kind, str) or not kind):
            blame(f"{kind!r} is no name of a signal.", 'Give a name such as `signal="carrier.delivered"`.')
    if mark.after is not None and any((mark.within, mark.otherwise, mark.data)):
        blame("a timer is its own deadline and carries nothing.", "Drop `within`, `otherwise` and `data`.")
    if mark.approval is not None and mark.data is not None:
        fields = getattr(mark.data, "model_fields", {})
        if "approved" not in fields or fields["approved"].annotation is not bool:
            blame(
                "what an approval carries must say whether it is one.",
                "Give its `data` a field `approved: bool`.",
            )


def _check_spans(wait: WaitDraft, blame: _Blame) -> None:
    for word in ("within", "after"):
        span = getattr(wait.mark, word)
        if span is not None and (not isinstance(span, timedelta) or span <= timedelta(0)):
            blame(f"{word}={span!r} is no span of time.", f"Write `{word}=timedelta(days=…)`, above zero.")


def _check_states(draft: Draft, wait: WaitDraft, blame: _Blame) -> None:
    if wait.event is None and not wait.mark.during:
        blame("it does not say when it listens.", "Name the states: `during=(paid, shipped)`.")
    if wait.event is not None and wait.mark.during:
        blame("it listens where its transition starts, and `during` says otherwise.", "Drop `during`.")
    nodes = draft.machine.nodes
    for state in wait.states:
        if nodes[state].final and nodes[state].parent is None:
            blame(f"nothing is awaited in {state}, which is an end.", "Name states before the end.")


def _check_deadline(draft: Draft, wait: WaitDraft, blame: _Blame) -> None:
    if _ends(wait):
        return
    for state in wait.states:
        if not any(_ends(other) for other in draft.waits.values() if state in other.states):
            blame(
                f"it has no deadline, so a saga may stay in {state} for ever.",
                "Write `within=timedelta(days=…), otherwise=cancel`.",
            )
            return


def _ends(wait: WaitDraft) -> bool:
    return wait.mark.within is not None or wait.mark.after is not None


def _check_otherwise(draft: Draft, wait: WaitDraft, blame: _Blame) -> None:
    mark = wait.mark
    if mark.after is not None:
        return
    if mark.otherwise is None:
        if mark.approval is not None:
            blame("it does not say where a refusal leads.", "Write `otherwise=cancel`, or a transition.")
        elif mark.within is not None:
            blame("it does not say where its deadline leads.", "Write `otherwise=cancel`, or a transition.")
        return
    if mark.within is None and mark.approval is None:
        blame("`otherwise` needs a deadline.", "Write `within=timedelta(days=…)` too, or drop it.")
    if wait.otherwise in (None, CANCEL):
        return
    outside = sorted(set(wait.states) - set(draft.machine.sources(wait.otherwise or "")))
    if outside:
        blame(
            f"otherwise={wait.otherwise} does not leave {', '.join(outside)}, where it listens.",
            "Name `cancel`, or a transition that leaves the same state.",
        )


def _check_back(draft: Draft, wait: WaitDraft, blame: _Blame) -> None:
    if (wait.event is None or wait.otherwise == CANCEL) and draft.behind(wait.states):
        blame(
            "it sends the saga back from behind the pivot, where there is only forward.",
            "Lead to a transition: `otherwise=give_notice`.",
        )


def _check_signals(draft: Draft, flow: Flow) -> None:
    for state, waits in flow.awaits_at.items():
        heard: dict[Any, str] = {}
        for wait in waits:
            if wait.signal is None:
                continue
            other = heard.setdefault(wait.signal, wait.name)
            if other != wait.name:
                draft.blame(
                    wait.name,
                    f"{other} waits for {wait.signal!r} in {state} too.",
                    "Give them signals of their own, or one wait with guards on its transition.",
                )
