"""What an outcome makes of the saga: the step reports, the machine decides."""

from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Literal

from sagacity.decide.draft import Draft
from sagacity.definition.flow import Step
from sagacity.definition.table import Facts, fire
from sagacity.ids import derived_id
from sagacity.model import lines as L
from sagacity.model import outcome as O
from sagacity.model.canonical import Json, canonical, loaded
from sagacity.model.record import Phase, Run, Status
from sagacity.model.unit import Message
from sagacity.retry import retry_at

LOST = "its worker was lost before the answer was recorded"


def settle(draft: Draft, step: Step, *, visit: int, attempt: int, outcome: O.Outcome, now: datetime) -> None:
    """Add to the draft what this outcome of `step` means."""
    match outcome:
        case O.Completed():
            if step.child is not None:
                _spawn(draft, step, visit, outcome, now)
            else:
                complete(draft, step, visit=visit, attempt=attempt, outcome=outcome, now=now)
        case O.NotTried():
            draft.add(L.NotTried(step=step.name, visit=visit, why=outcome.why, at=now))
        case O.Failed() | O.Unknown():
            draft.add(_failure(draft, step, (visit, attempt), outcome, now))
        case O.Waiting():
            draft.add(
                L.Failed(
                    step=step.name,
                    visit=visit,
                    attempt=attempt,
                    error=f"asks to be tried again at {outcome.until.isoformat()} or at a signal",
                    landed=_landed(step, draft.record.run_of(step.name), outcome),
                    retry_at=outcome.until,
                    counts=False,
                    signal=outcome.signal,
                    at=now,
                )
            )


def lost(draft: Draft, step: Step, run: Run, now: datetime) -> None:
    """An intent stands open and nobody is at work on it: its outcome is unknown, and it is due again."""
    draft.add(
        L.Failed(
            step=step.name,
            visit=run.visit,
            attempt=run.attempt,
            error=LOST,
            landed="unknown",
            retry_at=now,
            counts=False,
            at=now,
        )
    )


SUSPECT = 2
"""Taken over that often in a row, a saga may be what kills its workers."""


def interrupted(draft: Draft, now: datetime, *, limit: int) -> None:
    """The saga's last worker fell silent with it in hand; at `limit` times in a row it is stuck."""
    draft.add(L.Interrupted(at=now))
    times = draft.record.interrupted
    if times >= limit:
        run = next((run for run in draft.record.runs if run.phase is Phase.OPEN), None)
        doing = f"in {', '.join(draft.record.state)}" if run is None else f"at {run.step}"
        why = f"{times} workers in a row fell silent with it in hand ({doing}): it may be what kills them"
        draft.add(L.Stuck(why=why, at=now))


def complete(
    draft: Draft, step: Step, *, visit: int, attempt: int, outcome: O.Completed, now: datetime
) -> None:
    """The step ended well; the machine fires its event."""
    record = draft.record
    results = {**record.results, step.name: outcome.result}
    state = fire(draft.flow, record.state, step.event, Facts(draft.flow, record.input, results))
    draft.add(
        L.Completed(
            step=step.name,
            visit=visit,
            attempt=attempt,
            result=outcome.result,
            state=record.state if state is None else state,
            staged=outcome.staged,
            pivot=step.pivot,
            landed=outcome.landed,
            at=now,
        )
    )
    if state is None:
        reason = f"{step.name}: no guard of {step.event!r} lets it pass"
        draft.add(L.CancelAsked(reason=reason, actor=None, message=None, at=now))


def _failure(
    draft: Draft, step: Step, tried: tuple[int, int], outcome: O.Failed | O.Unknown, now: datetime
) -> L.Failed:
    visit, attempt = tried
    run = draft.record.run_of(step.name)
    since, base = (run.since, run.base) if run else (now, 0)
    again: datetime | None = None
    if not (isinstance(outcome, O.Failed) and outcome.final):
        again = retry_at(
            step.retry,
            attempt=attempt - base,
            since=since,
            now=now,
            error=outcome.error,
            wish=outcome.retry_after if isinstance(outcome, O.Failed) else None,
        )
    return L.Failed(
        step=step.name,
        visit=visit,
        attempt=attempt,
        error=outcome.error,
        landed=_landed(step, run, outcome),
        retry_at=again,
        at=now,
    )


def _landed(
    step: Step, run: Run | None, outcome: O.Failed | O.Unknown | O.Waiting
) -> Literal["no", "unknown", "none"]:
    if not step.effectful:
        return "none"
    if isinstance(outcome, O.Unknown) or (isinstance(outcome, O.Waiting) and outcome.tried):
        return "unknown"
    # A definite no under the same key also speaks for the earlier attempts; one before the call does not.
    definite = isinstance(outcome, O.Failed) and outcome.final and outcome.tried
    if run is not None and run.unknown and not definite:
        return "unknown"
    return "no"


def _spawn(draft: Draft, step: Step, visit: int, outcome: O.Completed, now: datetime) -> None:
    """Start the child sagas whose inputs the step returned."""
    record, child = draft.record, step.child.flow
    value = loaded(outcome.result)
    inputs = value if isinstance(value, list) else [value]
    key = draft.scope.key(record.id, step.name, visit)
    children = tuple(derived_id(key, n) for n in range(len(inputs)))
    traced = {"trace": record.trace} if record.trace else {}
    draft.add(L.Spawned(step=step.name, visit=visit, key=key, children=children, at=now))
    for n, (id, content) in enumerate(zip(children, inputs, strict=True)):
        data = canonical(content)
        draft.post(
            Message(
                id=id,
                kind="start",
                saga=id,
                definition=child.name,
                version=child.version,
                key=f"{record.id}:{step.name}:{visit}:{n}",
                request_hash=request_hash(child.name, data),
                data=data,
                payload=canonical({"parent": str(record.id), "parent_step": step.name} | traced),
                arrived_at=now,
            )
        )


def request_hash(definition: str, data: Json) -> str:
    """What tells two starts with one key apart: SHA-256 (hex) of the definition's name and the input."""
    return sha256(f"{definition}\n{data}".encode()).hexdigest()


def child_statuses(results: Mapping[str, Json], children: tuple[object, ...]) -> list[str | None]:
    """How each child ended; None: not yet."""
    return [loaded(results[f"child:{child}"]) if f"child:{child}" in results else None for child in children]


def join_children(draft: Draft, step: Step, run: Run, now: datetime) -> bool:
    """Complete (or fail) a step whose children have all ended; False while some have not."""
    statuses = child_statuses(draft.record.results, run.children)
    if any(status is None for status in statuses):
        return False
    if all(status == Status.COMMITTED.value for status in statuses):
        listed = [{"id": str(c), "status": s} for c, s in zip(run.children, statuses, strict=True)]
        complete(
            draft,
            step,
            visit=run.visit,
            attempt=run.attempt,
            outcome=O.Completed(result=canonical(listed)),
            now=now,
        )
        return True
    bad = ", ".join(f"{c} is {s}" for c, s in zip(run.children, statuses, strict=True) if s != "committed")
    draft.add(L.CancelAsked(reason=f"{step.name}: child saga {bad}", actor=None, message=None, at=now))
    return True
