"""A dry run beside a real one of the same input: played again from the real one's log, compared by points.

The real saga's log says what came from outside and how the services behaved; that is the script of the dry
run, and the states that the real one found are those it begins with. What then differs is the code, or a
mock. A real saga that is not over is compared up to where it is; what the dry run does behind that is what
may come.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import zip_longest
from typing import Any
from uuid import UUID

from pydantic import TypeAdapter

from sagacity.decide.draft import ended
from sagacity.dry.faults import Fault
from sagacity.dry.live import Live, Recorded, Statements
from sagacity.dry.play import Played, Scene, play
from sagacity.dry.report import embedded
from sagacity.dry.script import Arrival, Script
from sagacity.errors import NotFound
from sagacity.model import lines as L
from sagacity.model.canonical import NULL, Json, JsonText, canonical, loaded
from sagacity.model.record import Record, Status
from sagacity.model.unit import ObjectState
from sagacity.model.views import HistoryLine, LockView
from sagacity.store.base import RowImages, Store

_POINTS = ("path", "changes", "calls", "notices")


@dataclass(frozen=True, slots=True, kw_only=True)
class Real:
    """A real saga: its record and its lines."""

    record: Record
    story: tuple[HistoryLine, ...]

    @property
    def up_to(self) -> str | None:
        """Where it is, in words, as long as it is not over."""
        record = self.record
        if ended(record):
            return None
        waits = ", ".join(wait.name for wait in record.waits) or record.waits_for
        at = f"it is {record.status.value} in {'+'.join(record.state)}"
        return f"{at}, for {waits}" if record.status is Status.WAITING and waits else at

    def lines(self) -> list[L.Line]:
        """Its lines, read; erased ones are left out."""
        return [_read(line) for line in self.story if line.data is not None]


async def real_of(store: Store | None, saga: UUID) -> Real:
    """The real saga to compare with, as it is at one moment; it may be at work.

    Args:
        store: opened, of the live lane; None: there is none.
        saga: its id.

    Raises:
        NotFound: there is none, or nothing of it has happened yet.
    """
    row = await store.saga(saga) if store is not None else None
    if store is None or row is None:
        stored = store is not None and await store.messages(saga)
        why = "it has not begun, try again when it has" if stored else "there is no such saga here"
        raise NotFound(f"no saga {saga} to compare with: {why}")
    # What it wrote since its row was read is left out.
    story = [line for line in await store.history(saga) if line.seq < row.record.seq]
    return Real(record=row.record, story=tuple(story))


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One point at which they part. `what`: path, changes, calls or notices; `n`: which of them, from 1."""

    what: str
    n: int
    real: str
    dry: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What came of it.

    Attributes:
        points: how many of each kind were compared.
        up_to: where the real one is, if it is not over: what the dry run does behind that was not compared.
    """

    real: UUID
    dry: UUID
    points: dict[str, int]
    differences: tuple[Difference, ...]
    up_to: str | None = None

    @property
    def ok(self) -> bool:
        """Nothing differs."""
        return not self.differences

    def json(self) -> JsonText:
        """All of it as canonical JSON."""
        return canonical({"schema_version": 1, "ok": self.ok, **embedded(self)}, limit=None)

    def text(self) -> str:
        """For a person."""
        counts = ", ".join(f"{number} {what}" for what, number in self.points.items())
        lines = [f"COMPARED  real saga {self.real}", f"          dry run   {self.dry}", f"points: {counts}"]
        for one in self.differences:
            lines += [f"! {one.what} {one.n}", f"    real  {one.real}", f"    dry   {one.dry}"]
        if self.up_to is not None:
            lines.append(f"The real one is not over: {self.up_to}. Compared up to there.")
        last = f"{len(self.differences)} differences." if self.differences else "They are the same."
        return "\n".join([*lines, last]) + "\n"


_ADAPTER: TypeAdapter[Compared] = TypeAdapter(Compared)


def read_compared(data: str) -> Compared:
    """What `Compared.json` of it is.

    Raises:
        pydantic.ValidationError: it is none.
    """
    return _ADAPTER.validate_json(data)


def compared(scene: Scene, live: Live, real: Real) -> tuple[Played, Compared]:
    """Play the real saga's story dry, and compare. Blocks; on a thread without a running loop."""
    scene = as_it_was(scene, real)
    played = play(scene, _Then(live, real))
    return played, beside(real, played)


def beside(real: Real, played: Played) -> Compared:
    """A real saga and a played path, point by point."""
    dry = [_read(line) for line in played.stories[played.saga]]
    told = real.lines()
    differences: list[Difference] = []
    points: dict[str, int] = {}
    for what, tell in zip(_POINTS, (_path, _changes, _calls, _notices), strict=True):
        one, other = list(tell(told)), list(tell(dry))
        if real.up_to is not None:
            other = other[: len(one)]
        points[what] = max(len(one), len(other))
        for n, (left, right) in enumerate(zip_longest(one, other, fillvalue="nothing"), 1):
            if left != right:
                differences.append(Difference(what=what, n=n, real=left, dry=right))
    return Compared(
        real=real.record.id,
        dry=played.saga,
        points=points,
        differences=tuple(differences),
        up_to=real.up_to,
    )


