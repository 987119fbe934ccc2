"""From a command to its act: plan it, show it, ask what is missing, apply it.

It protects one idea: no command changes a saga but through a plan, and whoever cannot be asked (a pipe,
JSON) gets the plan and the command that applies it, and nothing is changed.
"""

import shlex
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from sagacity.cli.call import Call, Output
from sagacity.cli.failures import Exit, Stop

if TYPE_CHECKING:
    from sagacity.model.operating import Action, Actor, Plan, Verb
    from sagacity.orchestrator import Orchestrator

Target = Annotated[
    str,
    typer.Argument(metavar="REF", help="A saga's id or key, a selection's id, or - for ids on stdin."),
]
OnlyPlan = Annotated[bool, typer.Option("--plan", help="Only say what it would do, and keep the plan.")]
Reason = Annotated[
    str | None, typer.Option("--reason", metavar="TEXT", help="Why, 8 letters or more; it stands in the log.")
]
Ticket = Annotated[
    str | None, typer.Option("--ticket", metavar="ID", help="Where it is dealt with elsewhere.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do it without asking; counts as the confirmation.")]
BreakGlass = Annotated[
    bool, typer.Option("--break-glass", help="Without the second person; others must look at it then.")
]
ExpectRev = Annotated[
    int | None, typer.Option("--expect-rev", metavar="N", help="Only if the saga stands at this revision.")
]


@dataclass(frozen=True, slots=True)
class Wish:
    """What the command line said beside the verb and its arguments."""

    only_plan: bool = False
    reason: str | None = None
    ticket: str | None = None
    yes: bool = False
    break_glass: bool = False
    expect_rev: int | None = None


def actor_of(call: Call) -> "Actor":
    """Who sits at this command line: the account's name, as admin; it is recorded as such."""
    import getpass

    from sagacity.model.operating import Actor, Role

    try:
        name = call.settings.actor or getpass.getuser()
    except (OSError, KeyError):
        name = "cli"
    return Actor(id=f"local:{name}", roles=frozenset({Role.ADMIN}))


async def action_on(
    sagas: "Orchestrator", verb: "Verb", ref: str, args: Any, *, definition: str | None
) -> "Action":
    """The verb on what `ref` names: one saga, a selection, or the ids on stdin.

    Raises:
        NotFound, Conflict: as `resolve`. InputError: a line of stdin that is no id.
    """
    from sagacity.model.canonical import canonical
    from sagacity.model.operating import Action

    text = canonical(args)
    if ref == "-":
        refs = [line.strip() for line in sys.stdin.read().splitlines() if line.strip()]
        found = [await sagas.resolve(one, definition=definition) for one in refs]
        return Action(verb=verb, sagas=tuple(found), args=text)
    chosen = _id(ref)
    if chosen is not None and await sagas.store.selection(chosen) is not None:
        return Action(verb=verb, selection=chosen, args=text)
    return Action(verb=verb, sagas=(await sagas.resolve(ref, definition=definition),), args=text)


def _id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


async def carry_out(
    call: Call, sagas: "Orchestrator", action: "Action", wish: Wish, *, done: str, ref: str = ""
) -> int:
    """Plan the action and, unless only the plan is wanted or something is missing, apply it.

    `done` says of one saga what happens to it now.

    Raises:
        Stop: something is still needed (3), or nothing is possible (6). Otherwise as `plan` and `apply`.
    """
    from sagacity.errors import RefusedAct

    actor = actor_of(call)
    plan = await sagas.plan(action, actor)
    _expected(plan, wish.expect_rev)
    if wish.only_plan:
        shown(call, plan)
        _to_apply(call, plan, missing=())
        return Exit.DONE
    if len(plan.items) == 1 and plan.items[0].refusal is not None:
        raise RefusedAct(f"saga {plan.items[0].saga}: {action.verb} is not possible: {plan.items[0].refusal}")
    return await apply(call, sagas, plan, wish, done=done)


def _expected(plan: "Plan", revision: int | None) -> None:
    from sagacity.errors import Conflict, InputError

    if revision is None:
        return
    if len(plan.items) != 1:
        raise InputError("--expect-rev is for one saga")
    [item] = plan.items
    if item.revision != revision:
        raise Conflict(f"saga {item.saga} stands at revision {item.revision}, not {revision}")


async def apply(call: Call, sagas: "Orchestrator", plan: "Plan", wish: Wish, *, done: str = "") -> int:
    """Apply a plan, as far as the person said enough; ask at a terminal.

    Raises:
        Stop: something is still needed, and the plan was shown.
    """
    from sagacity.errors import NotConfirmed
    from sagacity.operating.rules import confirmation_of

    confirm = confirmation_of(plan) if wish.yes else None
    if not wish.yes and _must_ask(plan):
        confirm = _asked(call, plan)
    try:
        applied = await sagas.apply(
            plan.id,
            actor_of(call),
            reason=wish.reason,
            ticket=wish.ticket,
            confirm=confirm,
            break_glass=wish.break_glass,
        )
    except NotConfirmed as error:
        shown(call, plan, missing=error.missing)
        raise Stop(Exit.UNCONFIRMED, _how(call, plan, error.missing)) from None
    _said(call, applied, done)
    return Exit.DONE


