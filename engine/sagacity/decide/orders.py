"""An operator's act as a message carries it, and the line `act` that says who did what, and why.

Whoever takes an act in writes that line first, and what the act does right behind it.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sagacity.decide.draft import Draft
from sagacity.model import lines as L
from sagacity.model.canonical import NULL, Json, canonical, loaded
from sagacity.model.operating import Verb
from sagacity.model.unit import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An act's message, read.

    Attributes:
        revision: the `seq` at which it was planned; None: any.
    """

    verb: Verb
    args: dict[str, Any]
    plan: UUID | None
    revision: int | None
    reason: str | None
    approver: str | None
    ticket: str | None
    break_glass: bool
    actor: str | None
    message: UUID

    @classmethod
    def of(cls, message: Message) -> "Order | str":
        """What a message asks for: an `act`, or a signal of a plan's; a sentence: it cannot be read."""
        early = message.kind == "signal"
        told = loaded(message.payload if early else message.data) or {}
        try:
            plan = told.get("plan")
            heard = {"name": message.name, "data": loaded(message.data)} if early else None
            return cls(
                verb=Verb.SIGNAL if early else Verb(message.name or ""),
                args=heard or dict(told.get("args") or {}),
                plan=UUID(plan) if plan else None,
                revision=told.get("revision"),
                reason=told.get("reason"),
                approver=told.get("approver"),
                ticket=told.get("ticket"),
                break_glass=bool(told.get("break_glass")),
                actor=message.actor,
                message=message.id,
            )
        except (ValueError, TypeError, AttributeError) as error:
            return f"the act cannot be read: {error}"


def ordered(
    verb: Verb,
    args: Any = None,
    *,
    plan: UUID | None = None,
    revision: int | None = None,
    reason: str | None = None,
    approver: str | None = None,
    ticket: str | None = None,
    break_glass: bool = False,
) -> Json:
    """What `Order.of` reads: the data of a message of kind `act` whose name is `verb`.

    Or the payload of a signal that was planned before its saga began, and lies there until it is awaited.
    """
    return canonical(
        {
            "args": args if args is not None else {},
            "plan": str(plan) if plan is not None else None,
            "revision": revision,
            "reason": reason,
            "approver": approver,
            "ticket": ticket,
            "break_glass": break_glass,
        }
    )


def planned(message: Message) -> bool:
    """It is a signal, and an operator's plan sent it."""
    return message.kind == "signal" and message.payload != NULL


def written(draft: Draft, order: Order, *, before: str, after: str, now: datetime) -> None:
    """Write the line `act`. `before`, `after`: where the saga stands and will, in words."""
    draft.add(
        L.Act(
            verb=order.verb.value,
            actor=order.actor,
            approver=order.approver,
            reason=order.reason,
            plan=order.plan,
            ticket=order.ticket,
            break_glass=order.break_glass,
            before=canonical(before),
            after=canonical(after),
            args=canonical(order.args),
            message=order.message,
            at=now,
        )
    )
