"""What an operator's act would hit: the step that is skipped, the state that is forced, the lock freed.

Each answers with the exact thing, or with a sentence why there is none. Preview and act are made of the same
answer, so they cannot name different things.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sagacity.decide.waits import Heard, heard
from sagacity.definition.facts import Facts, encoded
from sagacity.definition.flow import Flow, Step
from sagacity.definition.machine import path
from sagacity.definition.table import entered_by, fire, nearest, next_steps
from sagacity.errors import InputError, SagacityError
from sagacity.model.canonical import Json, canonical
from sagacity.model.record import CLOSED, Effect, EffectStatus, Held, Phase, Record, Run, Status, Wait

Args = Mapping[str, Any]

_WORDS = {"yes": True, "no": False, True: True, False: False}


def own(record: Record, flow: Flow | None) -> Flow | str:
    """The saga's own definition, or that it is not here."""
    if flow is None:
        return f"the definition {record.definition}@{record.version} is not loaded here: name its module"
    if flow.name != record.definition or flow.version != record.version:
        return f"it runs {record.definition}@{record.version}, and here is only {flow.name}@{flow.version}"
    return flow


def told(word: Any) -> bool | None:
    """What `yes` and `no` mean; None: it is neither."""
    return _WORDS.get(word) if isinstance(word, (str, bool)) else None


# --- signal -----------------------------------------------------------------------------------------


def heard_now(record: Record, flow: Flow | None, args: Args) -> tuple[Wait, Heard] | str:
    """The wait that a signal is for, and what it makes of the saga."""
    mine = own(record, flow)
    if isinstance(mine, str):
        return mine
    name = args.get("name")
    wait = next((w for w in record.waits if w.signal is not None and w.signal == name), None)
    if wait is None:
        names = ", ".join(sorted({w.signal for w in record.waits if w.signal}))
        return f"it does not wait for {name!r} now (it waits for: {names})"
    try:
        found = heard(record, mine, wait, canonical(args.get("data")))
    except SagacityError as error:
        return f"what it carries cannot be stored: {error}"
    except Exception as error:
        return f"a guard of {wait.name} failed: {type(error).__name__}: {error}"
    return found if isinstance(found, str) else (wait, found)


