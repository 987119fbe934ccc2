"""Commands that only look: show, list, log, object, locks, diagram.

None of them changes anything, needs the flows' code or asks a question.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from sagacity.cli.call import Call, LaneName, LaneOption, Output
from sagacity.cli.layout import Column, hanging, json_lines, screen_width

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sagacity.definition.diagram import Form
    from sagacity.model.views import LockView, ObjectView, SagaSummary
    from sagacity.orchestrator import Orchestrator
    from sagacity.store.base import Filter

Ref = Annotated[str, typer.Argument(metavar="REF", help="A saga's id or its business key.")]
Definition = Annotated[
    str | None,
    typer.Option("--definition", "-d", metavar="NAME", help="Whose key REF is, where several have it."),
]


async def show(
    call: Call, ref: Ref, *, definition: Definition = None, lane: LaneOption = LaneName.LIVE
) -> None:
    """Show one saga: why it is where it is, what comes next, and what may be done about it."""
    from sagacity.cli.show import Scene, screen

    call.lane = lane
    async with call.orchestrator() as sagas:
        view = await sagas.show(await sagas.resolve(ref, definition=definition))
        if call.output is not Output.TABLE:
            call.one(view, text="", id_=view.id)
            return
        scene = Scene(
            view=view,
            history=await sagas.history(view.id),
            queues=[place for held in view.locks for place in await sagas.locks(object=held.object)],
            now=await sagas.store.now(),
            store=call.paste_store,
            chain=await sagas.waits_for(view.id) if view.waits_for == "lock" else (),
        )
    call.text(screen(scene))


async def list_(
    call: Call,
    *,
    query: Annotated[
        str | None,
        typer.Option("--query", "-q", metavar="QUERY", help="Such as 'type:Order waits:lock age:>1h'."),
    ] = None,
    status: Annotated[
        list[str] | None,
        typer.Option("--status", "-s", metavar="STATUS", help="Only these; may be repeated."),
    ] = None,
    definition: Annotated[
        str | None, typer.Option("--definition", "-d", metavar="NAME", help="Only sagas of this flow.")
    ] = None,
    key: Annotated[str | None, typer.Option("--key", metavar="KEY", help="Only this business key.")] = None,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=1, max=10_000, help="At most so many.")
    ] = 50,
    before: Annotated[
        str | None, typer.Option("--before", metavar="ID", help="Go on below this id (see `next` in JSON).")
    ] = None,
    lane: LaneOption = LaneName.LIVE,
) -> None:
    """List sagas, newest first."""
    from sagacity.cli.failures import Exit, Stop
    from sagacity.cli.narrowing import narrowed, next_cursor

    if query is not None and (status or definition or key):
        raise Stop(Exit.USAGE, "sagacity: give either --query or --status, --definition and --key")
    call.lane = lane
    filter_ = narrowed(status=status or (), definition=definition, key=key, before=before, limit=limit)
    async with call.orchestrator() as sagas:
        found = await _found(sagas, filter_, query)
        now = await sagas.store.now()
    after = next_cursor(found, limit=limit)
    call.many(found, columns=_columns(now), id_=lambda saga: saga.id, empty="no sagas", after=after)
    if after and call.output is Output.TABLE:
        call.say(f"there are more: --before {after}")


async def _found(sagas: "Orchestrator", narrowed: "Filter", query: str | None) -> "Sequence[SagaSummary]":
    if query is None:
        return await sagas.list(narrowed)
    return await sagas.find(query, limit=narrowed.limit, before=narrowed.before)


def _columns(now: "datetime") -> list[Column]:
    from sagacity.cli.show import status_mark
    from sagacity.cli.words import cut, length, state

    def why(saga: "SagaSummary") -> str:
        return cut(saga.reason or (f"waits for {saga.waits_for}" if saga.waits_for else ""), 60)

    return [
        Column(title="KEY", text=lambda saga: saga.key),
        Column(title="DEFINITION", text=lambda saga: f"{saga.definition}@{saga.version}"),
        Column(
            title="STATUS", text=lambda saga: saga.status.value, style=lambda saga: status_mark(saga.status)
        ),
        Column(title="STATE", text=lambda saga: state(saga.state), wraps=True, spare=2),
        Column(title="AGE", text=lambda saga: length(now - saga.created_at), spare=1),
        Column(title="WHY", text=why, wraps=True),
    ]


async def log(
    call: Call,
    ref: Ref,
    *,
    raw: Annotated[bool, typer.Option("--raw", help="The lines as stored, one JSON object a line.")] = False,
    definition: Definition = None,
    lane: LaneOption = LaneName.LIVE,
) -> None:
    """Tell a saga's story, one line for each thing that happened."""
    from sagacity.cli.story import tell

    call.lane = lane
    async with call.orchestrator() as sagas:
        history = await sagas.history(await sagas.resolve(ref, definition=definition))
    if raw:
        call.output = Output.JSONL
        call.many(history, columns=[], id_=lambda entry: entry.seq, empty="")
    elif call.output is Output.TABLE:
        width = screen_width()
        for entry in history:
            call.text(hanging(f"{entry.seq:>4}  {_clock(entry.at)}  ", tell(entry), width=width))
    else:
        from sagacity.cli.shapes import plain

        told = [{**plain(entry), "text": tell(entry)} for entry in history]
        call.many(told, columns=[], id_=lambda entry: entry["seq"], empty="")


