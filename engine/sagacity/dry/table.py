"""The table of an exploration: failure point → path → end → what is left standing, 80 columns wide."""

import textwrap
from collections.abc import Iterator

from sagacity.cli.words import counted, cut
from sagacity.dry.exploring import Explored, Path
from sagacity.dry.faults import Fault

WIDTH = 80
_POINT, _ROUTE, _END = 36, 18, 14

_TITLES = {
    "effect": "the call of {}",
    "undo": "the undo of {}",
    "wait": "waiting for {}",
    "cancel": "somebody cancels right after",
    "crash": "the worker dies before or after it has stored",
}
_SHORT = {
    ("effect", "unreachable"): "unreachable once",
    ("effect", "down"): "down until it gives up",
    ("effect", "lost"): "done, answer lost",
    ("effect", "silent"): "done, never an answer",
    ("effect", "late"): "times out, lands later",
    ("effect", "gone"): "never arrives, nobody knows",
    ("effect", "refused"): "refused for good",
    ("undo", "unreachable"): "unreachable once",
    ("undo", "lost"): "done, answer lost",
    ("undo", "late"): "times out, lands later",
    ("undo", "refused"): "refused for good",
    ("wait", "missing"): "misses its deadline",
    ("wait", "twice"): "comes twice",
    ("wait", "early"): "comes early",
    ("wait", "comes"): "comes instead",
    ("wait", "garbled"): "comes garbled, then never",
}
_ENDS = {
    "would commit": "committed",
    "would roll back": "rolled back",
    "would be stuck": "STUCK",
    "would wait": "waits",
    "refused": "REFUSED",
    "cannot tell": "NO END",
}


def explored_text(explored: Explored) -> str:
    """See the module."""
    rate = len(explored.paths) / max(explored.took, 1e-9) * 60
    head = f"EXPLORED  {explored.definition} version {explored.version}  {cut(explored.key, 30)}"
    speed = f"{counted(len(explored.paths), 'path')} in {explored.took:.1f} s, {_round(rate):,} a minute"
    title = f"    {'failure point':<{_POINT}}{'path':<{_ROUTE}}{'end':<{_END}}left"
    lines = [head, speed, "", title, "─" * WIDTH]
    group = ""
    for path in explored.paths:
        named = _group(path)
        if named != group:
            group = named
            lines += [named] if named else []
        lines += _row(path)
    return "\n".join([*lines, "", *_verdict(explored)]) + "\n"


def _round(rate: float) -> int:
    return int(rate // 10 * 10) if rate >= 100 else int(rate)


def _group(path: Path) -> str:
    if not path.faults:
        return ""
    last = path.faults[-1]
    before = "" if len(path.faults) == 1 else f"   after {', '.join(_brief(f) for f in path.faults[:-1])}"
    return cut(_TITLES[last.where].format(last.name) + before, WIDTH)


def _brief(fault: Fault) -> str:
    said = _SHORT.get((fault.where, fault.kind))
    return f"{fault.name} {said}" if said else f"{fault.where} {fault.kind} {fault.name}"


def _point(path: Path) -> str:
    if not path.faults:
        return "nothing fails"
    last = path.faults[-1]
    if last.where in ("cancel", "crash"):
        return last.name if last.where == "cancel" else f"{last.kind:<6} {last.name}"
    return _SHORT[last.where, last.kind]


def _row(path: Path) -> Iterator[str]:
    left = [*path.standing, *path.refusals]
    if path.told:
        left.append("an operator is told, and decides")
    mark = " " if path.ok else "!"
    short = "nothing" if path.reached else "(not reached)"
    point = f"{mark}   {cut(_point(path), _POINT - 1):<{_POINT}}"
    yield f"{point}{_route(path):<{_ROUTE}}{_ENDS[path.verdict]:<{_END}}{'' if left else short}".rstrip()
    for what in left:
        yield from textwrap.wrap(what, WIDTH, initial_indent=" " * 8 + "left: ", subsequent_indent=" " * 14)


def _route(path: Path) -> str:
    """How far it went, and how much of it was undone."""
    back = f" ↩ {len(path.undone)}" if path.undone else ""
    return f"{cut(path.route[-1] if path.route else '', _ROUTE - 1 - len(back))}{back}"


def _verdict(explored: Explored) -> Iterator[str]:
    if explored.ok:
        yield f"Nothing is left standing by any of {counted(len(explored.paths), 'path')}."
        return
    yield f"{counted(len(explored.failing), 'path')} of {len(explored.paths)} must not go live:"
    for path in explored.failing[:5]:
        said = "; ".join((*path.standing, *path.refusals)) or path.why or _ENDS[path.verdict]
        yield from textwrap.wrap(f"! {_whole(path)}: {said}", WIDTH, subsequent_indent="    ")
    if len(explored.failing) > 5:
        yield f"  and {len(explored.failing) - 5} more"


def _whole(path: Path) -> str:
    told = (f"{fault.where} {fault.name}: {fault.meaning}" for fault in path.faults)
    return ", then ".join(told) or "nothing fails"