# --- skip -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a person answers for.

    Attributes:
        effect: the step's, if it has one.
        run: the execution under way; None: it has not begun, or going back.
        landed: the effect happened, as the person says or the log knows.
        back: it goes back, and the undo of `effect` counts as done.
        result: canonical, as the step's type has it.
        state: the machine's after it.
    """

    step: str
    effect: Effect | None
    run: Run | None
    landed: bool
    back: bool
    visit: int
    attempt: int
    result: Json
    state: tuple[str, ...]
    pivot: bool = False


def answered(record: Record, flow: Flow | None, args: Args) -> Answer | str:
    """What a skip would answer for."""
    if record.backward:
        return _undo_answered(record, args)
    mine = own(record, flow)
    if isinstance(mine, str):
        return mine
    try:
        step = _skipped(record, mine, args.get("step"))
        return step if isinstance(step, str) else _answer(record, mine, step, args)
    except InputError as error:
        return str(error)
    except Exception as error:
        return f"a guard failed: {type(error).__name__}: {error}"


def _undo_answered(record: Record, args: Args) -> Answer | str:
    effect = next((e for e in reversed(record.effects) if e.status not in CLOSED), None)
    if effect is None:
        return "nothing is left to be made good: retry it"
    if args.get("step") not in (None, effect.step):
        return f"{effect.step} is made good next: effects are undone in exact reverse order"
    landed = told(args.get("landed"))
    if landed is None and not effect.landed:
        return f"say whether {effect.step} happened outside: `landed` yes or no"
    if landed is False and effect.landed:
        return f"{effect.step} is known to have happened: its undo counts as done, so say `landed` yes"
    if landed is False and effect.children:
        return f"{effect.step} started child sagas: they exist, so say `landed` yes"
    try:
        result = canonical(args.get("result"))
    except SagacityError as error:
        return str(error)
    return Answer(
        step=effect.step,
        effect=effect,
        run=None,
        landed=landed is not False,
        back=True,
        visit=effect.visit,
        attempt=effect.undo_attempts + 1,
        result=result,
        state=record.state,
    )


def _skipped(record: Record, flow: Flow, name: Any) -> Step | str:
    """The step that is skipped: the one that failed; where none is under way, the one whose turn it is."""
    phases = (Phase.RETRY, Phase.GAVE_UP, *((Phase.OPEN,) if record.status is Status.STUCK else ()))
    steps = [flow.steps[run.step] for run in record.runs if run.phase in phases]
    if not steps and record.status is Status.STUCK:
        steps = list(next_steps(flow, record.state, Facts(flow, record.input, record.results)))
        steps = [step for step in steps if record.run_of(step.name) is None]
    names = ", ".join(step.name for step in steps)
    if name is not None:
        steps = [step for step in steps if step.name == name]
    if len(steps) == 1:
        return steps[0]
    if not names:
        return f"in {', '.join(record.state)} no step is held up"
    return f"say which step: {names}" if name is None else f"{name} is not held up (held up: {names})"


def _answer(record: Record, flow: Flow, step: Step, args: Args) -> Answer | str:
    if step.child is not None:
        return f"{step.name} starts child sagas: it cannot be answered for by hand"
    run = record.run_of(step.name)
    visit = run.visit if run is not None else record.visits.get(step.name, 0) + 1
    effect = record.effect_of(step.name, visit)
    landed = told(args.get("landed"))
    if step.effectful and landed is None:
        return f"say whether {step.name} happened outside: `landed` yes or no"
    if step.effectful and landed and effect is None:
        return f"{step.name} was not tried, so nothing is there to undo: say `landed` no"
    result = encoded(step.result, args.get("result"), what=f"the result of {step.name}")
    results = {**record.results, step.name: result}
    state = fire(flow, record.state, step.event, Facts(flow, record.input, results))
    if state is None:
        return f"with that result no guard of {step.event!r} lets it pass"
    return Answer(
        step=step.name,
        effect=effect,
        run=run,
        landed=landed if step.effectful and landed is not None else True,
        back=False,
        visit=visit,
        attempt=run.attempt if run is not None else 1,
        result=result,
        state=state,
        pivot=step.pivot,
    )


# --- force ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """Where a force leads, and what it ends; see `Forced`. `why`: what the edge is declared for."""

    state: tuple[str, ...]
    edge: str | None
    why: str | None
    left: tuple[str, ...]
    landed: tuple[int, ...]
    void: tuple[int, ...]
    pivot: bool


def forced(record: Record, flow: Flow | None, args: Args) -> Move | str:
    """Where a force would lead."""
    mine = own(record, flow)
    if isinstance(mine, str):
        return mine
    to = args.get("to")
    edges = [o for o in mine.overrides if any(o.source in path(mine.nodes, leaf) for leaf in record.state)]
    if not isinstance(to, str) or to not in mine.nodes:
        return f"{mine.name} has no state {to!r} (it has: {', '.join(leaves(mine))})"
    edge = next((o for o in edges if o.target == to), None)
    if edge is None and not args.get("break_edge"):
        known = ", ".join(o.target for o in edges) or "none"
        return f"no override edge leads from {', '.join(record.state)} to {to} (declared: {known})"
    if edge is None and mine.nodes[to].children:
        return f"{to} has states in it: name one of them"
    source = edge.source if edge is not None else nearest(mine, record.state, to)
    state = entered_by(mine, record.state, source, to)
    if state == record.state:
        return "it stands there already: retry it"
    found = _settled(record, mine, state, args.get("landed"))
    if isinstance(found, str):
        return found
    left, landed, void = found
    return Move(
        state=state,
        edge=edge.name if edge is not None else None,
        why=edge.why if edge is not None else None,
        left=left,
        landed=landed,
        void=void,
        pivot=any(leaf in mine.pivots_behind for leaf in state),
    )


def leaves(flow: Flow) -> list[str]:
    """Its leaf states, in document order."""
    return [node.id for node in flow.nodes.values() if not node.children]


def _settled(
    record: Record, flow: Flow, state: tuple[str, ...], word: Any
) -> tuple[tuple[str, ...], tuple[int, ...], tuple[int, ...]] | str:
    """The steps that are left, and what becomes of their effects; or which word is missing."""
    kept = {s.name for leaf in record.state if leaf in state for s in flow.steps_at.get(leaf, ())}
    left = tuple(run.step for run in record.runs if run.step not in kept)
    landed: list[int] = []
    void: list[int] = []
    for run in record.runs:
        effect = record.effect_of(run.step, run.visit)
        if run.step not in left or effect is None or effect.status is not EffectStatus.ARMED:
            continue
        happened = told(word.get(run.step) if isinstance(word, Mapping) else word)
        if effect.children:
            happened = True
        elif not run.unknown and run.phase is not Phase.OPEN:
            happened = False
        elif happened is None:
            return f"say whether {run.step} happened outside: `landed` yes or no"
        (landed if happened else void).append(effect.n)
    return left, tuple(landed), tuple(void)


# --- release-lock -----------------------------------------------------------------------------------


def on_it(record: Record, args: Args) -> Held | str:
    """The lock, or the place in its queue, that is taken from this saga."""
    name, fence = args.get("object"), args.get("fence")
    if not isinstance(fence, int) or isinstance(fence, bool):
        return "say which lock: `object` with its fencing number `fence`, as `locks` shows it"
    if _uuid(args.get("holder")) != record.id:
        return f"the expected holder is {args.get('holder')}, and this is saga {record.id}"
    found = next((lock for lock in record.locks if lock.object == name), None)
    if found is None:
        names = ", ".join(lock.object for lock in record.locks)
        return f"it has no lock on {name} (it has: {names})"
    return found


def _uuid(given: Any) -> UUID | None:
    try:
        return given if isinstance(given, UUID) else UUID(str(given))
    except ValueError:
        return None
