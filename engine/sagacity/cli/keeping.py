"""Commands that look after a project and its store: check, verify, rebuild, migrate, init."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sagacity.cli.anchoring import KeyFile, evidence_of
from sagacity.cli.call import Call, LaneName, LaneOption, Output
from sagacity.cli.layout import Column
from sagacity.cli.projects import project_here

if TYPE_CHECKING:
    from sagacity.model.views import Verdict


async def check(
    call: Call,
    module: Annotated[
        str | None, typer.Argument(metavar="[MODULE]", help="A file or module; default: the whole project.")
    ] = None,
    *,
    lock: Annotated[bool, typer.Option("--lock", help="Write sagas.lock: commit it with the flows.")] = False,
) -> int:
    """Print everything that is wrong with the flows, and which changed without a new version."""
    from sagacity.cli.checking import found_in_project, found_in_store
    from sagacity.cli.failures import Exit

    findings, project = found_in_project(module)
    findings += await found_in_store(call, project)
    columns = [
        Column(title="WHERE", text=lambda fault: fault.where),
        Column(title="NAME", text=lambda fault: fault.name),
        Column(title="WHAT", text=lambda fault: f"{fault.what} Fix: {fault.fix}", wraps=True),
    ]
    call.many(findings, columns=columns, id_=lambda fault: fault.where, empty="")
    if findings or project is None:
        call.say(f"{len(findings)} found")
        return Exit.FOUND
    if lock:
        call.say(f"wrote {project.write_lock()}")
    call.say(f"{len(project.flows)} flows checked: nothing found")
    return Exit.DONE


async def verify(
    call: Call,
    *,
    chain: Annotated[bool, typer.Option("--chain", help="Only the chains, and the anchors.")] = False,
    ledger: Annotated[
        list[Path] | None,
        typer.Option("--ledger", metavar="FILE", help="What the outside did, JSON lines; may be repeated."),
    ] = None,
    history: Annotated[
        Path | None,
        typer.Option("--history", metavar="FILE", help="What clients were told, JSON lines."),
    ] = None,
    anchor: Annotated[
        str | None,
        typer.Option("--anchor", metavar="PLACE", help="A file or an address with signed anchors."),
    ] = None,
    key: KeyFile = None,
    flows: Annotated[
        bool, typer.Option("--flows", help="Hold every move against this project's definitions too.")
    ] = False,
    lane: LaneOption = LaneName.LIVE,
) -> int:
    """Prove the log: chains are whole, folding gives the tables, and no invariant is broken. Read-only."""
    from sagacity.audit import verify as judged

    call.lane = lane
    async with call.orchestrator() as sagas:
        evidence = await evidence_of(
            call,
            sagas.store,
            ledgers=ledger or (),
            history=history,
            anchors=anchor,
            key=key,
            flows=project_here().flows.values() if flows else (),
        )
        verdict = await judged(sagas.store, evidence, chains_only=chain)
    return _judged(call, verdict, "verified")


async def rebuild(
    call: Call,
    *,
    into: Annotated[str, typer.Option("--into", metavar="URL", help="An empty store.")],
) -> int:
    """Fold the log into an empty store, and compare the two."""
    from sagacity.audit import rebuild as rebuilt
    from sagacity.store.open import open_store

    async with call.orchestrator() as sagas:
        target = open_store(
            into, tenant=sagas.store.tenant, lane=sagas.store.lane, accept_loss=call.accept_loss
        )
        await target.open()
        try:
            verdict = await rebuilt(sagas.store, target)
        finally:
            await target.close()
    return _judged(call, verdict, "rebuilt")


def _judged(call: Call, verdict: "Verdict", verb: str) -> int:
    from sagacity.cli.failures import Exit

    counts = f"{verdict.lines} lines, {verdict.sagas} sagas, {verdict.objects} objects"
    if call.output is Output.TABLE:
        columns = [
            Column(title="BROKEN", text=lambda finding: finding.invariant),
            Column(title="WHERE", text=lambda finding: finding.where),
            Column(title="WHAT", text=lambda finding: finding.what, wraps=True),
        ]
        if verdict.findings:
            call.many(verdict.findings, columns=columns, id_=lambda finding: finding.where, empty="")
            call.say(f"{verb} {counts}: {len(verdict.findings)} found")
        else:
            call.text(f"{verb} {counts}: nothing wrong")
    elif call.output is Output.IDS:
        call.many(verdict.findings, columns=[], id_=lambda finding: finding.where, empty="")
    else:
        call.one(verdict, text="", id_="")
    return Exit.FOUND if verdict.findings else Exit.DONE


async def migrate(
    call: Call,
    *,
    sql: Annotated[bool, typer.Option("--sql", help="Print the statements and change nothing.")] = False,
) -> None:
    """Bring the store's schema to what this version needs."""
    from sagacity.cli.stores import place
    from sagacity.store import migrate as schema

    if sql:
        dialect = "sqlite" if call.settings.store.startswith("sqlite") else "postgresql"
        call.text(schema.sql(dialect).rstrip())
        return
    async with place(call.settings.store, migrated=False) as found:
        before, after = await schema.upgrade_at(found.url)
    call.text(
        f"schema {after}: nothing to do" if before == after else f"schema {before or 'none'} -> {after}"
    )


def init(
    call: Call,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new folder.")],
) -> None:
    """Lay out a new project: flows to start from, and a pyproject.toml."""
    from sagacity.cli.scaffold import lay_out

    folder = Path(name)
    for path in lay_out(folder):
        call.text(path.as_posix())
    call.say(f"now: cd {name} && sagacity check")
