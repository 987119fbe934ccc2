"""The command that rehearses: dry-run."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sagacity.cli.call import Call, Output

if TYPE_CHECKING:
    from sagacity.cli.stores import Place as Whole
    from sagacity.dry.apart import Apart
    from sagacity.dry.orders import Answer, Asked, Place
    from sagacity.runtime.outlets import Outlets


Flow = Annotated[
    str, typer.Argument(metavar="MODULE:CLASS", help="The flow, e.g. sagas/order.py:Order; or a run's id.")
]
Input = Annotated[
    Path | None, typer.Option("--input", "-i", metavar="FILE", help="One input as JSON, or one a line.")
]
Mocks = Annotated[
    str | None,
    typer.Option("--mocks", metavar="MODULE", help="Classes in it named like externals answer for them."),
]
ScriptFile = Annotated[
    Path | None,
    typer.Option("--script", metavar="FILE", help="JSON: what comes from outside, and what goes wrong."),
]
Faults = Annotated[
    list[str] | None,
    typer.Option("--fault", metavar="TEXT", help="e.g. 'effect take_money: lost'; may be repeated."),
]
Explore = Annotated[
    bool, typer.Option("--explore", help="Play it once for every failure point; 1 if anything is left.")
]
ChaosFile = Annotated[
    Path | None, typer.Option("--chaos", metavar="FILE", help="JSON: seed, runs, and rates of faults.")
]
Minimise = Annotated[bool, typer.Option("--minimise", help="Shrink what fails, and print it as a test.")]
Against = Annotated[
    str | None,
    typer.Option("--against", metavar="SAGA_ID", help="Play this real saga's story, and compare."),
]
Shadow = Annotated[
    int,
    typer.Option(
        "--shadow", metavar="N", min=0, help="Play the newest N ended real sagas again, and compare."
    ),
]
Recorded = Annotated[
    bool, typer.Option("--recorded", help="Newest real answers of externals with record=True answer first.")
]
Generate = Annotated[
    bool, typer.Option("--generate", help="What nobody mocks is answered from its declared type.")
]
RealReads = Annotated[
    bool, typer.Option("--real-reads", help="Reads that are declared safe are made for real.")
]


async def dry_run(
    call: Call,
    flow: Flow,
    *,
    input_: Input = None,
    mocks: Mocks = None,
    script: ScriptFile = None,
    faults: Faults = None,
    explore: Explore = False,
    chaos: ChaosFile = None,
    minimise: Minimise = False,
    against: Against = None,
    shadow: Shadow = 0,
    recorded: Recorded = False,
    generate: Generate = False,
    real_reads: RealReads = False,
) -> int:
    """Rehearse a flow on live data: the real code and log, and nothing happens. 1: it must not go live.

    With the id of a dry run in place of the flow, its stored report is shown again.
    """
    from sagacity.cli.failures import Exit

    if input_ is None and against is None and not shadow:
        return await _shown(call, flow)
    wanted = _wanted(
        mocks=mocks, script=script, faults=faults, explore=explore, chaos=chaos, minimise=minimise
    )
    wanted |= {"recorded": recorded, "generate": generate, "real_reads": real_reads}
    orders = await (_shadows(call, flow, shadow) if shadow else _orders(call, flow, input_, against))
    orders = [order.model_copy(update=wanted) for order in orders]
    async with _staged(call) as stage:
        if shadow and call.output is Output.TABLE:
            ok = await _shadowed(call, stage, orders)
        elif len(orders) > 1 and call.output is Output.TABLE and wanted.get("act", "run") == "run":
            ok = await _told_in_lines(call, stage, orders)
        else:
            ok = await _told_in_full(call, stage, orders)
    return Exit.DONE if ok else Exit.FOUND


@asynccontextmanager
async def _staged(call: Call) -> AsyncIterator["Apart"]:
    """The process that plays; when it has ended, the dry outlet is told."""
    from sagacity.dry.apart import Apart

    outlets = _outlets(call)
    async with call.place() as place:
        store = _store(call, place.url)
        async with Apart.started(store, notices=outlets.there) as stage:
            yield stage
        if store is not None and outlets.there:
            await _tell(call, place, outlets)


def _outlets(call: Call) -> "Outlets":
    """Who is told what dry runs would tell: nothing of the flows is imported for it."""
    from sagacity.cli.outlets import dry_outlets
    from sagacity.definition.project import Project

    return dry_outlets(Project.outlets(), call.settings)


async def _tell(call: Call, place: "Whole", outlets: "Outlets") -> None:
    """Send what the runs would have told; what cannot be sent now stays in the outbox."""
    from sagacity.dry.telling import tell_outlets

    async with await call.opened(place) as sagas:
        left = await tell_outlets(sagas.store, outlets)
    if left:
        call.say(f"{left:,} notices of dry runs could not be sent yet: the next dry run, or a worker, will")


async def _shadowed(call: Call, stage: "Apart", orders: "list[Asked]") -> bool:
    """A line for each that goes the same way, and what differs at length."""
    same = number = 0
    async for answer in stage.ask_all(orders):
        order, number, same = orders[number], number + 1, same + answer.ok
        call.text(f"{'same' if answer.ok else 'DIFFERS':<10}{order.key:<34}{order.against}")
        if not answer.ok:
            call.text((answer.text or f"! {answer.message}").rstrip("\n"))
    call.text(f"{number:,} real sagas played again: {same:,} go the same way, {number - same:,} differ")
    return same == number


async def _told_in_full(call: Call, stage: "Apart", orders: "list[Asked]") -> bool:
    from sagacity.dry.apart import as_raised

    ok = True
    plain = call.output is not Output.TABLE
    async for answer in stage.ask_all(order.model_copy(update={"text": not plain}) for order in orders):
        if answer.error is not None:
            raise as_raised(answer)
        _print(call, answer)
        ok = ok and answer.ok
    return ok


async def _told_in_lines(call: Call, stage: "Apart", orders: "list[Asked]") -> bool:
    """A line for each of many, what must not go live at length, and how many ended how."""
    from collections import Counter

    from sagacity.dry.report import read_report

    ends: Counter[str] = Counter()
    number, ok = 0, True
    async for answer in stage.ask_all(order.model_copy(update={"text": False}) for order in orders):
        number += 1
        ok = ok and answer.ok
        if answer.error is not None:
            ends["not finished" if answer.error == "Unfinished" else "could not be played"] += 1
            call.text(f"! {number}: {answer.message}")
            continue
        report = read_report(answer.said or "")
        ends[report.verdict] += 1
        call.text(f"{report.verdict:<16}{report.key:<34}{report.run}")
        if not answer.ok:
            call.text(report.text().rstrip("\n"))
    told = ", ".join(f"{count:,} {end}" for end, count in sorted(ends.items()))
    call.text(f"{number:,} dry runs: {told}")
    return ok


def _wanted(
    *,
    mocks: str | None,
    script: Path | None,
    faults: list[str] | None,
    explore: bool,
    chaos: Path | None,
    minimise: bool,
) -> dict[str, Any]:
    """What the options say about an order.

    Raises:
        ConfigError, InputError: a file that is not there, or does not fit.
    """
    from sagacity.dry.chaos import Chaos
    from sagacity.dry.faults import read_fault
    from sagacity.dry.script import Script

    wanted: dict[str, Any] = {
        "mocks": mocks,
        "minimise": minimise,
        "faults": tuple(str(read_fault(text)) for text in faults or ()),
    }
    if script is not None:
        wanted["script"] = Script.read(script)
    if chaos is not None:
        wanted |= {"act": "chaos", "chaos": Chaos.read(chaos).model_dump()}
    elif explore:
        wanted["act"] = "explore"
    return wanted


async def _orders(call: Call, flow: str, file: Path | None, against: str | None) -> "list[Asked]":
    """One order for each input of the file; or the one that a real saga had."""
    from sagacity.dry.orders import Asked
    from sagacity.model.canonical import loaded

    if against is None:
        return [Asked(flow=flow, input=input) for input in _inputs(file)]
    async with call.orchestrator() as sagas:
        view = await sagas.show(await sagas.resolve(against))
    given = next(iter(_inputs(file)), None) if file is not None else loaded(view.input)
    return [Asked(flow=flow, input=given, against=view.id, key=view.key)]


async def _shadows(call: Call, flow: str, count: int) -> "list[Asked]":
    """Orders that play the newest real sagas of a flow's name that have ended.

    Raises:
        NotFound: there is none.
    """
    from sagacity.dry.many import newest_ended
    from sagacity.dry.orders import Asked
    from sagacity.model.canonical import loaded

    async with call.orchestrator() as sagas:
        views = await newest_ended(sagas, flow.rpartition(":")[2], count)
    return [Asked(flow=flow, input=loaded(v.input), against=v.id, key=v.key, keep=False) for v in views]


def _inputs(file: Path | None) -> list[Any]:
    """The inputs of a file: one JSON value, or one a line.

    Raises:
        ConfigError: no such file. InputError: it is no JSON.
    """
    from sagacity.errors import ConfigError, InputError
    from sagacity.model.canonical import parsed

    try:
        text = file.read_text(encoding="utf-8") if file is not None else ""
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from None
    try:
        found = parsed(text)
        return found if isinstance(found, list) else [found]
    except InputError:
        return [parsed(line) for line in text.splitlines() if line.strip()]


def _store(call: Call, url: str) -> "Place | None":
    """The store under the runs; where there is none, none is made."""
    from sagacity.cli.stores import absent
    from sagacity.dry.orders import Place

    missing = absent(url)
    if missing is not None:
        call.say(f"there is no store at {missing}: rehearsed on nothing, and not kept")
        return None
    return Place(url=url, tenant=call.settings.tenant, accept_loss=call.accept_loss)


async def _shown(call: Call, run: str) -> int:
    from uuid import UUID

    from sagacity.cli.failures import Exit, Stop
    from sagacity.dry.shelf import stored_report

    try:
        id = UUID(run)
    except ValueError:
        raise Stop(Exit.USAGE, f"sagacity: {run}: give an input too, `--input FILE`, or a run's id") from None
    async with call.orchestrator() as sagas:
        report = await stored_report(sagas.store, id)
    call.text(report.text().rstrip("\n") if call.output is Output.TABLE else report.json())
    return Exit.DONE


def _print(call: Call, answer: "Answer") -> None:
    if call.output is Output.TABLE:
        call.text((answer.text or "").rstrip("\n"))
    elif call.output is Output.IDS:
        call.text(answer.run or "")
    else:
        call.text(answer.said or "")
