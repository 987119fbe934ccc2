"""Anchors on the command line, and what `verify` is given beside the store."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sagacity.cli.call import Call
from sagacity.errors import ConfigError

if TYPE_CHECKING:
    from sagacity.anchor import Anchor
    from sagacity.audit import Evidence
    from sagacity.config import Settings
    from sagacity.definition.flow import Flow
    from sagacity.invariants import Broken
    from sagacity.runtime.anchoring import Anchoring
    from sagacity.store.base import Store

KeyFile = Annotated[
    Path | None,
    typer.Option("--key", metavar="FILE", help="What anchors are signed with; default SAGACITY_ANCHOR_KEY."),
]


async def anchor(
    call: Call,
    *,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="PLACE", help="A file or an address; default SAGACITY_ANCHOR_TO."),
    ] = None,
    key: KeyFile = None,
    lines: Annotated[bool, typer.Option("--lines", help="Send every line of the log too.")] = False,
    new_key: Annotated[
        Path | None, typer.Option("--new-key", metavar="FILE", help="Make a key, and do nothing else.")
    ] = None,
) -> None:
    """Sign where every chain stands and send it away, so that a rewritten history can be found."""
    from sagacity.runtime.keys import write_key

    if new_key is not None:
        write_key(new_key)
        call.text(str(new_key))
        return
    settings = call.settings
    place = to or settings.anchor_to
    if place is None:
        raise ConfigError("where to? Give `--to FILE` or `--to URL`, or set SAGACITY_ANCHOR_TO")
    async with call.orchestrator() as sagas:
        sent = await anchoring(sagas.store, settings, place=place, key=key, lines=lines).send()
    if sent.anchor is None:
        call.say(f"somebody else is sending to {place} just now")
        return
    call.text(f"anchored {len(sent.anchor.heads)} chains, {sent.lines} lines sent")


def anchoring(
    store: "Store", settings: "Settings", *, place: str, key: Path | None = None, lines: bool = False
) -> "Anchoring":
    """What sends a store's anchors to `place`.

    Raises:
        ConfigError: there is no key.
    """
    from sagacity.runtime.anchoring import Anchoring
    from sagacity.runtime.sinks import sink_of

    return Anchoring(
        store,
        sink_of(place),
        _key(settings, key),
        lines=lines or settings.anchor_lines,
        strict=settings.anchor_strict,
    )


def worker_anchoring(store: "Store", settings: "Settings") -> "Anchoring | None":
    """What a worker sends anchors with; None: the settings name no place."""
    return None if settings.anchor_to is None else anchoring(store, settings, place=settings.anchor_to)


def _key(settings: "Settings", given: Path | None) -> bytes:
    from sagacity.runtime.keys import read_key

    file = given or (Path(settings.anchor_key) if settings.anchor_key else None)
    if file is None:
        raise ConfigError("anchors are signed: give `--key FILE`, or set SAGACITY_ANCHOR_KEY")
    return read_key(file)


async def evidence_of(
    call: Call,
    store: "Store",
    *,
    ledgers: Sequence[Path] = (),
    history: Path | None = None,
    anchors: str | None = None,
    key: Path | None = None,
    flows: "Iterable[Flow]" = (),
) -> "Evidence":
    """What there is beside the store, read.

    Raises:
        ConfigError: a file cannot be read. SinkUnavailable: the anchors cannot be had.
    """
    from sagacity.audit import Evidence
    from sagacity.invariants import Call as LedgerCall
    from sagacity.invariants import read_calls, read_ops

    calls: list[LedgerCall] = []
    broken: list[Broken] = []
    for ledger in ledgers:
        found, wrong = read_calls(_whole_lines(ledger), name=ledger.name)
        calls += found
        broken += wrong
    ops, wrong = read_ops(_whole_lines(history), name=history.name) if history else ([], [])
    return Evidence(
        calls=calls,
        ops=ops,
        anchors=await _anchors(store, anchors) if anchors else (),
        key=_key(call.settings, key) if anchors else None,
        flows={(flow.name, flow.version): flow for flow in flows},
        broken=[*broken, *wrong],
    )


def _whole_lines(path: Path) -> list[bytes]:
    """The lines of a file; what stands behind the last line end is not whole yet."""
    try:
        return path.read_bytes().rpartition(b"\n")[0].split(b"\n")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None


async def _anchors(store: "Store", place: str) -> "list[Anchor]":
    from sagacity.anchor import read_anchors
    from sagacity.runtime.sinks import sink_of

    found = read_anchors(await sink_of(place).anchors(), tenant=store.tenant, lane=store.lane)
    if not found:
        raise ConfigError(f"{place} holds no anchor of this tenant: `sagacity anchor --to {place}` sends one")
    return found
