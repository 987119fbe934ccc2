"""What becomes of a plan: approved, rejected, applied, and what its items came to.

Whatever is asked for is asked for here, against what is stored, and the store compares once more while
it writes: of two who press at once one has it, and of a plan that went stale nothing is done.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from uuid import UUID

import orjson

from sagacity.decide.orders import ordered
from sagacity.errors import Conflict, Forbidden, NotFound, PlanClosed, RefusedAct, StalePlan
from sagacity.ids import derived_id
from sagacity.model.canonical import canonical, loaded
from sagacity.model.operating import (
    GLASS,
    TOP_TIER,
    ActLine,
    Actor,
    ItemOutcome,
    Plan,
    PlanItem,
    PlanStatus,
    Role,
    Verb,
)
from sagacity.model.unit import Message
from sagacity.operating import persons, rules
from sagacity.operating.planning import sentence
from sagacity.store.base import Store
from sagacity.store.office import Moved

_USABLE = (PlanStatus.OPEN, PlanStatus.APPROVED)


def message_id(plan: UUID, saga: UUID) -> UUID:
    """The id of the one message that a plan leaves for a saga."""
    return derived_id("act", plan, saga)


async def plan_of(store: Store, plan: UUID) -> Plan:
    """The plan; `expired` where its time has run out.

    Raises:
        NotFound: there is none.
    """
    found = await store.plan(plan)
    if found is None:
        raise NotFound(f"no plan {plan}")
    return seen_at(found, await store.now())


def seen_at(plan: Plan, now: datetime) -> Plan:
    """The plan as it counts now: one that was not used in time has expired."""
    late = plan.status in _USABLE and plan.expires_at <= now
    return replace(plan, status=PlanStatus.EXPIRED) if late else plan


def check_usable(plan: Plan) -> None:
    """That the plan can still be decided about.

    Raises:
        PlanClosed: it cannot.
    """
    match plan.status:
        case PlanStatus.APPLIED:
            raise PlanClosed(f"plan {plan.id} was applied by {plan.applied_by} at {plan.applied_at}")
        case PlanStatus.REJECTED:
            raise PlanClosed(f"plan {plan.id} was rejected by {plan.rejected_by}: make a new one")
        case PlanStatus.EXPIRED:
            raise PlanClosed(
                f"plan {plan.id} expired at {plan.expires_at:%Y-%m-%d %H:%M:%SZ}: make a new one"
            )
        case _:
            return


# --- the second person --------------------------------------------------------------------------------


async def approve(store: Store, id: UUID, actor: Actor, *, hash: str | None) -> Plan:
    """See the facade."""
    plan = await plan_of(store, id)
    rules.check_second(actor, plan)
    await persons.check_other(store, actor.id, plan.made_by, plan=id, doing="approve")
    if plan.status is PlanStatus.APPROVED and plan.approved_by == actor.id:
        return plan
    check_usable(plan)
    if plan.tier < TOP_TIER:
        raise Conflict(f"plan {id} (tier {plan.tier}) needs no approval: apply it")
    if hash is not None and hash != plan.hash:
        raise Conflict(f"what was shown is not what plan {id} holds: look at it again")
    if plan.status is PlanStatus.APPROVED:
        raise Conflict(f"plan {id} was approved by {plan.approved_by} already")
    approved = replace(plan, status=PlanStatus.APPROVED, approved_by=actor.id)
    return await _moved(store, approved, expect=(PlanStatus.OPEN,))


async def reject(store: Store, id: UUID, actor: Actor) -> Plan:
    """See the facade."""
    plan = await plan_of(store, id)
    if actor.id != plan.made_by:
        rules.check_second(actor, plan)
    check_usable(plan)
    rejected = replace(plan, status=PlanStatus.REJECTED, rejected_by=actor.id)
    return await _moved(store, rejected, expect=_USABLE)


async def acknowledge(store: Store, id: UUID, actor: Actor) -> Plan:
    """See the facade."""
    plan = await plan_of(store, id)
    if not plan.break_glass:
        raise Conflict(f"plan {id} was not applied by breaking the glass: there is nothing to acknowledge")
    if actor.kind != "person" or actor.id in (plan.applied_by, plan.made_by):
        raise Forbidden(
            f"{actor.id} cannot acknowledge what they did themselves: somebody else must look at it"
        )
    for earlier in (plan.applied_by, plan.made_by):
        await persons.check_other(store, actor.id, earlier, plan=id, doing="acknowledge")
    rules.check_role(actor, Role.OPERATOR, (item.definition for item in plan.touches), "acknowledge acts")
    if plan.acknowledged_by is not None:
        return plan
    seen = replace(plan, acknowledged_by=actor.id)
    await store.put([_looked_at(plan, item, actor, await store.now()) for item in plan.touches])
    return await _moved(store, seen, expect=(PlanStatus.APPLIED,), unexpired=False)


def _looked_at(plan: Plan, item: PlanItem, actor: Actor, now: datetime) -> Message:
    """Tells the saga that somebody else has looked. Put before the plan moves: put again, it is a repeat."""
    return Message(
        id=derived_id("acknowledged", plan.id, item.saga),
        kind="act",
        saga=item.saga,
        name=Verb.ACK,
        data=ordered(Verb.ACK, {"kind": GLASS, "plan": str(plan.id)}, plan=plan.id),
        actor=actor.id,
        arrived_at=now,
    )


async def _moved(store: Store, plan: Plan, *, expect: tuple[PlanStatus, ...], unexpired: bool = True) -> Plan:
    if not await store.move_plan(plan, expect=expect, unexpired=unexpired):
        check_usable(await plan_of(store, plan.id))
        raise Conflict(f"somebody else decided about plan {plan.id} just now: look at it again")
    return plan


# --- apply --------------------------------------------------------------------------------------------


async def apply(
    store: Store,
    id: UUID,
    actor: Actor,
    *,
    reason: str | None,
    ticket: str | None,
    confirm: str | None,
    break_glass: bool,
) -> Plan:
    """See the facade."""
    plan = await plan_of(store, id)
    if plan.status is PlanStatus.APPLIED and plan.applied_by == actor.id:
        return plan
    check_usable(plan)
    rules.check_role(
        actor,
        rules.role_for(plan.tier),
        (item.definition for item in plan.touches),
        f"apply a plan of tier {plan.tier}",
    )
    if not plan.touches:
        refusals = "; ".join(sorted({str(item.refusal) for item in plan.items})[:3])
        raise RefusedAct(f"plan {id} can do nothing: {refusals or 'it names no saga'}")
    _check_storable(reason, ticket)
    rules.check_confirmed(plan, reason=reason, confirm=confirm, break_glass=break_glass)
    needs_second = _lacks_second(plan, actor)
    await persons.check_other(store, actor.id, plan.approved_by, plan=id, doing="apply")
    applied = replace(
        plan,
        status=PlanStatus.APPLIED,
        reason=(reason or "").strip() or None,
        ticket=(ticket or "").strip() or None,
        applied_at=await store.now(),
        applied_by=actor.id,
        break_glass=needs_second,
    )
    return await _applied(store, applied, expect=plan.status)


def _lacks_second(plan: Plan, actor: Actor) -> bool:
    """It is of the top tier, and nobody has approved it. Raises Forbidden: who applies it would be alone."""
    if plan.approved_by == actor.id:
        raise Forbidden(f"{actor.id} approved plan {plan.id}: somebody else must apply it")
    lacks = plan.tier >= TOP_TIER and plan.status is PlanStatus.OPEN
    if lacks and actor.kind != "person":
        raise Forbidden(f"{actor.id} is a {actor.kind}: only a person may do without the second one")
    return lacks


def _check_storable(reason: str | None, ticket: str | None) -> None:
    """Refuse what no database takes, before anything is stored. Raises InputError."""
    canonical(reason, limit=rules.REASON_UPTO)
    canonical(ticket, limit=rules.REASON_UPTO)


async def _applied(store: Store, plan: Plan, *, expect: PlanStatus) -> Plan:
    messages = [_message(plan, item) for item in plan.touches]
    # Only where it stands as it was looked at: an approval that came or went meanwhile is asked for again.
    moved = await store.apply_plan(plan, messages, expect=(expect,))
    if moved is None:
        now = await plan_of(store, plan.id)
        if now.status is PlanStatus.APPLIED and now.applied_by == plan.applied_by:
            return now
        check_usable(now)
        raise Conflict(f"somebody else decided about plan {plan.id} just now: look at it again")
    if moved:
        raise StalePlan(plan.id, await _told(store, plan, moved))
    return plan


async def _told(store: Store, plan: Plan, moved: Iterable[Moved]) -> list[str]:
    """What moved, one sentence each."""
    items = {item.saga: item for item in plan.items}
    now = await store.statuses([one.saga for one in moved])
    told = []
    for one in moved:
        item = items[one.saga]
        where = sentence(now[one.saga]) if one.saga in now else "gone"
        at = "" if one.revision is None else f"at {one.revision}, "
        told.append(
            f"saga {one.saga} ({item.key}) stood at revision {one.planned} ({item.before}); it is {at}{where}"
        )
    return told


def _message(plan: Plan, item: PlanItem) -> Message:
    """What the worker is handed. A signal for a saga that has not begun lies there until it is awaited."""
    args = loaded(plan.args) or {}
    early = item.revision == 0 and plan.verb is Verb.SIGNAL
    order = ordered(
        plan.verb,
        None if early else args,
        plan=plan.id,
        # A saga at work moves all the time: a pause stops it wherever it is by then.
        revision=None if plan.verb is Verb.PAUSE else item.revision,
        reason=plan.reason,
        approver=plan.approved_by,
        ticket=plan.ticket,
        break_glass=plan.break_glass,
    )
    act = Message(
        id=message_id(plan.id, item.saga),
        kind="act",
        saga=item.saga,
        name=plan.verb,
        data=order,
        actor=plan.applied_by,
        arrived_at=plan.applied_at or plan.made_at,
    )
    if not early:
        return act
    return replace(act, kind="signal", name=args["name"], data=canonical(args.get("data")), payload=order)


# --- what came of it ------------------------------------------------------------------------------------


async def outcomes(store: Store, id: UUID, *, first: int | None = None) -> list[ItemOutcome]:
    """See the facade."""
    plan = await plan_of(store, id)
    plan = plan if first is None else replace(plan, items=plan.items[:first])
    touched = [item.saga for item in plan.touches] if plan.status is PlanStatus.APPLIED else []
    lines = {str(_said(line).get("message")): line for line in await store.acts_of(touched)}
    found = []
    for item in plan.items:
        if item.refusal is not None:
            found.append(ItemOutcome(saga=item.saga, state="refused", detail=item.refusal))
        else:
            found.append(_outcome(item.saga, lines.get(str(message_id(id, item.saga)))))
    return found


def _said(line: ActLine) -> dict[str, object]:
    return {} if line.data is None else dict(orjson.loads(line.data))


def _outcome(saga: UUID, line: ActLine | None) -> ItemOutcome:
    if line is None:
        return ItemOutcome(saga=saga, state="pending")
    said = _said(line)
    if line.kind == "act":
        return ItemOutcome(saga=saga, state="done", detail=str(said.get("after") or "") or None)
    return ItemOutcome(saga=saga, state="refused", detail=str(said.get("why") or "") or None)
