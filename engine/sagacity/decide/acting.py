"""Carrying out an operator's act: first the line that says who and why, then, in the same unit, what it does.

It is asked once more whether the act is possible, and whether the saga still stands where the plan saw it.
"""

from collections.abc import Callable
from datetime import datetime

from sagacity.decide.draft import Draft, refuse
from sagacity.decide.operating import glass_refusal, preview, refusal
from sagacity.decide.orders import Order, written
from sagacity.decide.targets import Answer, answered, forced, heard_now
from sagacity.decide.waits import take
from sagacity.model import lines as L
from sagacity.model.by_hand import left_standing
from sagacity.model.operating import GLASS, Verb
from sagacity.model.record import Record
from sagacity.model.unit import Message


def act(draft: Draft, message: Message, now: datetime) -> None:
    """Take an operator's act in, or refuse it in the log."""
    order = taken(draft, message, now)
    if order is not None:
        _ACTS[order.verb](draft, order, now)


def taken(draft: Draft, message: Message, now: datetime) -> Order | None:
    """Write the `act` line, and what it asks for; None: it was refused."""
    order = Order.of(message)
    why = order if isinstance(order, str) else why_not(draft, order)
    if isinstance(order, str) or why is not None:
        refuse(draft, message, why or "", now)
        return None
    draft.consume(message)
    shown = preview(draft.record, draft.flow, order.verb, order.args)
    written(draft, order, before=shown.before, after=shown.after, now=now)
    return order


def why_not(draft: Draft, order: Order) -> str | None:
    """Why an act is refused now; None: it is taken."""
    record = draft.record
    moved = moved_since(record, order.revision)
    if moved is not None:
        return moved
    if order.verb is Verb.ACK and order.args.get("kind") == GLASS and record.glass:
        return glass_refusal(record, order.actor, order.args.get("plan"))
    why = refusal(record, draft.flow, order.verb, order.args)
    if why is None and order.verb is Verb.RELEASE_LOCK:
        fence = draft.fences.get(order.args["object"])
        if fence != order.args["fence"]:
            return f"the lock's fencing number is {fence or 'unknown'}, not {order.args['fence']}"
    return why


def held_up(message: Message) -> bool:
    """It pauses the saga whatever it does meanwhile, so what was not called yet need not be called."""
    if message.kind != "act" or message.name != Verb.PAUSE.value:
        return False
    order = Order.of(message)
    return not isinstance(order, str) and order.revision is None


def moved_since(record: Record, revision: int | None) -> str | None:
    """That it stands elsewhere than where the plan saw it.

    Revision 0: it lay in the inbox. Then it stands there for as long as nothing of it is done.
    """
    if revision is None or revision == record.seq:
        return None
    if revision == 0:
        done = record.runs or record.effects or record.results
        return "it moved since the plan (it had not begun, and now it has)" if done else None
    return f"it moved since the plan (planned at revision {revision}, now {record.seq})"


def _retry(draft: Draft, order: Order, now: datetime) -> None:
    draft.add(L.Retried(reason=order.reason, actor=order.actor, at=now))


def _pause(draft: Draft, order: Order, now: datetime) -> None:
    draft.add(L.Paused(at=now))


def _resume(draft: Draft, order: Order, now: datetime) -> None:
    draft.add(L.Resumed(at=now))


def _cancel(draft: Draft, order: Order, now: datetime) -> None:
    draft.add(L.CancelAsked(reason=order.reason or "cancelled", actor=order.actor, message=None, at=now))


def _signal(draft: Draft, order: Order, now: datetime) -> None:
    found = heard_now(draft.record, draft.flow, order.args)
    assert not isinstance(found, str), found  # `refusal` has asked the same
    take(draft, *found, message=None, actor=order.actor, now=now)


def _skip(draft: Draft, order: Order, now: datetime) -> None:
    found = answered(draft.record, draft.flow, order.args)
    assert not isinstance(found, str), found
    n = found.effect.n if found.back and found.effect is not None else None
    draft.add(L.Skipped(step=found.step, n=n, landed=found.landed, at=now))
    if found.back:
        _undone(draft, found, now)
        return
    draft.add(
        L.Completed(
            step=found.step,
            visit=found.visit,
            attempt=found.attempt,
            result=found.result,
            state=found.state,
            pivot=found.pivot,
            landed=found.landed,
            at=now,
        )
    )


def _undone(draft: Draft, found: Answer, now: datetime) -> None:
    """What never happened needs no undo; what did counts as made good."""
    effect = found.effect
    assert effect is not None
    if found.landed:
        draft.add(
            L.Undone(
                n=effect.n,
                step=effect.step,
                undo=effect.undo or "",
                attempt=found.attempt,
                result=found.result,
                at=now,
            )
        )


def _force(draft: Draft, order: Order, now: datetime) -> None:
    found = forced(draft.record, draft.flow, order.args)
    assert not isinstance(found, str), found
    draft.add(
        L.Forced(
            state=found.state,
            edge=found.edge,
            left=found.left,
            landed=found.landed,
            void=found.void,
            pivot=found.pivot,
            at=now,
        )
    )


def _abandon(draft: Draft, order: Order, now: datetime) -> None:
    there, unknown = left_standing(draft.record)
    reason = order.reason or "abandoned"
    draft.add(L.Abandoned(reason=reason, stands=there, unknown=unknown, at=now))


def _release_lock(draft: Draft, order: Order, now: datetime) -> None:
    draft.add(L.LockReleased(object=order.args["object"], fence=order.args["fence"], at=now))


def _nothing(draft: Draft, order: Order, now: datetime) -> None:
    """The `act` line says it all."""


_ACTS: dict[Verb, Callable[[Draft, Order, datetime], None]] = {
    Verb.RETRY: _retry,
    Verb.PAUSE: _pause,
    Verb.RESUME: _resume,
    Verb.CANCEL: _cancel,
    Verb.SIGNAL: _signal,
    Verb.SKIP: _skip,
    Verb.FORCE: _force,
    Verb.ABANDON: _abandon,
    Verb.RELEASE_LOCK: _release_lock,
    Verb.ACK: _nothing,
}
