"""A plan as a report to read: what changes, what becomes real, what is freed, what is not known.

Pure. 80 columns. Marks: `~` changes, `+` becomes real, `!` never will or stays for ever, `?` not known.
A report over many sagas counts what is alike and lists the exceptions.
"""

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence

from sagacity.cli.words import clock, counted, cut
from sagacity.model.operating import ActLine, ItemOutcome, Plan, PlanItem, PlanStatus
from sagacity.operating.rules import asked_for, confirmation_of

_WIDTH = 80
_LABEL = 11
_EXCEPTIONS = 10


def report(plan: Plan) -> str:
    """The whole report, no trailing newline."""
    touched = plan.touches
    lines = [
        f"PLAN {plan.id}",
        f"{plan.verb} {counted(len(touched), 'saga')}, tier {plan.tier}, by {plan.made_by}",
        *_wrap("stands", _standing(plan)),
    ]
    if len(plan.items) == 1:
        lines += _one(plan.items[0])
    else:
        lines += _many(plan)
    return "\n".join([*lines, *_wrap("asks for", _asks(plan))])


def _standing(plan: Plan) -> str:
    if plan.status is PlanStatus.OPEN:
        return f"good until {clock(plan.expires_at)}"
    by = {
        PlanStatus.APPROVED: plan.approved_by,
        PlanStatus.APPLIED: plan.applied_by,
        PlanStatus.REJECTED: plan.rejected_by,
    }.get(plan.status)
    return plan.status.value + (f" by {by}" if by else "")


def _asks(plan: Plan) -> str:
    if not plan.touches:
        return "nothing can be done here"
    said = {
        "reason": "a reason",
        "confirmation": f"{confirmation_of(plan)!r} typed, or --yes",
        "approval": "a second person",
    }
    many = "a yes, or --yes" if len(plan.touches) > 1 else "nothing more"
    return ", ".join(said[one] for one in asked_for(plan.tier)) or many


def _one(item: PlanItem) -> Iterator[str]:
    yield from _wrap("saga", f"{item.definition} {item.key}  rev {item.revision}")
    yield from _wrap("", str(item.saga))
    if item.refusal is not None:
        yield from _wrap("refused", f"! {item.refusal}")
        yield from _wrap("where", item.before)
        return
    yield from _wrap("state", _move(item.before, item.after))
    for label, field, mark in _PARTS:
        for n, text in enumerate(getattr(item, field)):
            yield from _wrap(label if n == 0 else "", mark + text)


_PARTS = (("effects", "effects", ""), ("locks", "locks", ""), ("not known", "unknown", "? "))


def _move(before: str, after: str) -> str:
    return before if before == after else f"~ {before} -> {after}"


def _many(plan: Plan) -> Iterator[str]:
    if plan.selection is not None:
        came = f"; {plan.newcomers} more match by now and are NOT included" if plan.newcomers else ""
        yield from _wrap("selection", f"{plan.selection}{came}")
    moves = Counter((item.definition, item.before, item.after) for item in plan.touches)
    for n, ((definition, before, after), count) in enumerate(moves.most_common()):
        said = _move(before, after).removeprefix("~ ")
        yield from _wrap("state" if n == 0 else "", f"~ {count} x {definition}: {said}")
    for label, field, mark in _PARTS:
        yield from _told(label, mark, [text for item in plan.touches for text in getattr(item, field)])
    refused = [item for item in plan.items if item.refusal is not None]
    for n, item in enumerate(refused[:_EXCEPTIONS]):
        yield from _wrap("left alone" if n == 0 else "", f"! {item.key}: {item.refusal}")
    if len(refused) > _EXCEPTIONS:
        yield from _wrap("", f"and {len(refused) - _EXCEPTIONS} more")


def _told(label: str, mark: str, texts: Sequence[str]) -> Iterator[str]:
    """What is alike, counted; the most frequent first."""
    told = Counter(texts)
    for n, (text, count) in enumerate(told.most_common(_EXCEPTIONS)):
        times = f"  ({count} x)" if count > 1 else ""
        yield from _wrap(label if n == 0 else "", f"{mark}{text}{times}")
    if len(told) > _EXCEPTIONS:
        yield from _wrap("", f"and {len(told) - _EXCEPTIONS} more of other kinds")


def _wrap(label: str, text: str) -> Sequence[str]:
    head = f"{label:<{_LABEL}}"
    hang = " " * (_LABEL + (2 if text[:2] in ("~ ", "+ ", "! ", "- ", "? ") else 0))
    return textwrap.wrap(
        cut(text, 600),
        width=_WIDTH,
        initial_indent=head,
        subsequent_indent=hang,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [head.rstrip()]


def outcome_word(outcome: ItemOutcome) -> str:
    """The colour of an outcome."""
    return {"done": "green", "refused": "bold red"}.get(outcome.state, "yellow")


def act_of(line: ActLine) -> dict[str, object]:
    """What an audit line says, as plain values; nothing where it was erased."""
    import orjson

    return {} if line.data is None else dict(orjson.loads(line.data))
