"""A saga's log in plain words: one sentence for each kind of line.

Pure functions of the stored line alone. Whoever reads them has never seen the flow, and may
have nothing but the log: so a sentence says what happened, to what, and what it means for
the way back, and never needs the code.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sagacity.cli.words import brief, clock, counted, cut, endless, listed, name, sentence, state
from sagacity.model import lines
from sagacity.model.record import Held, Staged, Wait, WaitsFor
from sagacity.model.views import HistoryLine

_LANDED = {
    "no": "nothing happened outside",
    "yes": "but it did happen outside",
    "unknown": "whether it happened outside is not known yet",
    "none": "",
}
_SLEEP = {
    WaitsFor.LOCK: "rests until the objects are free",
    WaitsFor.SIGNAL: "rests until the signal comes",
    WaitsFor.APPROVAL: "rests until the approval comes",
    WaitsFor.TIMER: "rests until it is time",
    WaitsFor.RETRY: "rests until the next try",
    WaitsFor.CHILD: "rests until the sagas it started have ended",
}


def tell(entry: HistoryLine) -> str:
    """What a line of the log says, as one sentence without a closing stop."""
    if entry.data is None:
        return f"{name(entry.kind)} (what it said was erased on request)"
    if entry.kind not in lines.KINDS:
        return f"{name(entry.kind)}: {brief(entry.data)} (this release does not know lines of this kind)"
    line = lines.read_line(entry.kind, entry.data, at=entry.at, object=entry.object, version=entry.version)
    return _TELLERS[type(line)](line)


def _started(line: lines.Started) -> str:
    what = f"started {line.definition} version {line.version} with key {line.key}"
    if line.rolls_back is not None:
        what += f" to roll back saga {line.rolls_back}, which had committed"
    if line.parent is not None:
        what += f", as part of saga {line.parent} (its step {name(line.parent_step or '')})"
    given = brief(line.input)
    return what + (f"; input: {given}" if given else "")


def _locked(line: lines.Locked) -> str:
    if line.granted:
        return f"locked {_locks(line.locks)}"
    return f"asked for the locks on {_locks(line.locks)}, and queues for them"


def _locks(held: tuple[Held, ...]) -> str:
    return listed(lock.object + (" (shared)" if lock.mode == "shared" else "") for lock in held) or "nothing"


def _granted(_: lines.Granted) -> str:
    return "came to the front of the queues: it now holds all locks it asked for"


def _intent(line: lines.Intent) -> str:
    back = f"if the saga goes back, {line.undo} makes it good" if line.undo else "this cannot be undone"
    return f"{name(line.step)}: about to call {line.external}{_try(line.attempt)}; {back}"


def _try(attempt: int) -> str:
    return "" if attempt == 1 else f" (try {attempt})"


def _spawned(line: lines.Spawned) -> str:
    children = listed(str(child) for child in line.children)
    return f"{name(line.step)}: started {counted(len(line.children), 'saga')} of its own: {children}"


def _completed(line: lines.Completed) -> str:
    parts = [f"{name(line.step)}: done{_try(line.attempt)}"]
    if not line.landed:
        parts.append("without calling outside")
    result = brief(line.result)
    if result:
        parts.append(f"answer: {result}")
    if line.staged:
        parts.append(f"noted for the end: {_operations(line.staged)}")
    parts.append(f"now {state(line.state)}")
    if line.pivot:
        parts.append("from here it only goes forward")
    return "; ".join(parts)


def _operations(staged: tuple[Staged, ...]) -> str:
    return listed(f"{name(item.operation)} {item.object}{_args(item)}" for item in staged)


def _args(item: Staged) -> str:
    said = brief(item.args, limit=80)
    return f" ({said})" if said else ""


def _failed(line: lines.Failed) -> str:
    if line.signal is not None and line.retry_at is not None:
        woken = f", or as soon as {line.signal} arrives" if line.signal else ""
        return f"{name(line.step)}: it is too early; it looks again at {clock(line.retry_at)}{woken}"
    landed = f"; {_LANDED[line.landed]}" if _LANDED[line.landed] else ""
    then = "it gives up" if line.retry_at is None else f"next try at {clock(line.retry_at)}"
    return f"{name(line.step)}: try {line.attempt} failed: {_text(line.error)}{landed}; {then}"


def _text(said: str) -> str:
    return cut(sentence(said), 300)


def _not_tried(line: lines.NotTried) -> str:
    return f"{name(line.step)}: the call was not made after all: {_text(line.why)}; nothing happened outside"


def _interrupted(_: lines.Interrupted) -> str:
    return "taken over: the worker that had it in hand fell silent"


def _awaiting(line: lines.Awaiting) -> str:
    return f"now waits for {listed((_wait(wait, line.at) for wait in line.waits), last='or')}"


def _wait(wait: Wait, since: datetime) -> str:
    if wait.kind is WaitsFor.TIMER:
        return f"{clock(wait.until)} ({name(wait.name)})"
    noun = "the approval" if wait.kind is WaitsFor.APPROVAL else "the signal"
    return f"{noun} {wait.signal}" + ("" if endless(wait.until, since) else f" (until {clock(wait.until)})")


def _slept(line: lines.Slept) -> str:
    at = f"; the next look is at {clock(line.due_at)}" if line.due_at else ""
    return f"{_SLEEP[line.waits_for]}{at}"


def _signalled(line: lines.Signalled) -> str:
    by = f" from {line.actor}" if line.actor else ""
    said = brief(line.data)
    return f"got {line.signal}{by}" + (f": {said}" if said else "") + f"; now {state(line.state)}"


def _timed_out(line: lines.TimedOut) -> str:
    return f"the time for {name(line.wait)} is over; now {state(line.state)}"


def _joined(line: lines.Joined) -> str:
    return f"all parts of {name(line.of)} are done; now {state(line.state)}"


def _child_ended(line: lines.ChildEnded) -> str:
    return f"{name(line.step)}: saga {line.child}, which it started, ended {name(line.status)}"


def _cancel_asked(line: lines.CancelAsked) -> str:
    if line.restart:
        return f"is to let others go first and start over: {_text(line.reason)}"
    if line.message is None:
        return f"is to go back: {_text(line.reason)}"
    return f"{line.actor or 'somebody'} asked to cancel: {_text(line.reason)}"


def _act_refused(line: lines.ActRefused) -> str:
    return f"refused to {name(line.act)}: {_text(line.why)}"


def _compensating(line: lines.Compensating) -> str:
    return f"goes back, because: {_text(line.reason)}; nothing that was only noted is applied"


def _undone(line: lines.Undone) -> str:
    if line.empty:
        return f"{name(line.step)}: nothing to undo, it never happened (asked by {line.undo})"
    said = brief(line.result)
    return f"{name(line.step)}: made good by {line.undo}{_try(line.attempt)}" + (f": {said}" if said else "")


def _undo_failed(line: lines.UndoFailed) -> str:
    then = "it gives up" if line.retry_at is None else f"next try at {clock(line.retry_at)}"
    return (
        f"{name(line.step)}: making it good by {line.undo} failed on try {line.attempt}: "
        f"{_text(line.error)}; {then}"
    )


def _applied(line: lines.Applied) -> str:
    did = listed(f"{name(item.operation)}{_args(item)}" for item in line.operations) or "restored"
    after = brief(line.after)
    return f"changed {line.object} to version {line.version}: {did}" + (f"; now {after}" if after else "")


def _committed(_: lines.Committed) -> str:
    return "committed: everything happened; all locks are free"


def _rolled_back(line: lines.RolledBack) -> str:
    return f"rolled back: every effect was made good; all locks are free; reason: {_text(line.reason)}"


def _stuck(line: lines.Stuck) -> str:
    return f"STUCK, a person must look: {_text(line.why)}; its locks stay"


def _retried(line: lines.Retried) -> str:
    why = f": {_text(line.reason)}" if line.reason else ""
    return f"{line.actor or 'somebody'} sent it on again{why}; tries count anew"


def _adopted(line: lines.Adopted) -> str:
    return f"saga {line.parent} (its step {name(line.step)}) will be told of the end of this one"


def _restarted(line: lines.Restarted) -> str:
    return f"let go of its locks and starts over: {_text(line.why)}"


def _rollback_asked(line: lines.RollbackAsked) -> str:
    return f"{line.actor or 'somebody'} asked to roll it back after its commit: saga {line.rollback} does it"


def _rehearsed(line: lines.Rehearsed) -> str:
    return f"was a dry run, and so nothing of this happened: {line.verdict}"


def _erased(line: lines.Erased) -> str:
    return (
        f"the contents of {counted(len(line.seqs), 'line')} ({listed(str(seq) for seq in line.seqs)}) "
        f"of saga {line.saga} were erased: {_text(line.reason)}"
    )


def _act(line: lines.Act) -> str:
    who = line.actor or "somebody"
    with_ = f" with the approval of {line.approver}" if line.approver else ""
    if line.break_glass:
        with_ = " without the second person that it needs (the glass was broken)"
    why = f": {_text(line.reason)}" if line.reason else ""
    ticket = f"; ticket {line.ticket}" if line.ticket else ""
    plan = f"; plan {line.plan}" if line.plan else ""
    return (
        f"{who} acted: {name(line.verb)}{_given(line)}{with_}{why}; "
        f"it was {brief(line.before)}{_then(line)}{ticket}{plan}"
    )


def _given(line: lines.Act) -> str:
    said = brief(line.args, limit=120)
    return f" ({said})" if said else ""


def _then(line: lines.Act) -> str:
    return "" if line.before == line.after else f", and is to be {brief(line.after)}"


def _paused(_: lines.Paused) -> str:
    return "paused: it begins nothing until it is resumed; its locks stay"


def _resumed(_: lines.Resumed) -> str:
    return "resumed: it goes on where it was paused"


def _skipped(line: lines.Skipped) -> str:
    happened = "it happened outside" if line.landed else "it did not happen outside"
    if line.n is not None:
        return f"{name(line.step)}: making it good is not tried any more; a person says that {happened}"
    return f"{name(line.step)}: not tried any more; a person says that {happened}, and gives the answer"


def _forced(line: lines.Forced) -> str:
    by = f"by {name(line.edge)}" if line.edge else "where no way leads"
    left = f"; given up: {listed(map(name, line.left))}" if line.left else ""
    return f"moved by hand to {state(line.state)}, {by}{left}"


def _abandoned(line: lines.Abandoned) -> str:
    effects = counted(len(line.stands), "effect")
    unknown = f", of {len(line.unknown)} more nobody knows" if line.unknown else ""
    return f"abandoned: {effects} stay as they are{unknown}; all locks are free; reason: {_text(line.reason)}"


def _lock_released(line: lines.LockReleased) -> str:
    return (
        f"the lock on {line.object} (number {line.fence}) was taken from it: "
        "it queues for it again before it goes on"
    )


_TELLERS: dict[type[lines.Line], Callable[[Any], str]] = {
    lines.Started: _started,
    lines.Locked: _locked,
    lines.Granted: _granted,
    lines.Intent: _intent,
    lines.Spawned: _spawned,
    lines.Completed: _completed,
    lines.Failed: _failed,
    lines.NotTried: _not_tried,
    lines.Interrupted: _interrupted,
    lines.Awaiting: _awaiting,
    lines.Slept: _slept,
    lines.Signalled: _signalled,
    lines.TimedOut: _timed_out,
    lines.Joined: _joined,
    lines.ChildEnded: _child_ended,
    lines.CancelAsked: _cancel_asked,
    lines.ActRefused: _act_refused,
    lines.Compensating: _compensating,
    lines.Undone: _undone,
    lines.UndoFailed: _undo_failed,
    lines.Applied: _applied,
    lines.Committed: _committed,
    lines.RolledBack: _rolled_back,
    lines.Stuck: _stuck,
    lines.Retried: _retried,
    lines.Adopted: _adopted,
    lines.Restarted: _restarted,
    lines.RollbackAsked: _rollback_asked,
    lines.Erased: _erased,
    lines.Rehearsed: _rehearsed,
    lines.Act: _act,
    lines.Paused: _paused,
    lines.Resumed: _resumed,
    lines.Skipped: _skipped,
    lines.Forced: _forced,
    lines.Abandoned: _abandoned,
    lines.LockReleased: _lock_released,
}
