"""The report for a person: what happened, in the order in which it is asked, at most 80 columns wide."""

import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

from sagacity.cli.words import clock, counted, cut, length, listed, name, state
from sagacity.dry.report import Call, Changed, Contention, Move, Report
from sagacity.model.canonical import Json, loaded

WIDTH = 80
_PROVENANCE = {
    "declared": "declared mock",
    "given": "mock handed in",
    "recorded": "recorded answer",
    "generated": "GENERATED answer",
    "real": "asked for REAL",
    "fault": "FAULT injected",
    "none": "",
}
_MARKS = {
    "would commit": "would commit",
    "would roll back": "would roll back",
    "would be stuck": "WOULD BE STUCK",
    "would wait": "would wait",
    "refused": "REFUSED",
    "cannot tell": "CANNOT TELL",
}


def report_text(report: Report) -> str:
    """See the module."""
    parts = [
        _head(report),
        _section("path", _path(report)),
        _section("not taken", _branches(report)),
        _section("calls that would have gone out, in order", _calls(report)),
        _section("objects, before → after", _objects(report)),
        _section("locks (looked at, not taken)", _locks(report)),
        _section("notices, stamped DRY", _notices(report)),
        _section("other sagas", _others(report)),
        _section("faults injected", _faults(report)),
        _section("REFUSED: it cannot be rehearsed like this", _refusals(report)),
        _section("LEFT STANDING outside", [f"! {what}" for what in report.standing]),
        _verdict(report),
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _head(report: Report) -> str:
    title = f"DRY RUN  {report.definition} version {report.version}  {cut(report.key, 30)}"
    mark = _MARKS[report.verdict]
    gap = max(2, WIDTH - len(title) - len(mark))
    took = length(_span(report.seconds))
    return f"{title}{' ' * gap}{mark}\nrun {report.run}, begun {clock(report.at)}, {took}"


def _span(seconds: float) -> Any:
    from datetime import timedelta

    return timedelta(seconds=seconds)


def _section(title: str, lines: Iterable[str]) -> str:
    body = [f"  {line}" for line in lines]
    return "\n".join(["", title, *body]) if body else ""


def _wrapped(head: str, text: str) -> Iterator[str]:
    found = textwrap.wrap(text, WIDTH - 2 - len(head), break_long_words=False) or [""]
    yield head + found[0]
    for line in found[1:]:
        yield " " * len(head) + line


# --- the path ---------------------------------------------------------------------------------------------

_SAID = {
    "completed": "done",
    "signalled": "came",
    "timed_out": "did not come in time",
    "joined": "joined",
    "failed": "failed",
    "compensating": "goes back",
    "undone": "undone",
    "undo_failed": "undo failed",
    "committed": "committed",
    "rolled_back": "rolled back",
    "stuck": "STUCK",
    "act_refused": "refused",
    "interrupted": "its worker died; another took over",
    "restarted": "starts anew",
}


def _path(report: Report) -> Iterator[str]:
    for move in report.path:
        yield from _move(move)


def _move(move: Move) -> Iterator[str]:
    at = f"{_at(move.at):>8}  "
    if move.kind == "started":
        yield f"{at}{state(move.state)}"
        return
    what = " ".join(word for word in (name(move.name), _SAID[move.kind]) if word)
    if move.state:
        yield f"{at}{what:<42} → {state(move.state)}"
    elif move.detail and len(what) + len(move.detail) > WIDTH - 14:
        yield f"{at}{what}"
        yield from _wrapped(" " * 12, cut(move.detail, 300))
    else:
        yield f"{at}{what}" + (f": {cut(move.detail, 300)}" if move.detail else "")


def _at(seconds: float) -> str:
    return f"{seconds:.1f}s" if seconds < 60 else length(_span(seconds))


def _branches(report: Report) -> Iterator[str]:
    for branch in report.not_taken:
        yield from _wrapped(f"{branch.state:<12} ", f"{branch.when} → {branch.leads_to}")


# --- calls ------------------------------------------------------------------------------------------------


def _calls(report: Report) -> Iterator[str]:
    for number, call in enumerate(report.calls, 1):
        source = _PROVENANCE[call.provenance]
        if call.age is not None:
            source += f", {length(_span(call.age))} old"
        title = f"{number:>2}  {call.external}.{call.call}"
        yield f"{title:<{WIDTH - 4 - len(source)}}  {source}".rstrip()
        yield from _wrapped("      ", f"({_values(call.args)})")
        yield from _wrapped("      → ", cut(_outcome(call), 300))
        if call.key is not None:
            yield f"      key {call.key}"
        if call.undoes:
            yield f"      takes {call.undoes} back"


def _outcome(call: Call) -> str:
    said = {
        "repeat": "known under its key: nothing happens a second time",
        "empty": "there was nothing to take back; it cannot come any more",
        "refused": f"refused: {call.error}",
        "failed": f"{call.error or 'failed'}",
    }.get(call.outcome)
    answer = "" if call.answer is None or call.answer == "null" else _values(call.answer)
    lost = f" ({call.error})" if call.error and call.outcome in ("done", "empty", "repeat") else ""
    return (said or answer or "done") + lost


def _values(text: Json) -> str:
    value = loaded(text)
    if isinstance(value, dict):
        return ", ".join(f"{key} {_value(item)}" for key, item in value.items())
    return _value(value)


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} {_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    return {None: "none", True: "yes", False: "no"}.get(value, str(value)) if value.__hash__ else str(value)


# --- objects and locks -------------------------------------------------------------------------------------


def _objects(report: Report) -> Iterator[str]:
    for changed in report.objects:
        table = " (your own table; rolled back)" if changed.own_table else ""
        yield f"~ {changed.object}  {listed(name(one) for one in changed.operations)}{table}"
        yield from _difference(changed)


def _difference(changed: Changed) -> Iterator[str]:
    before, after = loaded(changed.before), loaded(changed.after)
    if not isinstance(before, dict) and not isinstance(after, dict):
        yield f"    {_value(before)} → {_value(after)}"
        return
    old, new = (x if isinstance(x, dict) else {} for x in (before, after))
    for field in dict.fromkeys([*old, *new]):
        if old.get(field) != new.get(field) or field not in old:
            yield from _wrapped(f"    {field:<14} ", f"{_value(old.get(field))} → {_value(new.get(field))}")


def _locks(report: Report) -> Iterator[str]:
    for lock in report.locks:
        yield from _lock(lock)


def _lock(lock: Contention) -> Iterator[str]:
    title = f"{lock.object} ({lock.mode})"
    if not lock.waits_for:
        yield f"{title:<42} free"
        return
    yield f"{title:<42} would wait for {counted(len(lock.waits_for), 'saga')}"
    for place in lock.waits_for:
        what = "holds it" if place.held else "waits for it"
        who = f"{place.definition or 'a saga'} {cut(place.key or str(place.saga), 30)}"
        yield f"    {who} {what} since {clock(place.since)}"


# --- the rest ---------------------------------------------------------------------------------------------


def _notices(report: Report) -> Iterator[str]:
    for notice in report.notices:
        said = loaded(notice.data)
        reason = f": {said['reason']}" if said.get("reason") else ""
        yield from _wrapped(f"[{notice.stamp}] ", f"{said['definition']} {said['key']} {notice.kind}{reason}")


def _others(report: Report) -> Iterator[str]:
    for other in report.others:
        yield f"{other.definition} {cut(other.key, 40)}: {name(other.status)}"


def _faults(report: Report) -> Iterator[str]:
    for fault in report.faults:
        yield fault + ("   (never came up: the run did not get there)" if fault in report.missed else "")


def _refusals(report: Report) -> Iterator[str]:
    for refusal in report.refusals:
        yield from _wrapped("! ", refusal.what)
        yield f"    {refusal.where}"


def _verdict(report: Report) -> str:
    cover = report.coverage
    counts = (
        f"{cover.states[0]} of {cover.states[1]} states, {cover.effects[0]} of {cover.effects[1]} effects, "
        f"{cover.compensations[0]} of {cover.compensations[1]} compensations seen"
    )
    why = f": {cut(report.why, 200)}" if report.why else ""
    told = list(_wrapped("", f"verdict  {_MARKS[report.verdict]}{why}"))
    return "\n".join(["", *told, counts, "Nothing has been changed."])
