"""Something else to do with a claimed saga than to drive it: one unit, and it is let go of.

Each reads what lies in the mail and answers it in the log, so that no message stays unread
because the saga it was for could not be driven.
"""

from dataclasses import replace
from typing import Protocol
from uuid import UUID

from sagacity.decide.acting import taken
from sagacity.decide.acts import take_acts
from sagacity.decide.draft import Draft, Scope, refuse
from sagacity.ids import derived_id
from sagacity.model import lines as L
from sagacity.model.canonical import NULL, canonical, loaded
from sagacity.model.operating import Verb
from sagacity.model.record import Record
from sagacity.model.unit import Claimed, Loss, Message
from sagacity.runtime.bench import Bench
from sagacity.runtime.committer import Lost
from sagacity.runtime.rollbacks import erased, rollback_id, rollback_start


class Fill(Protocol):
    """Adds to a draft what is to be written."""

    async def __call__(self, bench: Bench, draft: Draft) -> None:
        """Fill `draft`; one without lines is not written."""


class Short:
    """Writes what `fill` makes of a claimed saga, and lets go of it."""

    def __init__(self, bench: Bench, scope: Scope, claimed: Claimed, fill: Fill) -> None:
        self._bench = bench
        self._scope = scope
        self._claimed = claimed
        self._fill = fill

    async def run(self) -> None:
        """Write it; where a bell rang meanwhile, the saga is claimed again."""
        claimed = self._claimed
        draft = Draft(self._scope, claimed.record, claimed.mail)
        await self._fill(self._bench, draft)
        if not draft.lines:
            if not await self._bench.store.rest(claimed.record.id, self._bench.id, claimed):
                await self._bench.release(claimed.record.id)
            return
        unit = draft.unit(epoch=claimed.epoch, arrivals=claimed.arrivals, release=True)
        try:
            await self._bench.committer.submit(unit)
        except Lost as lost:
            if lost.loss is not Loss.ARRIVALS:
                raise
            await self._bench.release(claimed.record.id)
        self._bench.posted()


async def roll_back(bench: Bench, draft: Draft) -> None:
    """A committed saga is asked to be rolled back: start the saga that does it, once."""
    started = bool(await bench.store.statuses([rollback_id(draft.record.id)]))
    for message in [m for m in draft.mail if wants_rollback(m)]:
        if message.kind == "act":
            started = await _acted(bench, draft, message, started=started)
        else:
            started = await _asked(bench, draft, message, started=started)
    take_acts(draft, bench.time.now())


def wants_rollback(message: Message) -> bool:
    """It asks for the rollback of a committed saga, by a program or by a plan."""
    return message.kind == "rollback" or (message.kind == "act" and message.name == Verb.ROLLBACK.value)


async def _acted(bench: Bench, draft: Draft, message: Message, *, started: bool) -> bool:
    """Take one operator's act in; whether the rollback is started by now."""
    now, record = bench.time.now(), draft.record
    id = rollback_id(record.id)
    if started:
        refuse(draft, message, f"it was rolled back already, by saga {id}", now)
        return True
    order = taken(draft, message, now)
    if order is None:
        return False
    draft.post(await rollback_start(bench.store, record, replace(message, payload=NULL)))
    draft.add(L.RollbackAsked(rollback=id, actor=order.actor, at=now))
    return True


async def _asked(bench: Bench, draft: Draft, message: Message, *, started: bool) -> bool:
    """Take one request in; whether the rollback is started by now."""
    now, record = bench.time.now(), draft.record
    if erased(record):
        refuse(draft, message, "what it did was erased", now)
        _tell_parent(draft, record, message, "erased")
        return started
    id = rollback_id(record.id)
    draft.consume(message)
    if started:
        # Whoever asks now was not the one who had it started, and would not be told of its end.
        _adopt(draft, record, message)
    else:
        draft.post(await rollback_start(bench.store, record, message))
    draft.add(L.RollbackAsked(rollback=id, actor=message.actor, message=message.id, at=now))
    return True


def _adopt(draft: Draft, record: Record, asked: Message) -> None:
    plan = loaded(asked.payload) or {}
    if plan.get("parent") is None:
        return
    rollback = rollback_id(record.id)
    draft.post(
        Message(
            id=derived_id(rollback, plan["parent"], "adopt"),
            kind="adopt",
            saga=rollback,
            name=plan.get("parent_step"),
            data=canonical({"parent": plan["parent"]}),
            actor=asked.actor,
            arrived_at=asked.arrived_at,
        )
    )


def _tell_parent(draft: Draft, record: Record, asked: Message, status: str) -> None:
    plan = loaded(asked.payload) or {}
    if plan.get("parent") is None:
        return
    rollback, parent = rollback_id(record.id), UUID(plan["parent"])
    draft.post(
        Message(
            id=derived_id(parent, rollback, "ended"),
            kind="child",
            saga=parent,
            name=plan.get("parent_step"),
            data=canonical({"child": str(rollback), "status": status}),
            arrived_at=asked.arrived_at,
        )
    )
