"""The one table of commands: the application registers them from it, and `docs/cli.md` is printed from it.

`python -m sagacity.cli.table > docs/cli.md` makes the page; a test compares the two.
"""

import inspect
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from sagacity.cli import acting, anchoring, issuing, keeping, office, reading, rehearsing, running, verbs
from sagacity.cli.failures import FAILURES, MEANINGS


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command: its name, the section it stands in, the function behind it, and a call to copy."""

    name: str
    section: str
    function: Callable[..., Any]
    example: str


def _command(section: str, name: str, function: Callable[..., Any], example: str) -> Command:
    return Command(name=name, section=section, function=function, example=f"sagacity {example}")


_START = """start Order --input '{"order_id": "A-1", "customer_id": "C-7", "amount": "9.90"}'"""

_REHEARSAL = "dry-run sagas/order.py:Order --input order.json --explore"

_SKIP = "skip A-1 --landed yes --result '{\"receipt\": \"R-7\"}' --reason 'the bank has it' --plan"

_RELEASE = "release-lock account:A-118 --expect-holder A-1 --fence 51 --plan"

COMMANDS: tuple[Command, ...] = (
    _command("Execute", "run", running.run, "run sagas/order.py:Order --input orders.jsonl"),
    _command("Execute", "worker", running.worker, "worker"),
    _command("Execute", "serve", running.serve, "serve --port 8000"),
    _command("Act", "start", acting.start, _START),
    _command("Act", "signal", acting.signal, "signal A-1 carrier.delivered"),
    _command("Act", "retry", verbs.retry, "retry A-1 --reason 'the bank answers again'"),
    _command("Act", "pause", verbs.pause, "pause A-1 --reason 'the carrier is down'"),
    _command("Act", "resume", verbs.resume, "resume A-1"),
    _command("Act", "cancel", verbs.cancel, "cancel A-1 --reason 'the customer called'"),
    _command("Act", "skip", verbs.skip, _SKIP),
    _command("Act", "force", verbs.force, "force A-1 --to shipped --reason 'the carrier has it' --plan"),
    _command("Act", "abandon", verbs.abandon, "abandon A-1 --reason 'settled by hand' --plan"),
    _command("Act", "release-lock", verbs.release_lock, _RELEASE),
    _command("Act", "rollback", acting.rollback, "rollback A-1 --preview"),
    _command("Act", "ack", verbs.ack, "ack A-1 --reason 'the bank is told'"),
    _command("Operate", "attention", office.attention, "attention"),
    _command("Operate", "select", office.select, "select 'type:Order status:stuck age:>1h'"),
    _command("Operate", "plan", office.plan, "plan show 019caefd-6f00-7000-8000-000000000001"),
    _command("Operate", "ops", office.ops, "ops"),
    _command("Operate", "audit", office.audit, "audit --actor local:ana"),
    _command("Operate", "whoami", office.whoami, "whoami"),
    _command("Operate", "can", office.can, "can skip A-1"),
    _command("Look", "show", reading.show, "show A-1"),
    _command("Look", "list", reading.list_, "list --status stuck"),
    _command("Look", "log", reading.log, "log A-1"),
    _command("Look", "object", reading.object_, "object account:A-118 --history"),
    _command("Look", "locks", reading.locks, "locks --object account:A-118"),
    _command("Look", "diagram", reading.diagram, "diagram Order --format mermaid"),
    _command("Rehearse", "dry-run", rehearsing.dry_run, _REHEARSAL),
    _command("Let in", "token issue", issuing.issue, "token issue ci --role operator --days 30"),
    _command("Let in", "token list", issuing.list_, "token list"),
    _command("Let in", "token revoke", issuing.revoke, "token revoke ci"),
    _command("Look after", "check", keeping.check, "check"),
    _command("Look after", "verify", keeping.verify, "verify"),
    _command("Look after", "anchor", anchoring.anchor, "anchor --to anchors.jsonl --key anchor.key"),
    _command("Look after", "rebuild", keeping.rebuild, "rebuild --into sqlite:///again.db"),
    _command("Look after", "migrate", keeping.migrate, "migrate --sql"),
    _command("Look after", "init", keeping.init, "init shop"),
)

_INTRODUCTION = """\
# The command line

