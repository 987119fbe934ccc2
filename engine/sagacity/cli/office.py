"""Commands of the operators' office: attention, plans, selections, what was done, and who one is."""

from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from sagacity.cli.call import Call, Output
from sagacity.cli.layout import Column
from sagacity.cli.planned import BreakGlass, Reason, Ticket, Wish, Yes, actor_of, apply, shown
from sagacity.cli.reading import Definition, Ref

if TYPE_CHECKING:
    from datetime import datetime

    from sagacity.model.operating import ActLine, AttentionGroup, ItemOutcome, Plan
    from sagacity.orchestrator import Orchestrator

Limit = Annotated[int, typer.Option("--limit", metavar="N", min=1, max=1_000, help="At most so many.")]


# --- what needs a human -------------------------------------------------------------------------------


async def attention(
    call: Call,
    *,
    rows: Annotated[bool, typer.Option("--rows", help="One line for each saga, not for each group.")] = False,
) -> int:
    """List what nothing will move by itself, the gravest first, grouped by what looks alike."""
    from sagacity.cli.failures import Exit

    async with call.orchestrator() as sagas:
        groups = await sagas.attention()
        now = await sagas.store.now()
    if rows or call.output is Output.IDS:
        pairs = [(group, item) for group in groups for item in group.items]
        if call.output in (Output.TABLE, Output.IDS):
            call.many(pairs, columns=_row_columns(now), id_=lambda p: p[1].saga or p[1].plan, empty=_NOTHING)
        else:
            items = [{"kind": g.kind, "fingerprint": g.fingerprint, **_plain(i)} for g, i in pairs]
            call.many(items, columns=[], id_=lambda item: item["saga"], empty="")
    else:
        call.many(groups, columns=_group_columns(now), id_=lambda group: group.fingerprint, empty=_NOTHING)
    return Exit.FOUND if groups else Exit.DONE


_NOTHING = "nothing needs a human"


def _plain(item: Any) -> dict[str, Any]:
    from sagacity.cli.shapes import plain

    return dict(plain(item))


def _group_columns(now: "datetime") -> list[Column]:
    from sagacity.cli.words import cut, length

    def count(group: "AttentionGroup") -> str:
        return f"{group.count}" if group.exact else f">={group.count}"

    def which(group: "AttentionGroup") -> str:
        keys = [item.key for item in group.items[:3]]
        return ", ".join(keys) + (", …" if group.count > 3 else "")

    return [
        Column(title="KIND", text=lambda group: group.kind, style=_kind_style),
        Column(title="COUNT", text=count),
        Column(title="OLDEST", text=lambda group: length(now - group.first_seen)),
        Column(title="DEFINITION", text=_definition, spare=1),
        Column(title="STATE", text=lambda group: group.state, wraps=True, spare=2),
        Column(title="WHAT", text=lambda group: cut(group.what, 160), wraps=True),
        Column(title="WHICH", text=which, wraps=True),
    ]


def _definition(group: "AttentionGroup") -> str:
    return group.definition + (f"@{group.version}" if group.version is not None else "")


def _kind_style(group: "AttentionGroup") -> str:
    return "bold red" if group.kind in ("stuck", "undo_failed", "break_glass") else "yellow"


def _row_columns(now: "datetime") -> list[Column]:
    from sagacity.cli.words import cut, length

    return [
        Column(title="KIND", text=lambda pair: pair[0].kind, style=lambda pair: _kind_style(pair[0])),
        Column(title="KEY", text=lambda pair: pair[1].key),
        Column(title="FOR", text=lambda pair: length(now - pair[1].since)),
        Column(title="DEFINITION", text=lambda pair: pair[1].definition, spare=1),
        Column(title="WHAT", text=lambda pair: cut(pair[1].detail, 160), wraps=True),
    ]


# --- plans and selections -----------------------------------------------------------------------------