def _path(lines: Sequence[L.Line]) -> Iterator[str]:
    for line in lines:
        match line:
            case L.Started():
                yield f"{line.definition} begins in {'+'.join(line.state)}"
            case L.Completed():
                yield f"{line.step} → {'+'.join(line.state)}"
            case L.Signalled() | L.TimedOut():
                yield f"{line.wait} {line.kind} → {'+'.join(line.state)}"
            case L.Joined():
                yield f"{line.of} joined → {'+'.join(line.state)}"
            case L.Undone():
                yield f"{line.step} undone by {line.undo}"
            case L.Compensating() | L.Committed() | L.RolledBack() | L.Stuck():
                yield line.kind


def _changes(lines: Sequence[L.Line]) -> Iterator[str]:
    for line in lines:
        if isinstance(line, L.Applied):
            operations = ", ".join(f"{one.operation} {one.args}" for one in line.operations)
            yield f"{line.object}: {operations}: {line.before} → {line.after}"


def _calls(lines: Sequence[L.Line]) -> Iterator[str]:
    for line in lines:
        if isinstance(line, L.Intent):
            yield f"{line.step} calls {line.external}, attempt {line.attempt}"
        elif isinstance(line, L.Undone):
            yield f"{line.undo} takes {line.step} back"


def _notices(lines: Sequence[L.Line]) -> Iterator[str]:
    for line in lines:
        if isinstance(line, (L.Committed, L.RolledBack, L.Stuck)):
            yield line.kind


# --- what the real one was told ---------------------------------------------------------------------------


def as_it_was(scene: Scene, real: Real) -> Scene:
    """`scene` with what came to the real saga from outside, and how the services behaved to it."""
    lines = real.lines()
    signals = dict(_signals(lines))
    script = scene.script.model_copy(update={"signals": {**signals, **scene.script.signals}})
    return replace(
        scene,
        script=Script.model_validate(script.model_dump()),
        faults=(*scene.faults, *_faults(lines)),
        recorded={n: Recorded(answer=said) for n, said in real.record.results.items() if said != NULL},
    )


def _signals(lines: Sequence[L.Line]) -> Iterator[tuple[str, Arrival]]:
    since: dict[str, Any] = {}
    for line in lines:
        if isinstance(line, L.Awaiting):
            since.update({wait.name: line.at for wait in line.waits})
        elif isinstance(line, L.Signalled):
            after = max(timedelta(0), line.at - since.get(line.wait, line.at))
            yield line.wait, Arrival(data=loaded(line.data), after=after)
        elif isinstance(line, L.TimedOut):
            yield line.wait, Arrival(never=True)


def _faults(lines: Sequence[L.Line]) -> Iterator[Fault]:
    """How services failed, and a cancel that somebody asked for."""
    tried = {line.step for line in lines if isinstance(line, L.Intent)}
    last = None
    for line in lines:
        if isinstance(line, L.Failed) and line.step in tried:
            once = "unreachable" if line.retry_at else "refused"
            kind = "lost" if line.landed in ("unknown", "yes") else once
            yield Fault(where="effect", name=line.step, kind=kind, hit=line.attempt)
        elif isinstance(line, L.UndoFailed):
            yield Fault(where="undo", name=line.step, kind="unreachable", hit=line.attempt)
        elif isinstance(line, L.CancelAsked) and line.message is not None and last is not None:
            yield Fault(where="cancel", name=last, kind="after")
        if isinstance(line, (L.Completed, L.Signalled)):
            last = line.step if isinstance(line, L.Completed) else line.wait


class _Then:
    """The live lane, with the objects that the real saga changed as it found them."""

    def __init__(self, live: Live, real: Real) -> None:
        self.tenant = live.tenant
        self._live = live
        self._began = real.record.created_at
        self._found: dict[str, Json] = {}
        for line in real.lines():
            if isinstance(line, L.Applied) and not line.own_table:
                self._found.setdefault(line.object, line.before)

    def now(self) -> Any:
        """When the real one began."""
        return self._began

    def objects(self, names: Sequence[str]) -> Mapping[str, ObjectState]:
        """As the real one found them; others as they are."""
        states = self._live.objects(names)
        return {
            name: replace(state, state=self._found[name]) if name in self._found else state
            for name, state in states.items()
        }

    def locks(self, name: str) -> Sequence[LockView]:
        """As they are."""
        return self._live.locks(name)

    def answers(self, definition: str) -> Mapping[str, Recorded]:
        """As they are."""
        return self._live.answers(definition)

    def rehearse(self, statements: Statements) -> Mapping[str, RowImages]:
        """As they are."""
        return self._live.rehearse(statements)


def _read(line: HistoryLine) -> L.Line:
    return L.read_line(line.kind, line.data or "null", at=line.at, object=line.object, version=line.version)
