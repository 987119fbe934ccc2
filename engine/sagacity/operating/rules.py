"""Who may do what, and what it takes: tiers, roles, reasons, confirmations, the second person. Pure."""

import hashlib
from collections.abc import Iterable, Sequence

from sagacity.errors import Forbidden, NotConfirmed
from sagacity.model.canonical import Json, canonical
from sagacity.model.operating import (
    BULK_FROM,
    REASON_FROM,
    TIER,
    TOP_TIER,
    Actor,
    Plan,
    PlanItem,
    PlanStatus,
    Role,
    Verb,
)

REASON_UPTO = 2_000
"""Characters a reason may have."""


def tier_of(verb: Verb, touched: int) -> int:
    """The tier of a plan that touches so many sagas: a bulk counts one higher, and at least 2."""
    if touched <= BULK_FROM:
        return TIER[verb]
    return min(max(TIER[verb] + 1, 2), TOP_TIER)


def role_for(tier: int) -> Role:
    """The role that applying takes."""
    if tier <= 0:
        return Role.VIEWER
    return Role.SENIOR if tier >= TOP_TIER else Role.OPERATOR


def check_role(actor: Actor, role: Role, definitions: Iterable[str], doing: str) -> None:
    """That the actor has `role` for each of `definitions`.

    Raises:
        Forbidden: they have not; the message names the role and the definition.
    """
    if not actor.may(role):
        raise Forbidden(f"{actor.id} may not {doing}: that takes the role {role}")
    for definition in sorted(set(definitions)):
        if not actor.may(role, definition):
            raise Forbidden(f"{actor.id} may not {doing} of {definition}: their roles do not hold for it")


def hash_of(verb: Verb, args: Json, tier: int, items: Sequence[PlanItem]) -> str:
    """What an approval is bound to."""
    text = canonical({"verb": verb, "args": args, "tier": tier, "items": items}, limit=None)
    return hashlib.sha256(text.encode()).hexdigest()


def confirmation_of(plan: Plan) -> str | None:
    """What is to be typed before it is applied: the business key, or how many; None: nothing."""
    if plan.tier < TOP_TIER:
        return None
    touched = plan.touches
    return touched[0].key if len(touched) == 1 else str(len(touched))


def asked_for(tier: int) -> tuple[str, ...]:
    """What a tier asks for beside an accepted plan."""
    asked = ("reason",) if tier >= 2 else ()
    return (*asked, "confirmation", "approval") if tier >= TOP_TIER else asked


def check_confirmed(plan: Plan, *, reason: str | None, confirm: str | None, break_glass: bool) -> None:
    """That everything is there that the plan's tier asks for.

    Raises:
        NotConfirmed: all that is missing, at once.
    """
    wanted = confirmation_of(plan)
    lacks = {
        "reason": len((reason or "").strip()) < REASON_FROM,
        "confirmation": (confirm or "").strip() != wanted,
        "approval": plan.status is not PlanStatus.APPROVED and not break_glass,
    }
    missing = [name for name in asked_for(plan.tier) if lacks[name]]
    if not missing:
        return
    said = {
        "reason": f"a reason of at least {REASON_FROM} characters",
        "confirmation": f"{wanted!r}, typed as confirmation",
        "approval": f"the approval of a second person (not {plan.made_by})",
    }
    parts = "; ".join(said[name] for name in missing)
    raise NotConfirmed(
        plan.id, missing, f"plan {plan.id} (tier {plan.tier}) still needs {parts}", confirmation=wanted
    )


def check_second(actor: Actor, plan: Plan) -> None:
    """That the actor may be the plan's second person.

    Raises:
        Forbidden: it is their own plan, they are no person, or they have not the role.
    """
    if actor.kind != "person":
        raise Forbidden(f"{actor.id} is a {actor.kind}: only a person may approve")
    if actor.id == plan.made_by:
        raise Forbidden(f"{actor.id} made plan {plan.id}: somebody else must approve it")
    check_role(actor, Role.APPROVER, (item.definition for item in plan.touches), "approve acts")
