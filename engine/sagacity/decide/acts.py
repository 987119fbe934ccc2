"""Acts from outside that are not part of the flow: cancel, retry, a child's end."""

from datetime import datetime
from uuid import UUID

from sagacity.decide import permitting
from sagacity.decide.acting import act
from sagacity.decide.draft import Draft, refuse
from sagacity.model import lines as L
from sagacity.model.canonical import loaded
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
            case "act":
                act(draft, message, now)
            case _:
                pass


def _cancel(draft: Draft, message: Message, now: datetime) -> None:
    record = draft.record
    why = permitting.cancel_refusal(record)
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
    why = permitting.retry_refusal(draft.record)
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
