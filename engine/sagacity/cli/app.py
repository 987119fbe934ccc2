"""The typer application, built from the one table of commands.

Every command gets the global options too, so `sagacity show X -o json` and
`sagacity -o json show X` are the same call.
"""

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from sagacity import loops
from sagacity.cli.call import Call, Output
from sagacity.cli.failures import ReaderGone
from sagacity.cli.table import COMMANDS, Command

OutputOption = Annotated[
    Output | None, typer.Option("-o", "--output", metavar="FORM", help="table, json, jsonl or ids.")
]
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store", metavar="URL", help="Where sagas live; default SAGACITY_STORE, sqlite:///sagacity.db."
    ),
]
LossOption = Annotated[
    bool, typer.Option("--i-accept-loss", help="Accept a database that may lose acknowledged commits.")
]
GLOBALS: dict[str, tuple[Any, Any]] = {
    "output": (OutputOption, None), "store": (StoreOption, None), "accept_loss": (LossOption, False),
}  # fmt: skip

GROUPS = {"token": "Issue, list and revoke API tokens."}
"""Commands of two words: what the first one is about."""

app = typer.Typer(
    name="sagacity",
    help="Run, watch and repair long-lived business transactions.",
    add_completion=True,
    no_args_is_help=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def _global(
    context: typer.Context,
    output: OutputOption = None,
    store: StoreOption = None,
    accept_loss: LossOption = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
) -> None:
    context.obj = {"output": output, "store": store, "accept_loss": accept_loss}
    if version:
        from importlib.metadata import version as installed

        typer.echo(installed("sagacity"))
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit


def _register(command: Command) -> None:
    function = command.function
    text = inspect.getdoc(function) or ""
    group, _, name = command.name.rpartition(" ")
    # \b: an example is there to be pasted, so it is not wrapped.
    _group(group).command(
        name=name,
        help=text,
        short_help=text.split("\n\n")[0],
        epilog=f"Example:\n\n\b\n{command.example}",
    )(_adapted(function))


def _group(name: str) -> typer.Typer:
    """Where a command of two words belongs: below the first; one of one word below the application."""
    if not name:
        return app
    known = {group.name: group.typer_instance for group in app.registered_groups}
    if name not in known:
        inner = known[name] = typer.Typer(rich_markup_mode=None, no_args_is_help=True)
        app.add_typer(inner, name=name, help=GROUPS[name])
    found = known[name]
    assert found is not None
    return found


def _adapted(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function(call, …)` as typer wants it: synchronous, with the global options in its signature."""
    own = [p for name, p in inspect.signature(function).parameters.items() if name != "call"]
    extra = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=hint, default=default)
        for name, (hint, default) in GLOBALS.items()
    ]
    context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    own = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]

    def run(context: typer.Context, **given: Any) -> int:
        asked = {name: given.pop(name) or context.obj[name] for name in GLOBALS}
        call = Call(
            output=asked["output"] or Output.TABLE,
            given_store=asked["store"],
            accept_loss=bool(asked["accept_loss"]),
        )
        try:
            result = function(call, **given)
            if inspect.isawaitable(result):
                result = loops.run(_awaited(result))
        except BrokenPipeError:
            # Under its own name typer would end the process with 1.
            raise ReaderGone from None
        return int(result or 0)

    run.__name__ = function.__name__
    run.__signature__ = inspect.Signature([context, *own, *extra])  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in [context, *own, *extra]}
    return run


async def _awaited(result: Any) -> Any:
    return await result


for _command in COMMANDS:
    _register(_command)
