"""Commands that execute: run, worker, serve."""

from pathlib import Path
from typing import Annotated

import typer

from sagacity.cli.call import Call

KeyField = Annotated[
    str | None,
    typer.Option(
        "--key", metavar="FIELD", help="The field that is the key; default: what the flow declares."
    ),
]
Outside = Annotated[
    list[str] | None,
    typer.Option(
        "--outside", metavar="URL", help="An outside service: told where to send web hooks; may be repeated."
    ),
]


async def run(
    call: Call,
    flow: Annotated[str, typer.Argument(metavar="MODULE:CLASS", help="The flow, e.g. sagas/order.py:Order.")],
    *,
    input_: Annotated[
        Path, typer.Option("--input", "-i", metavar="FILE", help="JSON lines: one saga a line.")
    ],
    key: KeyField = None,
    ignore_unknown: Annotated[
        bool, typer.Option("--ignore-unknown", help="Leave out fields that the flow does not know.")
    ] = False,
    outside: Outside = None,
    workers: Annotated[
        int,
        typer.Option(
            "--workers", metavar="N", min=1, max=64, help="Worker processes; 1 runs them in this one."
        ),
    ] = 1,
) -> int:
    """Run one saga for each line of a file, until each has ended or waits for somebody."""
    from sagacity.cli.projects import serving, wanted_flow
    from sagacity.cli.run.whole import Order, carried_out

    project = serving(flow)
    order = Order(
        flow=wanted_flow(project, flow),
        wanted=flow,
        file=input_,
        key=key,
        ignore_unknown=ignore_unknown,
        outsides=tuple(url.rstrip("/") for url in outside or ()),
        workers=workers,
    )
    return await carried_out(call, project, order)


async def worker(
    call: Call,
    *,
    modules: Annotated[
        list[str] | None,
        typer.Option(
            "--module", "-m", metavar="MODULE", help="Only flows of this file or module; may be repeated."
        ),
    ] = None,
    grace: Annotated[
        float | None,
        typer.Option("--grace", metavar="SECONDS", min=0, help="Time to end cleanly after SIGTERM."),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            "--metrics", metavar="PORT", help="Serve this worker's metrics, health and readiness there."
        ),
    ] = None,
    tied: Annotated[
        bool, typer.Option("--until-stdin-closes", hidden=True, help="End when standard input does.")
    ] = False,
) -> None:
    """Execute sagas until SIGTERM or Ctrl-C; then what is in flight ends or is handed back."""
    from datetime import timedelta

    from sagacity.cli.projects import serving
    from sagacity.cli.working import told_to_stop, work

    settings = call.settings if metrics is None else call.settings.model_copy(update={"metrics": metrics})
    call.tell_on_stderr()
    project = serving(*(modules or ()))
    async with call.orchestrator(project, makes=True) as sagas:
        with told_to_stop(tied=tied) as stop:
            await work(sagas, settings, stop, grace=None if grace is None else timedelta(seconds=grace))


async def serve(
    call: Call,
    *,
    host: Annotated[
        str, typer.Option("--host", metavar="ADDRESS", help="What to listen on; 0.0.0.0: everything.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=0, max=65535, help="0 takes a free one.")
    ] = 8000,
) -> None:
    """Serve the HTTP API and the console, until SIGTERM or Ctrl-C.

    On loopback, without tokens and without a sign-in, whoever calls from this machine is `dev`, an admin.
    As soon as there is a token, or SAGACITY_OIDC_ISSUER is set, every call must say who it is. Off loopback
    it does not start otherwise.
    """
    from dataclasses import replace

    from sagacity.cli.outlets import dry_outlets
    from sagacity.cli.projects import project_here
    from sagacity.cli.working import told_to_stop
    from sagacity.telemetry import tell
    from sagacity.web.guard.configured import web_settings
    from sagacity.web.server import hosted

    call.tell_on_stderr()
    async with call.orchestrator(project_here(), makes=True, patient=True) as sagas:
        guarded = await web_settings(call.settings, sagas.store, host=host)
        guarded = replace(guarded, dry_outlet=dry_outlets(sagas.project, call.settings).there)
        async with hosted(sagas, host=host, port=port, settings=guarded) as url:
            call.say(f"serving {url}/v1/ (its description: {url}/v1/openapi.json)")
            if guarded.development:
                call.say("development: nobody signs in; whoever calls from this machine is dev, an admin")
            tell("server.started", url=url)
            with told_to_stop() as stop:
                await stop.wait()
    tell("server.stopped", url=url)