async def plan(
    call: Call,
    what: Annotated[str, typer.Argument(metavar="show|apply|approve|reject", help="What to do with it.")],
    id_: Annotated[str, typer.Argument(metavar="PLAN", help="The plan's id.")],
    *,
    reason: Reason = None,
    ticket: Ticket = None,
    yes: Yes = False,
    break_glass: BreakGlass = False,
) -> int:
    """Show a plan, apply it, or be its second person."""
    from sagacity.cli.failures import Exit, Stop
    from sagacity.cli.narrowing import id_of

    if what not in ("show", "apply", "approve", "reject"):
        raise Stop(Exit.USAGE, f"sagacity: plan {what}: say show, apply, approve or reject")
    plan_id = id_of(id_, what="plan")
    async with call.orchestrator() as sagas:
        found = await sagas.plan_of(plan_id)
        if what == "show":
            shown(call, found)
            return Exit.DONE
        if what == "apply":
            wish = Wish(reason=reason, ticket=ticket, yes=yes, break_glass=break_glass)
            return await apply(call, sagas, found, wish)
        decide = sagas.approve if what == "approve" else sagas.reject
        decided = await decide(plan_id, actor_of(call))
    word = "approved" if what == "approve" else "rejected"
    call.one(decided, text=f"plan {plan_id} is {word}", id_=plan_id)
    return Exit.DONE


async def select(
    call: Call,
    query: Annotated[str, typer.Argument(metavar="QUERY", help="Such as 'type:Order status:stuck age:>1h'.")],
) -> None:
    """Resolve a query once into a stored selection; acts on it touch exactly these sagas."""
    async with call.orchestrator() as sagas:
        made = await sagas.select(query, actor_of(call))
    more = "" if made.complete else "; more match: it stops at 10,000"
    text = f"{made.id}"
    call.one(made, text=text, id_=made.id)
    if call.output is Output.TABLE:
        call.say(f"{len(made.sagas)} sagas{more}; to act on them:  sagacity retry {made.id} --plan")


# --- what was done ------------------------------------------------------------------------------------


async def ops(
    call: Call,
    id_: Annotated[str | None, typer.Argument(metavar="[PLAN]", help="One plan, item by item.")] = None,
    *,
    limit: Limit = 20,
) -> int:
    """List applied plans and what became of them; for one plan, of each saga in it."""
    from sagacity.cli.failures import Exit
    from sagacity.cli.narrowing import id_of
    from sagacity.model.operating import PlanStatus
    from sagacity.store.office import PlanFilter

    async with call.orchestrator() as sagas:
        if id_ is not None:
            plan_id = id_of(id_, what="plan")
            made = await sagas.plan_of(plan_id)
            return _items(call, made, await sagas.outcomes(plan_id))
        rows: list[dict[str, Any]] = []
        before = None
        while left := limit - len(rows):
            page = await sagas.plans(PlanFilter(status=(PlanStatus.APPLIED,), before=before, limit=left))
            rows += [await _operation(sagas, made) for made in page.plans]
            before = page.next
            if before is None:
                break
    columns = [
        Column(title="PLAN", text=lambda row: str(row["plan"])),
        Column(title="VERB", text=lambda row: row["verb"]),
        Column(title="WHEN", text=lambda row: row["when"], spare=2),
        Column(title="BY", text=lambda row: row["by"], spare=3),
        Column(title="BECAME", text=_became),
        Column(title="REASON", text=lambda row: row["reason"] or "", wraps=True, spare=1),
    ]
    call.many(rows, columns=columns, id_=lambda row: row["plan"], empty="no plan was applied yet")
    return Exit.DONE


async def _operation(sagas: "Orchestrator", made: "Plan") -> dict[str, Any]:
    from collections import Counter

    from sagacity.cli.words import clock

    states = Counter(outcome.state for outcome in await sagas.outcomes(made.id))
    return {
        "plan": made.id,
        "verb": made.verb.value,
        "when": clock(made.applied_at) if made.applied_at else "",
        "by": made.applied_by,
        "approver": made.approved_by,
        "break_glass": made.break_glass,
        "reason": made.reason,
        "ticket": made.ticket,
        "done": states["done"],
        "refused": states["refused"],
        "pending": states["pending"],
    }


def _became(row: dict[str, Any]) -> str:
    parts = [f"{row[state]} {state}" for state in ("done", "refused", "pending") if row[state]]
    return ", ".join(parts) or "nothing"


def _items(call: Call, made: "Plan", outcomes: "list[ItemOutcome]") -> int:
    from sagacity.cli.failures import Exit
    from sagacity.cli.report import outcome_word
    from sagacity.cli.words import cut

    keys = {item.saga: item for item in made.items}
    columns = [
        Column(title="KEY", text=lambda one: keys[one.saga].key),
        Column(title="DEFINITION", text=lambda one: keys[one.saga].definition, spare=1),
        Column(title="BECAME", text=lambda one: one.state, style=outcome_word),
        Column(title="WHAT", text=lambda one: cut(one.detail or "", 160), wraps=True),
    ]
    call.many(outcomes, columns=columns, id_=lambda one: one.saga, empty="it names no saga")
    return Exit.REJECTED if any(one.state == "refused" for one in outcomes) else Exit.DONE


