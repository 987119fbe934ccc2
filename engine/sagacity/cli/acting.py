"""Commands that tell sagas something: start, signal, rollback. The other verbs are in `cli/verbs.py`.

Each leaves a message in the inbox, with who sent it and why; a worker carries it out.
"""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from sagacity.cli.call import Call, Output
from sagacity.cli.layout import Column
from sagacity.cli.planned import (
    BreakGlass,
    ExpectRev,
    OnlyPlan,
    Reason,
    Target,
    Ticket,
    Wish,
    Yes,
    action_on,
    actor_of,
    carry_out,
)
from sagacity.cli.reading import Definition
from sagacity.errors import RefusedAct

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from sagacity.model.views import RollbackItem, RollbackPreview, SagaView
    from sagacity.orchestrator import Orchestrator


async def start(
    call: Call,
    definition: Annotated[str, typer.Argument(metavar="FLOW", help="A flow's name, or MODULE:CLASS.")],
    *,
    input_: Annotated[
        str, typer.Option("--input", "-i", metavar="JSON", help="The input: JSON, @FILE, or - for stdin.")
    ],
    key: Annotated[
        str | None,
        typer.Option("--key", metavar="KEY", help="Its business key; default: what the flow declares."),
    ] = None,
    ignore_unknown: Annotated[
        bool, typer.Option("--ignore-unknown", help="Leave out fields that the flow does not know.")
    ] = False,
) -> None:
    """Start one saga; a second start with the same key and input is the same saga."""
    from sagacity.cli.projects import project_here, wanted_flow

    project = project_here(definition)
    name = wanted_flow(project, definition).name
    async with call.orchestrator(project, makes=True) as sagas:
        handle = await sagas.start(
            name, json_given(input_), key=key, ignore_unknown=ignore_unknown, actor=actor_of(call).id
        )
        served = await is_served(sagas, name)
    facts = {"id": handle.id, "definition": handle.definition, "key": handle.key, "new": handle.new}
    verb = "started" if handle.new else "was started already"
    call.one(facts, text=f"{handle.definition} {handle.key} {verb} as saga {handle.id}", id_=handle.id)
    if not served:
        call.say(f"no worker runs {name} now; it is stored and waits: start one with `sagacity worker`")


async def is_served(sagas: "Orchestrator", definition: str) -> bool:
    """Whether some living worker runs `definition`."""
    return any(definition in worker.definitions for worker in await sagas.store.workers())


async def signal(
    call: Call,
    ref: Target,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The signal, or the approval.")],
    *,
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="JSON", help="What it carries: JSON, @FILE, or - for stdin."),
    ] = None,
    id_: Annotated[
        str | None, typer.Option("--id", metavar="UUID", help="Its id: sent twice, it counts once.")
    ] = None,
    reason: Reason = None,
    ticket: Ticket = None,
    only_plan: OnlyPlan = False,
    yes: Yes = False,
    expect_rev: ExpectRev = None,
    definition: Definition = None,
) -> int:
    """Tell a saga that something happened outside; what comes early is kept until it is awaited."""
    from sagacity.cli.narrowing import id_of
    from sagacity.cli.projects import project_or_none
    from sagacity.model.operating import Verb

    message = id_of(id_, what="--id") if id_ is not None else None
    carried = json_given(data) if data is not None else None
    wish = Wish(only_plan=only_plan, reason=reason, ticket=ticket, yes=yes, expect_rev=expect_rev)
    async with call.orchestrator(project_or_none()) as sagas:
        args = {"name": name, "data": carried}
        action = await action_on(sagas, Verb.SIGNAL, ref, args, definition=definition)
        if len(action.sagas) != 1 or only_plan:
            return await carry_out(call, sagas, action, wish, done="")
        view = await sagas.show(action.sagas[0])
        told = _told_at_once(view, name)
        if message is None and _awaits(view, name):
            return await carry_out(call, sagas, action, wish, done=told)
        # A plan says what happens now; of what is kept for later there is nothing to say.
        receipt = await sagas.signal(view.id, name, carried, id=message, actor=actor_of(call).id)
    _received(call, view.id, new=receipt.new, done=told)
    return 0


