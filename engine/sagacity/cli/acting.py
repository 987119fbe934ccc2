"""Commands that act on sagas: start, signal, cancel, retry, rollback.

Each leaves a message in the inbox, with who sent it and why; a worker carries it out. What
cannot be taken back is previewed and needs a yes: from a person, or as `--yes`.
"""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from sagacity.cli.call import Call, Output
from sagacity.cli.layout import Column
from sagacity.cli.reading import Definition, Ref
from sagacity.errors import RefusedAct

if TYPE_CHECKING:
    from uuid import UUID

    from sagacity.model.views import RollbackItem, RollbackPreview, SagaView
    from sagacity.orchestrator import Orchestrator

Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it stands in the log.")]


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
            name, _json(input_), key=key, ignore_unknown=ignore_unknown, actor=_actor(call)
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
    ref: Ref,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The signal, or the approval.")],
    *,
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="JSON", help="What it carries: JSON, @FILE, or - for stdin."),
    ] = None,
    id_: Annotated[
        str | None, typer.Option("--id", metavar="UUID", help="Its id: sent twice, it counts once.")
    ] = None,
    definition: Definition = None,
) -> None:
    """Tell a saga that something happened outside."""
    from sagacity.cli.narrowing import id_of

    message = id_of(id_, what="--id") if id_ is not None else None
    carried = _json(data) if data is not None else None
    async with call.orchestrator() as sagas:
        saga = await sagas.resolve(ref, definition=definition)
        told = _told_at_once(await sagas.show(saga), name)
        receipt = await sagas.signal(saga, name, carried, id=message, actor=_actor(call))
    _received(call, saga, new=receipt.new, done=told)


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


async def cancel(call: Call, ref: Ref, *, reason: Reason, definition: Definition = None) -> None:
    """Ask a saga to go back: what it did is made good, in reverse order."""
    async with call.orchestrator() as sagas:
        saga = await sagas.resolve(ref, definition=definition)
        receipt = await sagas.cancel(saga, reason=_said(reason), actor=_actor(call))
    _received(call, saga, new=receipt.new, done=f"saga {saga} is asked to go back")


async def retry(
    call: Call,
    ref: Ref,
    *,
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="TEXT", help="Why; it stands in the log.")
    ] = None,
    definition: Definition = None,
) -> None:
    """Send a stuck saga, or one that waits for its next try, on at once."""
    async with call.orchestrator() as sagas:
        saga = await sagas.resolve(ref, definition=definition)
        receipt = await sagas.retry(saga, reason=reason, actor=_actor(call))
    _received(call, saga, new=receipt.new, done=f"saga {saga} is sent on")


async def rollback(
    call: Call,
    ref: Ref,
    *,
    preview: Annotated[bool, typer.Option("--preview", help="Only say what it would do.")] = False,
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="TEXT", help="Why; it stands in the log.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
    accept_remaining: Annotated[
        bool, typer.Option("--accept-remaining", help="Undo what can be undone and leave the rest standing.")
    ] = False,
    definition: Definition = None,
) -> int:
    """Roll a committed saga back, by a new saga linked to it."""
    from sagacity.cli.failures import Exit, Stop
    from sagacity.cli.projects import project_here

    if not preview and not (reason or "").strip():
        raise Stop(Exit.USAGE, "sagacity: a rollback needs --reason TEXT (or --preview, to only look)")
    async with call.orchestrator(project_here()) as sagas:
        saga = await sagas.resolve(ref, definition=definition)
        plan = await sagas.preview(saga)
        if preview:
            _print_preview(call, plan)
            return Exit.DONE
        if not yes:
            _confirm(call, plan, ref)
        handle = await sagas.rollback(
            saga, reason=str(reason), actor=_actor(call), accept_remaining=accept_remaining
        )
    facts = {"id": handle.id, "rolls_back": saga, "new": handle.new}
    call.one(facts, text=f"saga {handle.id} rolls back saga {saga}", id_=handle.id)
    return Exit.DONE


def _confirm(call: Call, plan: "RollbackPreview", ref: str) -> None:
    """Show what would be done and wait for a yes; without a terminal nothing is done."""
    from sagacity.cli.failures import Exit, Stop

    if not call.at_terminal or call.output is not Output.TABLE:
        _print_preview(call, plan)
        raise Stop(
            Exit.UNCONFIRMED, f"nothing was changed; to do it: sagacity rollback {ref} --reason '…' --yes"
        )
    _print_preview(call, plan)
    if not typer.confirm("Roll it back?", err=True):
        raise Stop(Exit.UNCONFIRMED, "nothing was changed")


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


def _said(reason: str) -> str:
    from sagacity.cli.failures import Exit, Stop

    if not reason.strip():
        raise Stop(Exit.USAGE, "sagacity: --reason needs a text: it stands in the log")
    return reason.strip()


def _actor(call: Call) -> str:
    """Who acts: `SAGACITY_ACTOR`, else the account's name."""
    import getpass

    try:
        return call.settings.actor or getpass.getuser()
    except (OSError, KeyError):
        return "cli"


def _json(given: str) -> Any:
    """JSON given as text, as `@FILE`, or as `-` for stdin; numbers exact."""
    import sys
    from pathlib import Path

    from sagacity.model.canonical import parsed

    if given == "-":
        return parsed(sys.stdin.buffer.read())
    if given.startswith("@"):
        return parsed(Path(given[1:]).read_bytes())
    return parsed(given)