def _must_ask(plan: "Plan") -> bool:
    """Tier 3, and what touches many, is not done on the strength of a command alone."""
    return plan.tier >= 3 or len(plan.touches) > 1


def _asked(call: Call, plan: "Plan") -> str | None:
    """What the person typed; nothing where nobody can be asked.

    Raises:
        Stop: they did not want it.
    """
    from sagacity.operating.rules import confirmation_of

    wanted = confirmation_of(plan)
    if not call.at_terminal or call.output is not Output.TABLE:
        if wanted is not None:
            return None
        shown(call, plan, missing=("confirmation",))
        raise Stop(Exit.UNCONFIRMED, _how(call, plan, ("confirmation",)))
    shown(call, plan)
    if wanted is None:
        if not typer.confirm("Do it?", err=True):
            raise Stop(Exit.UNCONFIRMED, "nothing was changed")
        return None
    typed = str(typer.prompt(f"To do it, type {wanted}", err=True, default="", show_default=False))
    if typed.strip() != wanted:
        raise Stop(Exit.UNCONFIRMED, "nothing was changed")
    return typed


# --- what is printed ------------------------------------------------------------------------------------


def shown(call: Call, plan: "Plan", *, missing: tuple[str, ...] | None = None) -> None:
    """The plan: as a report to read, or whole in JSON."""
    from sagacity.cli import shapes
    from sagacity.cli.report import report

    if call.output is Output.TABLE:
        call.text(report(plan))
        return
    facts = {**shapes.plain(plan), "plan": plan.id, "applied": False}
    if missing is not None:
        facts |= {"missing": missing, "apply_command": apply_command(call, plan, missing)}
    call.one(facts, text="", id_=plan.id)


def apply_command(call: Call, plan: "Plan", missing: tuple[str, ...]) -> str:
    """The command that applies the plan, ready to paste."""
    parts = ["sagacity", "plan", "apply", str(plan.id)]
    parts += ["--reason", "…"] if "reason" in missing else []
    parts += ["--yes"] if "confirmation" in missing or "approval" in missing else []
    parts += ["--store", call.paste_store] if call.paste_store else []
    return shlex.join(parts)


def _to_apply(call: Call, plan: "Plan", missing: tuple[str, ...]) -> None:
    from sagacity.operating.rules import asked_for

    wanted = missing or asked_for(plan.tier)
    call.say(f"nothing was changed; to do it:\n  {apply_command(call, plan, wanted)}{_page(call, plan)}")


def _page(call: Call, plan: "Plan") -> str:
    """A line with the plan's address in the console, where `SAGACITY_WEB_URL` tells it."""
    url = call.settings.web_url
    return f"\npage:  {url.rstrip('/')}/plans/{plan.id}" if url else ""


def _how(call: Call, plan: "Plan", missing: tuple[str, ...]) -> str:
    """What is still needed, and the commands for it, on stderr."""
    needs = {
        "reason": "a reason (--reason, 8 letters or more)",
        "confirmation": "a confirmation (--yes)",
        "approval": "the approval of somebody else",
    }
    lines = [f"nothing was changed: it still needs {' and '.join(needs[one] for one in missing)}"]
    tail = f" --store {shlex.quote(call.paste_store)}" if call.paste_store else ""
    if "approval" in missing:
        lines.append(f"somebody else:  sagacity plan approve {plan.id}{tail}")
    command = apply_command(call, plan, missing)
    lines.append(f"to do it:  {command}")
    if "approval" in missing:
        lines.append("if nobody can be reached, the same with --break-glass: somebody must look at it later")
    return "\n".join(lines) + _page(call, plan)


def _said(call: Call, plan: "Plan", done: str) -> None:
    """That it is on its way, and where to see what became of it."""
    touched = plan.touches
    glass = " WITHOUT a second person" if plan.break_glass else ""
    if call.output is not Output.TABLE:
        facts = {
            "plan": plan.id,
            "applied": True,
            "verb": plan.verb,
            "items": len(touched),
            "saga": touched[0].saga if len(touched) == 1 else None,
            "new": True,
        }
        call.one(facts, text="", id_=touched[0].saga if len(touched) == 1 else plan.id)
        return
    if len(touched) == 1:
        call.text((done or f"{plan.verb} is on its way to saga {touched[0].saga}") + glass)
        if page := _page(call, plan):
            call.say(page.strip())
        return
    left = len(plan.items) - len(touched)
    alone = f"; {left} left alone" if left else ""
    call.text(f"{plan.verb} is on its way to {len(touched)} sagas{glass}{alone}")
    call.say(f"what became of it:  sagacity ops {plan.id}{_page(call, plan)}")