async def audit(
    call: Call,
    *,
    by: Annotated[str | None, typer.Option("--actor", metavar="ID", help="Only what this actor did.")] = None,
    limit: Limit = 50,
) -> None:
    """List what operators did and were refused, newest first, from the log."""
    from sagacity.store.office import ActsFilter

    async with call.orchestrator() as sagas:
        lines = await sagas.acts(ActsFilter(limit=limit if by is None else 1_000))
        names = await sagas.statuses(sorted({line.saga for line in lines}))
    rows = [_audited(line, names) for line in lines]
    rows = [row for row in rows if by is None or row["actor"] == by][:limit]
    columns = [
        Column(title="WHEN", text=lambda row: row["when"]),
        Column(title="WHO", text=lambda row: row["actor"] or ""),
        Column(title="ACT", text=lambda row: row["act"], style=lambda row: "" if row["done"] else "bold red"),
        Column(title="KEY", text=lambda row: row["key"]),
        Column(title="WHY", text=lambda row: row["said"], wraps=True),
    ]
    call.many(rows, columns=columns, id_=lambda row: row["saga"], empty="nobody has acted yet")


def _audited(line: "ActLine", names: dict[UUID, Any]) -> dict[str, Any]:
    from sagacity.cli.report import act_of
    from sagacity.cli.words import clock

    said, done = act_of(line), line.kind == "act"
    glass = " (no second person)" if said.get("break_glass") else ""
    return {
        "at": line.at,
        "when": clock(line.at),
        "actor": said.get("actor"),
        "approver": said.get("approver"),
        "act": str(said.get("verb") or said.get("act") or "(erased)") + ("" if done else " refused"),
        "done": done,
        "saga": line.saga,
        "key": names[line.saga].key if line.saga in names else str(line.saga),
        "plan": said.get("plan"),
        "ticket": said.get("ticket"),
        "before": said.get("before"),
        "after": said.get("after"),
        "said": str((said.get("reason") if done else said.get("why")) or "") + glass,
    }


# --- who one is, and what one may ---------------------------------------------------------------------


def whoami(call: Call) -> None:
    """Say as whom this command line acts, and with which roles."""
    actor = actor_of(call)
    roles = ", ".join(sorted(actor.roles))
    facts = {"id": actor.id, "kind": actor.kind, "roles": sorted(actor.roles), "definitions": None}
    text = f"{actor.id}, a {actor.kind} with the role {roles} for all definitions"
    call.one(facts, text=text, id_=actor.id)


async def can(
    call: Call,
    verb: Annotated[str, typer.Argument(metavar="VERB", help="Such as retry, skip or rollback.")],
    ref: Ref,
    *,
    args: Annotated[
        str | None, typer.Option("--args", metavar="JSON", help="What the verb is given, as an object.")
    ] = None,
    definition: Definition = None,
) -> int:
    """Say whether a verb is possible on a saga now, and what it would take. Changes nothing."""
    from sagacity.cli.acting import json_given
    from sagacity.cli.failures import Exit, Stop
    from sagacity.cli.projects import project_or_none
    from sagacity.model.operating import Verb

    known = {one.value: one for one in Verb}
    if verb not in known:
        raise Stop(Exit.USAGE, f"sagacity: can {verb}: there are {', '.join(known)}")
    given = json_given(args) if args is not None else {}
    async with call.orchestrator(project_or_none()) as sagas:
        saga = await sagas.resolve(ref, definition=definition)
        answer = await sagas.may(known[verb], saga, actor_of(call), given)
    if answer.refusal is not None:
        text = f"no: {answer.refusal}"
    else:
        takes = " and ".join(answer.asked) or "nothing more"
        text = f"yes: tier {answer.tier}, asks for {takes}"
    call.one(answer, text=text, id_=saga)
    return Exit.REFUSED if answer.refusal is not None else Exit.DONE


async def acknowledged(call: Call, ref: str) -> bool:
    """Whether `ref` is a plan that was applied by breaking the glass; then it is acknowledged now."""
    try:
        plan_id = UUID(ref)
    except ValueError:
        return False
    async with call.orchestrator() as sagas:
        if await sagas.store.plan(plan_id) is None:
            return False
        made = await sagas.acknowledge(plan_id, actor_of(call))
    call.one(made, text=f"plan {plan_id} is acknowledged", id_=plan_id)
    return True
