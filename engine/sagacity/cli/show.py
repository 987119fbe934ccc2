"""One saga on one screen, for somebody who was woken up: why it is here, what comes next, what may be done.

Pure: everything shown is handed in, so the screen can be tested to the letter. 80 columns;
ids and commands are never broken, because they are there to be copied.
"""

import shlex
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sagacity.cli.words import brief, clock, cut, endless, length, name, sentence, state, until
from sagacity.model import lines
from sagacity.model.operating import Link
from sagacity.model.record import Effect, EffectStatus, Status, WaitsFor
from sagacity.model.views import HistoryLine, LockView, SagaView

WIDTH = 80
_LABEL = 10

_EFFECT = {
    EffectStatus.ARMED: "called, answer not known",
    EffectStatus.LANDED: "happened",
    EffectStatus.VOID: "did not happen",
    EffectStatus.UNDONE: "made good",
    EffectStatus.GAVE_UP: "NOT made good: its undo gave up",
}
_MOVES = frozenset({"completed", "signalled", "timed_out", "joined", "restarted", "started"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """All that is known about one saga at one moment.

    Attributes:
        queues: every place in the queues of the objects it holds or waits for.
        chain: whom it waits for, and whom they wait for, itself first; only while it waits for a lock.
        store: what to write behind `--store` in the commands to paste; None where the default is meant.
    """

    view: SagaView
    history: Sequence[HistoryLine]
    queues: Sequence[LockView]
    now: datetime
    store: str | None = None
    chain: Sequence[Link] = ()


def screen(scene: Scene) -> str:
    """The whole screen as text, no trailing newline."""
    view = scene.view
    blocks = [
        _header(scene),
        [*_row("why", view.why), *_row("next", view.next), *_error(view)],
        _block("path", [_path(scene.history)]),
        _block("effects", [_effect(effect) for effect in view.effects]),
        _block("locks", _locks(scene)),
        _block("chain", _chain(scene.chain)),
        _block("waits for", _waits(scene)),
        _block("input", [brief(view.input, limit=200)]),
        _block("then", _commands(scene), breakable=False),
    ]
    return "\n".join(line for block in blocks if block for line in block)


def _header(scene: Scene) -> list[str]:
    view = scene.view
    where = view.status.value + (f" ({view.waits_for.value})" if view.waits_for else "")
    lane = "" if view.lane == "live" else f"  lane {view.lane}"
    found = [f"{view.definition}@{view.version}  key {view.key}{lane}", *_row("id", str(view.id))]
    found += _row("status", f"{where}, state {state(view.state)}")
    found += _row(
        "age",
        f"{length(scene.now - view.created_at)}, {'ended' if view.status.final else 'last moved'} "
        f"{length(scene.now - view.updated_at)} ago "
        f"(started {clock(view.created_at)})",
    )
    if view.reason:
        found += _row("reason", view.reason)
    for label, other in (
        ("parent", view.parent), ("undoes", view.rolls_back), ("undone by", view.rolled_back_by),
    ):  # fmt: skip
        if other is not None:
            found += _row(label, f"saga {other}")
    if view.owner is not None:
        found += _row("worker", str(view.owner))
    return found


def _error(view: SagaView) -> list[str]:
    return _row("error", cut(view.error, 400)) if view.error else []


def _moves(history: Sequence[HistoryLine]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What moved the machine, in words, and the state it reached; from the start on."""
    for entry in history:
        if entry.data is None or entry.kind not in _MOVES:
            continue
        line = lines.read_line(
            entry.kind, entry.data, at=entry.at, object=entry.object, version=entry.version
        )
        match line:
            case lines.Started() | lines.Restarted():
                yield "", line.state
            case lines.Completed():
                yield name(line.step), line.state
            case lines.Signalled():
                yield line.signal, line.state
            case lines.TimedOut():
                yield f"{name(line.wait)} timed out", line.state
            case lines.Joined():
                yield f"{name(line.of)} done", line.state


def _path(history: Sequence[HistoryLine]) -> str:
    """The states it went through, with the step or signal that led to each."""
    parts = [f"({by}) {state(reached)}" if by else state(reached) for by, reached in _moves(history)]
    if any(entry.kind == "compensating" for entry in history):
        parts.append("(going back)")
    return " > ".join(parts)


def visited(history: Sequence[HistoryLine]) -> list[str]:
    """Every state it has been in, in order, each once."""
    return list(dict.fromkeys(leaf for _, reached in _moves(history) for leaf in reached))


def _effect(effect: Effect) -> str:
    tries = f", tried {effect.undo_attempts} times" if effect.undo_attempts > 1 else ""
    undo = f"undo = {effect.undo}" if effect.undo else "cannot be undone"
    said = f": {cut(sentence(effect.error), 120)}" if effect.error else ""
    return f"{effect.n}. {name(effect.step)}: {_EFFECT[effect.status]}; {undo}{tries}{said}"


def _locks(scene: Scene) -> list[str]:
    found = []
    for held in scene.view.locks:
        places = [place for place in scene.queues if place.object == held.object]
        others = [place for place in places if place.saga != scene.view.id]
        mine = next((place for place in places if place.saga == scene.view.id), None)
        if mine is None:
            continue
        age = length(scene.now - mine.since)
        if mine.held:
            waiting = _others(place for place in others if not place.held)
            found.append(
                f"{held.object} held {age}, {held.mode}" + (f"; waiting for it: {waiting}" if waiting else "")
            )
        else:
            holder = _others(place for place in others if place.held) or "nobody"
            found.append(f"{held.object} WAITED FOR {age}, {held.mode}; held by {holder}")
    return found


def _chain(links: Sequence[Link]) -> list[str]:
    """Who holds what it waits for, and why they do not let go."""
    return [f"{link.object} is held by {link.definition} {link.key}: {link.text}" for link in links[1:]]


def _others(places: Iterable[LockView]) -> str:
    found = [
        f"{place.definition} {place.key}" if place.key is not None else str(place.saga) for place in places
    ]
    return ", ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")


def _waits(scene: Scene) -> list[str]:
    return [
        f"{wait.kind.value} {wait.signal or name(wait.name)}"
        + ("" if endless(wait.until, scene.now) else f" until {until(wait.until, scene.now)}")
        for wait in scene.view.waits
    ]


def _commands(scene: Scene) -> list[str]:
    """The commands that its status admits, ready to paste."""
    view = scene.view
    ref = shlex.quote(view.key if view.key and not view.parent else str(view.id))
    tail = f" --store {shlex.quote(scene.store)}" if scene.store else ""
    found = []
    for act in view.allowed:
        if act == "signal":
            found += [
                f"sagacity signal {ref} {shlex.quote(wait.signal)}{_data(wait.kind)}{tail}"
                for wait in view.waits
                if wait.signal
            ]
        elif act == "release-lock":
            found += [
                f"sagacity release-lock {shlex.quote(place.object)} --expect-holder {ref} "
                f"--fence {place.fence} --plan{tail}"
                for place in scene.queues
                if place.saga == view.id and place.held
            ]
        else:
            found.append(f"sagacity {act} {ref}{_MORE.get(act, '')}{tail}")
    return [*found, f"sagacity log {ref}{tail}"]


_MORE = {
    "cancel": " --reason '…'",
    "retry": " --reason '…'",
    "skip": " --landed yes --plan",
    "force": " --to STATE --plan",
    "abandon": " --plan",
    "rollback": " --preview",
}


def _data(kind: WaitsFor) -> str:
    return """ --data '{"approved": true}'""" if kind is WaitsFor.APPROVAL else ""


def _block(label: str, items: Sequence[str], *, breakable: bool = True) -> list[str]:
    """Several entries under one label; empty ones are left out."""
    found: list[str] = []
    for item in items:
        if item:
            found += _row(label if not found else "", item, breakable=breakable)
    return found


def _row(label: str, text: str, *, breakable: bool = True) -> list[str]:
    head = f"{label:<{_LABEL}}"
    if not breakable:
        return [head + text]
    wrapped = textwrap.wrap(
        " ".join(text.split()),
        width=WIDTH,
        initial_indent=head,
        subsequent_indent=" " * _LABEL,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return wrapped or [head.rstrip()]


def status_mark(status: Status) -> str:
    """The colour in which a status stands out on a terminal; never the only sign of it."""
    return {
        Status.COMMITTED: "green",
        Status.ROLLED_BACK: "yellow",
        Status.ABANDONED: "yellow",
        Status.STUCK: "bold red",
        Status.COMPENSATING: "magenta",
        Status.WAITING: "cyan",
    }.get(status, "")
