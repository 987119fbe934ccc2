"""What a dry run found, as plain frozen values: the same for Python, HTTP and the command line.

Everything here is read off the log of the run and off its ledger; nothing is told by the engine itself.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import TypeAdapter

from sagacity.dry.branches import Branch, branches_of
from sagacity.dry.live import Live
from sagacity.dry.outside import Refusal
from sagacity.dry.play import Played, Scene
from sagacity.model import lines as L
from sagacity.model.canonical import NULL, Json, JsonText, canonical, loaded
from sagacity.model.record import EffectStatus, Held, Status
from sagacity.model.views import HistoryLine, LockView

SCHEMA_VERSION = 1

Verdict = Literal["would commit", "would roll back", "would be stuck", "would wait", "refused", "cannot tell"]

_ENDS: dict[Status, Verdict] = {
    Status.COMMITTED: "would commit",
    Status.ROLLED_BACK: "would roll back",
    Status.STUCK: "would be stuck",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One step of the path. `at`: virtual seconds since the run began; `state`: the machine's after it."""

    at: float
    kind: str
    name: str
    state: tuple[str, ...] = ()
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """One participant before and after. `operations`: their names; `own_table`: it is a row of the user's."""

    object: str
    before: Json
    after: Json
    operations: tuple[str, ...]
    own_table: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call that would have gone out; see `sagacity.dry.outside.Asked`."""

    at: float
    external: str
    call: str
    kind: str
    step: str | None
    key: str | None
    undoes: str | None
    args: Json
    outcome: str
    provenance: str
    answer: Json | None
    error: str | None
    age: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One live saga in a queue that the run would have stood in."""

    saga: UUID
    definition: str | None
    key: str | None
    mode: str
    held: bool
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Contention:
    """One lock of the run. `waits_for`: the live sagas that it would have waited for, now."""

    object: str
    mode: str
    waits_for: tuple[Place, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One notice that listeners would have got; it is stamped DRY."""

    saga: UUID
    kind: str
    data: Json
    stamp: str = "DRY"


@dataclass(frozen=True, slots=True, kw_only=True)
class Other:
    """A saga that the run started beside its own: a child, or its rollback."""

    saga: UUID
    definition: str
    key: str
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Came:
    """Something from outside. `at`: virtual seconds; `how`: came, early, twice, …; or what it came after."""

    at: float
    name: str
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How much of the flow the run went through: (of which, out of how many)."""

    states: tuple[int, int]
    effects: tuple[int, int]
    compensations: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """See the module.

    Attributes:
        run: the saga's id in the dry lane, by which the report is found again.
        at: the live store's instant at which the run began.
        seconds: how long it would have taken.
        faults: what was made to go wrong, as text.
        came: signals and cancels, in order.
        standing: what would be left outside that should not be.
        missed: faults that never came up: the run did not get there.
    """

    run: UUID
    tenant: str
    definition: str
    version: int
    hash: str
    key: str
    input: Json
    at: datetime
    seconds: float
    verdict: Verdict
    why: str | None
    path: tuple[Move, ...]
    not_taken: tuple[Branch, ...]
    objects: tuple[Changed, ...]
    calls: tuple[Call, ...]
    locks: tuple[Contention, ...]
    notices: tuple[Told, ...]
    others: tuple[Other, ...]
    refusals: tuple[Refusal, ...]
    faults: tuple[str, ...]
    missed: tuple[str, ...]
    came: tuple[Came, ...]
    standing: tuple[str, ...]
    coverage: Coverage
    lane: str = "dry"
    schema_version: int = SCHEMA_VERSION

    @property
    def ok(self) -> bool:
        """It came to an end, or to a wait that is to be; was refused nothing, and left nothing standing."""
        return self.verdict in ("would commit", "would roll back", "would wait") and not self.standing

    def json(self) -> JsonText:
        """The report as canonical JSON."""
        return canonical(embedded(self), limit=None)

    def text(self) -> str:
        """The report for a person, 80 columns wide."""
        from sagacity.dry.text import report_text

        return report_text(self)


_JSON = frozenset({"input", "before", "after", "args", "answer", "data"})


def embedded(value: Any) -> Any:
    """Dataclasses as mappings, with the JSON that they hold as values and not as text."""
    if is_dataclass(value) and not isinstance(value, type):
        return {
            f.name: loaded(held) if f.name in _JSON and held is not None else embedded(held)
            for f in fields(value)
            for held in (getattr(value, f.name),)
        }
    return [embedded(item) for item in value] if isinstance(value, tuple) else value


_ADAPTER: TypeAdapter[Report] = TypeAdapter(Report)


def read_report(data: str) -> Report:
    """The report that `Report.json` of it is.

    Raises:
        pydantic.ValidationError: it is none.
    """
    return _ADAPTER.validate_json(data)


def report_of(scene: Scene, played: Played, live: Live) -> Report:
    """What a played path tells."""
    record, flow = played.record, scene.flow
    verdict, why = verdict_of(played)
    story = [_read(line) for line in played.stories[played.saga]]
    missed = [f for f in scene.faults if f not in played.outside.fired]
    return Report(
        run=played.saga,
        tenant=live.tenant,
        definition=flow.name,
        version=flow.version,
        hash=flow.hash,
        key=record.key,
        input=record.input,
        at=played.began,
        seconds=round(played.seconds, 3),
        verdict=verdict,
        why=why,
        path=tuple(_moves(story, played.began)),
        not_taken=tuple(branches_of(flow, story)),
        objects=tuple(_changes(played)),
        calls=tuple(_calls(played)),
        locks=tuple(_contention(played, live)),
        notices=tuple(Told(saga=n.saga, kind=n.kind, data=n.data) for n in played.notices),
        others=tuple(_others(played)),
        refusals=tuple(dict.fromkeys(played.outside.refusals)),
        faults=tuple(str(fault) for fault in scene.faults),
        missed=tuple(str(fault) for fault in missed),
        came=tuple(Came(at=round(at, 3), name=name, how=how) for at, name, how in played.came),
        standing=tuple(played.standing),
        coverage=_coverage(scene, played, story),
    )


def verdict_of(played: Played) -> tuple[Verdict, str | None]:
    """How a path ends, and why."""
    record = played.record
    if played.outside.refusals:
        count = len(set(played.outside.refusals))
        return "refused", f"it does {count} thing{'s' * (count > 1)} that cannot be rehearsed"
    if played.endless:
        return "cannot tell", "it goes on and on: the run was stopped"
    if record.status in _ENDS:
        return _ENDS[record.status], record.reason
    waits = ", ".join(wait.name for wait in record.waits) or str(record.waits_for)
    if played.waiting:
        return "would wait", f"for {waits}"
    return "cannot tell", f"it waits for {waits}, and nothing comes"


def _read(line: HistoryLine) -> L.Line:
    return L.read_line(line.kind, line.data or "null", at=line.at, object=line.object, version=line.version)


_DETAILS = {
    L.Failed: "error",
    L.Compensating: "reason",
    L.RolledBack: "reason",
    L.Undone: "undo",
    L.UndoFailed: "error",
    L.Stuck: "why",
    L.ActRefused: "why",
}
_NAMES = ("definition", "step", "wait", "of", "act")
_TOLD = (
    *(L.Started, L.Completed, L.Signalled, L.TimedOut, L.Joined, L.Failed, L.Compensating, L.RolledBack),
    *(L.Undone, L.UndoFailed, L.Stuck, L.ActRefused, L.Committed, L.Interrupted, L.Restarted),
)


def moves_of(story: Sequence[HistoryLine]) -> list[Move]:
    """The path that a saga's lines tell, whether it was real or dry. `at`: seconds since its first line."""
    lines = [_read(line) for line in story if line.data is not None]
    return list(_moves(lines, lines[0].at)) if lines else []


def _moves(story: list[L.Line], began: datetime) -> Iterator[Move]:
    for line in story:
        if isinstance(line, _TOLD):
            yield Move(
                at=round((line.at - began).total_seconds(), 3),
                kind=line.kind,
                name=next((getattr(line, n) for n in _NAMES if hasattr(line, n)), ""),
                state=getattr(line, "state", ()),
                detail=getattr(line, _DETAILS[type(line)]) if type(line) in _DETAILS else None,
            )


def _changes(played: Played) -> Iterator[Changed]:
    """In the order in which they were written, over all sagas of the run."""
    for unit in played.units:
        for line in unit.lines:
            if isinstance(line, L.Applied):
                yield Changed(
                    object=line.object,
                    before=line.before,
                    after=line.after,
                    operations=tuple(staged.operation for staged in line.operations),
                    own_table=line.own_table,
                )


def _calls(played: Played) -> Iterator[Call]:
    for asked in played.outside.calls:
        yield Call(
            at=round(asked.at, 3),
            external=asked.external,
            call=asked.call,
            kind=asked.kind,
            step=asked.step,
            key=asked.key,
            undoes=asked.undoes,
            args=asked.args,
            outcome=asked.outcome,
            provenance=asked.provenance,
            answer=None if asked.answer == NULL else asked.answer,
            error=asked.error,
            age=asked.age,
        )


def _contention(played: Played, live: Live) -> Iterator[Contention]:
    asked: dict[str, Held] = {}
    for unit in played.units:
        for line in unit.lines:
            if isinstance(line, L.Locked):
                asked.update({held.object: held for held in line.locks})
    for name, held in asked.items():
        yield Contention(
            object=name,
            mode=held.mode,
            waits_for=tuple(_place(view) for view in _ahead(held.mode, list(live.locks(name)))),
        )


def _ahead(mode: str, queue: list[LockView]) -> list[LockView]:
    """Those in a live queue whom a newcomer in this mode waits for: all, or none among shared ones."""
    shared = mode == "shared" and all(view.mode == "shared" for view in queue)
    return [] if shared else queue


def _place(view: LockView) -> Place:
    return Place(
        saga=view.saga,
        definition=view.definition,
        key=view.key,
        mode=view.mode,
        held=view.held,
        since=view.since,
    )


def _others(played: Played) -> Iterator[Other]:
    for saga, record in played.records.items():
        if saga != played.saga:
            yield Other(saga=saga, definition=record.definition, key=record.key, status=record.status.value)


def _coverage(scene: Scene, played: Played, story: list[L.Line]) -> Coverage:
    flow = scene.flow
    leaves = {node.id for node in flow.nodes.values() if node.kind == "atomic"}
    visited = {leaf for line in story for leaf in getattr(line, "state", ())} & leaves
    effectful = [step for step in flow.steps.values() if step.effectful]
    landed = {effect.step for effect in played.record.effects if effect.landed}
    undone = {e.step for e in played.record.effects if e.status is EffectStatus.UNDONE}
    undoable = [step for step in effectful if step.undo is not None]
    return Coverage(
        states=(len(visited), len(leaves)),
        effects=(len(landed & {s.name for s in effectful}), len(effectful)),
        compensations=(len(undone & {s.name for s in undoable}), len(undoable)),
    )