def _clock(at: "datetime") -> str:
    from sagacity.cli.words import clock

    return clock(at)


async def object_(
    call: Call,
    name: Annotated[str, typer.Argument(metavar="TYPE:ID", help="A participant.")],
    *,
    history: Annotated[bool, typer.Option("--history", help="All its versions.")] = False,
    at: Annotated[
        int | None, typer.Option("--at", metavar="VERSION", min=0, help="As it was at that version.")
    ] = None,
) -> None:
    """Show a participant: its last committed value, and who has it in transaction."""
    from sagacity.cli.failures import Exit, Stop

    if ":" not in name:
        raise Stop(Exit.USAGE, f"sagacity: {name}: a participant is written TYPE:ID, like account:A-118")
    if history and at is not None:
        raise Stop(Exit.USAGE, "sagacity: give either --history or --at")
    async with call.orchestrator() as sagas:
        if history:
            found = await sagas.object_history(name)
            call.many(
                found, columns=_version_columns(), id_=lambda one: one.saga, empty=f"{name} was never changed"
            )
            return
        view = await sagas.object(name, at=at)
    call.one(view, text=lambda: _object_text(view), id_=view.object)


def _version_columns() -> list[Column]:
    from sagacity.cli.words import brief, operations

    return [
        Column(title="VERSION", text=lambda one: str(one.version)),
        Column(title="TIME", text=lambda one: _clock(one.at)),
        Column(title="SAGA", text=lambda one: str(one.saga)),
        Column(title="VALUE", text=lambda one: brief(one.state, limit=200), wraps=True),
        Column(title="BY", text=lambda one: operations(one.operations), wraps=True),
    ]


def _object_text(view: "ObjectView") -> str:
    width = screen_width()
    value = json_lines(view.state, width=width) if view.version else "nothing was committed to it yet"
    rows = [f"{view.object}  version {view.version}", value]
    places = [hanging("", _place(place), width=width) for place in view.locks]
    return "\n".join(rows + (places if view.in_transaction else ["not in transaction"]))


def _place(place: "LockView") -> str:
    who = f"{place.definition} {place.key} ({place.saga})" if place.key is not None else str(place.saga)
    verb = "in transaction with" if place.held else "waited for by"
    return f"{verb} {who}, {place.mode}, since {_clock(place.since)}, fence {place.fence}"


async def locks(
    call: Call,
    *,
    object_: Annotated[
        str | None, typer.Option("--object", metavar="TYPE:ID", help="Only this object's queue.")
    ] = None,
    saga: Annotated[
        str | None, typer.Option("--saga", metavar="REF", help="Only this saga's places.")
    ] = None,
) -> None:
    """List who holds which object and who waits for it."""
    from sagacity.cli.words import length

    async with call.orchestrator() as sagas:
        of = await sagas.resolve(saga) if saga is not None else None
        found = await sagas.locks(object=object_, saga=of)
        now = await sagas.store.now()
    columns = [
        Column(title="OBJECT", text=lambda place: place.object),
        Column(
            title="PLACE",
            text=lambda place: "holds" if place.held else "waits",
            style=lambda place: "" if place.held else "yellow",
        ),
        Column(title="MODE", text=lambda place: place.mode),
        Column(title="SAGA", text=_who),
        Column(title="FOR", text=lambda place: length(now - place.since)),
        Column(title="FENCE", text=lambda place: str(place.fence), spare=1),
    ]
    call.many(found, columns=columns, id_=lambda place: place.saga, empty="no locks")


def _who(place: "LockView") -> str:
    return f"{place.definition} {place.key}" if place.key is not None else str(place.saga)


async def diagram(
    call: Call,
    what: Annotated[
        str, typer.Argument(metavar="WHAT", help="A flow (NAME or MODULE:CLASS), or a saga's REF.")
    ],
    *,
    form: Annotated[
        str, typer.Option("--format", "-f", metavar="FORM", help="mermaid, dot or text.")
    ] = "text",
) -> None:
    """Draw a flow; for a saga, with its present state and the path it took."""
    from sagacity.cli.failures import Exit, Stop
    from sagacity.cli.projects import flow_named, project_here
    from sagacity.definition.diagram import FORMS, drawn

    wanted = next((known for known in FORMS if known == form), None)
    if wanted is None:
        raise Stop(Exit.USAGE, f"sagacity: --format {form}: choose one of {', '.join(FORMS)}")
    project = project_here(what)
    flow = flow_named(project, what)
    if flow is not None:
        call.text(drawn(flow, wanted).rstrip())
        return
    async with call.orchestrator(project) as sagas:
        call.text((await _drawn_saga(sagas, what, wanted)).rstrip())


async def _drawn_saga(sagas: "Orchestrator", ref: str, form: "Form") -> str:
    from sagacity.cli.show import visited
    from sagacity.definition.diagram import drawn
    from sagacity.errors import UnknownDefinition

    view = await sagas.show(await sagas.resolve(ref))
    flow = sagas.project.flows.get(view.definition)
    if flow is None:
        raise UnknownDefinition(
            f"{ref} runs {view.definition}, which no file here defines: "
            "call this in the project's folder, or set [tool.sagacity] modules"
        )
    return drawn(flow, form, state=view.state, path=visited(await sagas.history(view.id)))
