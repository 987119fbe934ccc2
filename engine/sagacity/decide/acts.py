"""Acts from outside that are not part of the flow: cancel, retry, a child's end."""

from datetime import datetime
from uuid import UUID

from sagacity.decide.draft import Draft
from sagacity.model import lines as L
from sagacity.model.canonical import loaded
from sagacity.model.record import Phase, Record, Status
from sagacity.model.unit import Message


def take_acts(draft: Draft, now: datetime) -> None:
    """Take in every act and every child's end that lies in the mail, oldest first."""
    for message in list(draft.mail):
        match message.kind:
            case "cancel" | "restart":
                _cancel(draft, message, now)
            case "retry":
                _retry(draft, message, now)
            case "child":
                _child(draft, message, now)
            case "adopt":
                _adopt(draft, message, now)
            case "signal":
                _signal(draft, message, now)
            case _:
                pass


def refuse(draft: Draft, message: Message, why: str, now: datetime) -> None:
    """The message cannot be taken; the log says why, and it is done with."""
    draft.consume(message)
    name = f"{message.kind} {message.name}" if message.name else message.kind
    draft.add(L.ActRefused(act=name, why=why, message=message.id, at=now))


def cancel_refusal(record: Record) -> str | None:
    """Why a cancel is not possible; None: it is."""
    if record.status.final:
        return f"it is {record.status.value} already"
    if record.backward and not record.restarting:
        return "it is going back already"
    if record.pivoted:
        return "its point of no return is behind: it can only go forward"
    return None


def retry_refusal(record: Record) -> str | None:
    """Why there is nothing to retry; None: there is."""
    waiting = any(run.phase is Phase.RETRY for run in record.runs) or any(
        effect.undo_due_at is not None for effect in record.effects
    )
    if record.status is Status.STUCK or (waiting and not record.status.final):
        return None
    return f"nothing to retry: it is {record.status.value}"


def _cancel(draft: Draft, message: Message, now: datetime) -> None:
    record = draft.record
    why = cancel_refusal(record)
    seen = (loaded(message.payload) or {}).get("seq", record.seq)
    gone = record.locked or record.cancelling or seen != record.seq
    if message.kind == "restart" and why is None and gone:
        why = "the lock cycle is gone"
    if why is not None:
        refuse(draft, message, why, now)
        return
    draft.consume(message)
    reason = loaded(message.data)
    draft.add(
        L.CancelAsked(
            reason=str(reason or "cancelled"),
            actor=message.actor,
            message=message.id,
            restart=message.kind == "restart",
            at=now,
        )
    )


def _retry(draft: Draft, message: Message, now: datetime) -> None:
    why = retry_refusal(draft.record)
    if why is not None:
        refuse(draft, message, why, now)
        return
    draft.consume(message)
    reason = loaded(message.data)
    draft.add(
        L.Retried(reason=str(reason) if reason else None, actor=message.actor, message=message.id, at=now)
    )


def _child(draft: Draft, message: Message, now: datetime) -> None:
    draft.consume(message)
    told = loaded(message.data)
    draft.add(
        L.ChildEnded(
            step=message.name or "",
            child=UUID(told["child"]),
            status=told["status"],
            message=message.id,
            at=now,
        )
    )


def _adopt(draft: Draft, message: Message, now: datetime) -> None:
    draft.consume(message)
    told = loaded(message.data)
    draft.add(L.Adopted(parent=UUID(told["parent"]), step=message.name or "", message=message.id, at=now))


def _signal(draft: Draft, message: Message, now: datetime) -> None:
    """Signals are the flow's (`waits`); here only those that nothing will ever await are refused."""
    record = draft.record
    known = {a.signal for a in draft.flow.awaits.values()} | {run.signal for run in record.runs}
    if record.status.final:
        refuse(draft, message, f"it is {record.status.value} already", now)
    elif message.name not in known:
        names = ", ".join(sorted(str(name) for name in known if name)) or "none"
        refuse(draft, message, f"{draft.flow.name} awaits no such signal (it knows: {names})", now)
