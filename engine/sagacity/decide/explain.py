"""Why a saga stands where it stands, what comes next by itself, and what an operator may do: in words."""

from datetime import UTC, datetime

from sagacity.decide import permitting
from sagacity.definition.flow import Flow
from sagacity.model.record import EffectStatus, Phase, Record, Status, WaitsFor


def why(record: Record) -> str:
    """One sentence: what keeps it where it is."""
    if record.paused:
        return f"an operator paused it ({_why(record)})"
    return _why(record)


def _why(record: Record) -> str:
    match record.status:
        case Status.PENDING:
            return "stored, and no worker has looked at it yet"
        case Status.RUNNING:
            return _running(record)
        case Status.WAITING:
            return _waiting(record)
        case Status.COMPENSATING:
            return (
                f"going back: {record.reason}"
                if record.rolls_back is None
                else "rolling back a committed saga"
            )
        case Status.COMMITTED:
            return "everything happened"
        case Status.ROLLED_BACK:
            return f"went back: {record.reason}"
        case Status.ABANDONED:
            return f"an operator left its effects standing: {record.reason}"
        case Status.STUCK:
            return record.reason or "an operator must act"


def _running(record: Record) -> str:
    steps = ", ".join(run.step for run in record.runs)
    return f"doing {steps}" if steps else f"in {', '.join(record.state)}"


def _waiting(record: Record) -> str:
    if record.waits_for is WaitsFor.LOCK:
        names = ", ".join(lock.object for lock in record.locks if not lock.granted)
        return f"queues for {names}"
    if record.waits_for is WaitsFor.RETRY:
        run = next((run for run in record.runs if run.phase is Phase.RETRY), None)
        return f"{run.step} failed (attempt {run.attempt}): {run.error}" if run else "waits to try again"
    if record.waits_for is WaitsFor.CHILD:
        return "waits for its child sagas"
    names = " or ".join(sorted({wait.signal or wait.name for wait in record.waits}))
    return f"waits for {record.waits_for}: {names}"


def next_move(record: Record) -> str:
    """One sentence: what will happen without anybody's doing."""
    if record.status.final:
        return "nothing: it is over"
    if record.status is Status.STUCK:
        return "NOTHING: an operator must act"
    if record.status is Status.PENDING:
        return "a worker that runs its definition takes it up"
    if record.paused:
        return "NOTHING: an operator paused it, and must resume it"
    due = due_at(record)
    if record.waits_for is WaitsFor.LOCK:
        return "it goes on when it is first in all its queues"
    if due is not None:
        return f"at {due.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}: {_at_due(record, due)}"
    if record.waits_for is WaitsFor.CHILD:
        return "it goes on when they have ended"
    if record.status is Status.COMPENSATING:
        effect = permitting.standing(record)
        return f"{effect.undo} makes good for {effect.step}" if effect else "its locks are freed"
    return "its next step is recorded"


def _at_due(record: Record, due: datetime) -> str:
    wait = next((w for w in record.waits if w.until == due), None)
    if wait is not None:
        return f"the deadline of {wait.name} passes" if wait.signal else f"{wait.name} goes on"
    if record.backward:
        return "the compensation is tried again"
    return "it is tried again"


def due_at(record: Record) -> datetime | None:
    """When it moves by itself; None: nothing is scheduled."""
    if record.due_at is not None:
        return record.due_at
    return min((wait.until for wait in record.waits), default=None)


def last_error(record: Record) -> str | None:
    """The latest error that still matters: that of a compensation which gave up, before what led there."""
    gave_up = [e.error for e in record.effects if e.status is EffectStatus.GAVE_UP and e.error]
    if gave_up:
        return gave_up[-1]
    errors = [effect.error for effect in record.effects if effect.error]
    errors += [run.error for run in record.runs if run.error]
    return errors[-1] if errors else None


def allowed(record: Record, flow: Flow | None = None) -> tuple[str, ...]:
    """Acts that would be taken now; see `sagacity.decide.operating.allowed`."""
    return tuple(verb.value for verb in permitting.allowed(record, flow))