<!-- Made by `python -m sagacity.cli.table`; a test holds it up to date. -->

Data goes to stdout, everything else to stderr. Nothing is asked without a terminal. Colours are left out
when `NO_COLOR` is set or stdout is no terminal. `REF` is a saga's id or its business key;
for an act on sagas also a selection's id, or `-` for ids on stdin; for `ack` also a plan's id.
"""


def page() -> str:
    """`docs/cli.md`, whole."""
    return "\n".join([_INTRODUCTION, *_globals(), *_commands(), *_settings(), *_codes()]) + "\n"


def _globals() -> Iterator[str]:
    from sagacity.cli.app import GLOBALS

    yield "## With every command\n\n| option | meaning |\n| --- | --- |"
    for hint, _ in GLOBALS.values():
        yield _option_row(hint)
    yield ""


def _commands() -> Iterator[str]:
    section = ""
    for command in COMMANDS:
        if command.section != section:
            section = command.section
            yield f"## {section}\n"
        yield f"### `{_usage(command)}`\n"
        yield f"{inspect.getdoc(command.function)}\n"
        options = [hint for hint, is_option in _declared(command) if is_option]
        if options:
            yield "| option | meaning |\n| --- | --- |"
            yield from (_option_row(hint) for hint in options)
            yield ""
        yield f"    {command.example}\n"


def _usage(command: Command) -> str:
    arguments = [_info(hint).metavar for hint, is_option in _declared(command) if not is_option]
    return " ".join(["sagacity", command.name, *arguments])


def _declared(command: Command) -> Iterator[tuple[Any, bool]]:
    for parameter in inspect.signature(command.function).parameters.values():
        if parameter.name != "call" and not getattr(_info(parameter.annotation), "hidden", False):
            yield parameter.annotation, type(_info(parameter.annotation)).__name__ == "OptionInfo"


def _info(hint: Any) -> Any:
    return get_args(hint)[1]


def _option_row(hint: Any) -> str:
    info = _info(hint)
    kinds = [kind for kind in _kinds(get_args(hint)[0]) if kind is not type(None)]
    value = "" if kinds == [bool] else f" {info.metavar or _VALUES[kinds[0]]}"
    # Inside `Annotated` typer keeps the first name where its default would stand.
    names = ", ".join((info.default, *info.param_decls))
    return f"| `{names}{value}` | {info.help} |"


_VALUES = {int: "N", float: "NUMBER", str: "TEXT"}


def _kinds(hint: Any) -> list[Any]:
    if get_origin(hint) is list:
        return [get_args(hint)[0]]
    return [kind for option in get_args(hint) for kind in _kinds(option)] if get_args(hint) else [hint]


def _settings() -> Iterator[str]:
    from sagacity.config import Settings

    yield "## Settings\n\n| variable | default | meaning |\n| --- | --- | --- |"
    for name, setting in Settings.model_fields.items():
        default = setting.default
        shown = f"{default.total_seconds():g}" if hasattr(default, "total_seconds") else default
        cell = "" if shown is None else f"`{shown}`"
        yield f"| `SAGACITY_{name.upper()}` | {cell} | {setting.description} |"
    yield "| `SAGACITY_<NAME>_URL` | | address of the external `<NAME>` |\n"


def _codes() -> Iterator[str]:
    yield "## Exit codes\n\n| code | means |\n| --- | --- |"
    for code, meaning in MEANINGS.items():
        yield f"| {int(code)} | {meaning} |"
    yield "\n## Errors\n\n| error | exit code | HTTP status | problem type |\n| --- | --- | --- | --- |"
    for cls, failure in FAILURES.items():
        kind = f"`urn:sagacity:problem:{failure.kind}`"
        yield f"| `{cls.__name__}` | {int(failure.exit)} | {failure.status} | {kind} |"


if __name__ == "__main__":
    sys.stdout.write(page())