def _awaits(view: "SagaView", name: str) -> bool:
    return any(wait.signal == name for wait in view.waits)


def _told_at_once(view: "SagaView", name: str) -> str:
    """What becomes of a signal, as far as it is known now.

    Raises:
        RefusedAct: the saga is over; a person is told at once what would be refused later, in the log.
    """
    if view.status.final:
        raise RefusedAct(f"saga {view.id} takes no signal {name!r} any more: it is {view.status.value}")
    awaited = sorted({wait.signal for wait in view.waits if wait.signal})
    if name in awaited:
        return f"{name} is on its way to saga {view.id}"
    now = f"it waits for {' or '.join(awaited)} now" if awaited else f"it is {view.status.value} now"
    return f"{name} is kept for saga {view.id} until it is awaited, if ever: {now}"


async def rollback(
    call: Call,
    ref: Target,
    *,
    preview: Annotated[bool, typer.Option("--preview", help="Only say what it would do.")] = False,
    accept_remaining: Annotated[
        bool, typer.Option("--accept-remaining", help="Undo what can be undone and leave the rest standing.")
    ] = False,
    reason: Reason = None,
    ticket: Ticket = None,
    only_plan: OnlyPlan = False,
    yes: Yes = False,
    break_glass: BreakGlass = False,
    expect_rev: ExpectRev = None,
    definition: Definition = None,
) -> int:
    """Roll a committed saga back, by a new saga linked to it."""
    from sagacity.cli.failures import Exit
    from sagacity.cli.projects import project_here
    from sagacity.model.operating import Verb

    async with call.orchestrator(project_here()) as sagas:
        if preview:
            _print_preview(call, await sagas.preview(await sagas.resolve(ref, definition=definition)))
            return Exit.DONE
        args = {"accept_remaining": True} if accept_remaining else {}
        action = await action_on(sagas, Verb.ROLLBACK, ref, args, definition=definition)
        wish = Wish(only_plan, reason, ticket, yes, break_glass, expect_rev)
        return await carry_out(call, sagas, action, wish, done=_rolls_back(action.sagas))


def _rolls_back(sagas: "Sequence[UUID]") -> str:
    from sagacity.runtime.rollbacks import rollback_id

    return f"saga {rollback_id(sagas[0])} rolls back saga {sagas[0]}" if len(sagas) == 1 else ""


def _print_preview(call: Call, plan: "RollbackPreview") -> None:
    if call.output is not Output.TABLE:
        call.one(plan, text="", id_=plan.saga)
        return
    columns = [
        Column(title="WHAT", text=lambda item: item.what),
        Column(title="HOW", text=lambda item: item.how, style=_how_mark),
        Column(title="CHANGED SINCE", text=lambda item: "yes" if item.changed_since else ""),
        Column(title="DETAIL", text=lambda item: item.detail, wraps=True),
    ]
    call.many(plan.items, columns=columns, id_=lambda item: item.what, empty="nothing to undo")
    call.say("all of it can be undone" if plan.possible else "NOT all of it can be undone")


def _how_mark(item: "RollbackItem") -> str:
    return {"exact": "green", "counter-action": "yellow"}.get(item.how, "bold red")


def _received(call: Call, saga: "UUID", *, new: bool, done: str) -> None:
    text = done if new else "that was received before: nothing changed"
    call.one({"saga": saga, "new": new}, text=text, id_=saga)


def json_given(given: str) -> Any:
    """JSON given as text, as `@FILE`, or as `-` for stdin; numbers exact."""
    import sys
    from pathlib import Path

    from sagacity.model.canonical import parsed

    if given == "-":
        return parsed(sys.stdin.buffer.read())
    if given.startswith("@"):
        return parsed(Path(given[1:]).read_bytes())
    return parsed(given)
