"""The lines of the log: one frozen class for each atomic thing that can happen to a saga.

The fields of a line are the content of its `data` column; the class attribute `kind` names
it there. A line holds facts, never references to code, so the log can be folded again by
somebody who no longer has the flow.
"""

from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, ClassVar, Literal
from uuid import UUID

import orjson
from pydantic import TypeAdapter

from sagacity.model import by_hand
from sagacity.model import line as base
from sagacity.model.canonical import NULL, Json, JsonText
from sagacity.model.record import Effect, Held, Restore, Staged, Wait, WaitsFor

SCHEMA_VERSION = 1
"""Shape of the `data` that this release writes; stored on every line."""

Line = base.Line
Act = by_hand.Act
Paused = by_hand.Paused
Resumed = by_hand.Resumed
Skipped = by_hand.Skipped
Forced = by_hand.Forced
Abandoned = by_hand.Abandoned
LockReleased = by_hand.LockReleased


@dataclass(frozen=True, slots=True, kw_only=True)
class Started(Line):
    """A saga came into being. `effects` and `restores` are set only for a rollback after commit.

    `trace`: the W3C `traceparent` that all its work stands below, where it is traced.
    """

    kind: ClassVar[str] = "started"
    definition: str
    version: int
    definition_hash: str
    key: str
    request_hash: str
    input: Json
    state: tuple[str, ...]
    parent: UUID | None = None
    parent_step: str | None = None
    rolls_back: UUID | None = None
    effects: tuple[Effect, ...] = ()
    restores: tuple[Restore, ...] = ()
    trace: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked(Line):
    """Locks asked for. With `granted` they are held at once; without, the saga stands in the queues."""

    kind: ClassVar[str] = "locked"
    locks: tuple[Held, ...]
    granted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted(Line):
    """The saga came to the front of all its queues."""

    kind: ClassVar[str] = "granted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent(Line):
    """An effect is about to be tried; its compensation is registered by this very line."""

    kind: ClassVar[str] = "intent"
    step: str
    visit: int
    attempt: int
    external: str
    key: str
    undo: str | None
    safe_on_nothing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Spawned(Line):
    """A step's child sagas are started; undoing it means undoing them."""

    kind: ClassVar[str] = "spawned"
    step: str
    visit: int
    key: str
    children: tuple[UUID, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed(Line):
    """A step ended well. `state` is the machine's state after it.

    `landed`: False where the step came to an end without making its effect (nothing to undo).
    """

    kind: ClassVar[str] = "completed"
    step: str
    visit: int
    attempt: int
    result: Json
    state: tuple[str, ...]
    staged: tuple[Staged, ...] = ()
    pivot: bool = False
    landed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(Line):
    """An attempt ended badly.

    Attributes:
        landed: whether its effect happened outside: no, yes, unknown, or none (it has no effect).
        retry_at: when it is tried again; None: it gave up.
        counts: the retry policy counts this attempt (not so when a worker was lost).
        signal: a signal that makes the next attempt due at once (the step asked to be woken by it).
    """

    kind: ClassVar[str] = "failed"
    step: str
    visit: int
    attempt: int
    error: str
    landed: Literal["no", "yes", "unknown", "none"]
    retry_at: datetime | None
    counts: bool = True
    signal: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotTried(Line):
    """An intent was written, and then the call was not made (hand-back, open breaker, cancel)."""

    kind: ClassVar[str] = "not_tried"
    step: str
    visit: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Interrupted(Line):
    """The saga was taken over: its worker fell silent with it in hand."""

    kind: ClassVar[str] = "interrupted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Awaiting(Line):
    """The saga reached a state in which it listens for something from outside."""

    kind: ClassVar[str] = "awaiting"
    waits: tuple[Wait, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slept(Line):
    """Nothing to do until `due_at` or until what it waits for arrives."""

    kind: ClassVar[str] = "slept"
    waits_for: WaitsFor
    due_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Signalled(Line):
    """What a wait was for arrived. `state`: the machine's after it. `message` None: an `act` has it."""

    kind: ClassVar[str] = "signalled"
    wait: str
    signal: str
    message: UUID | None
    data: Json
    actor: str | None
    state: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedOut(Line):
    """A wait's deadline, or a timer, came. `state` is unchanged where the saga now goes back."""

    kind: ClassVar[str] = "timed_out"
    wait: str
    state: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined(Line):
    """All regions of a parallel state (or a compound's end) are reached; the machine moves on."""

    kind: ClassVar[str] = "joined"
    of: str
    state: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildEnded(Line):
    """A child saga ended with `status`."""

    kind: ClassVar[str] = "child_ended"
    step: str
    child: UUID
    status: str
    message: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelAsked(Line):
    """Somebody asked for a cancel; it takes effect once no effect's outcome is open.

    `restart`: the saga is a lock cycle's victim and starts anew once it is back.
    """

    kind: ClassVar[str] = "cancel_asked"
    reason: str
    actor: str | None
    message: UUID | None
    restart: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ActRefused(Line):
    """A signal or an operator's act could not be taken in the present status."""

    kind: ClassVar[str] = "act_refused"
    act: str
    why: str
    message: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Compensating(Line):
    """From here only undo: staged changes are dropped, no forward step starts any more."""

    kind: ClassVar[str] = "compensating"
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Undone(Line):
    """The compensation of effect `n` ran. `empty`: the effect had never happened."""

    kind: ClassVar[str] = "undone"
    n: int
    step: str
    undo: str
    attempt: int
    result: Json = NULL
    empty: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoFailed(Line):
    """A compensation's attempt failed; `retry_at` None: it gave up."""

    kind: ClassVar[str] = "undo_failed"
    n: int
    step: str
    undo: str
    attempt: int
    error: str
    retry_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied(Line):
    """A participant's staged operations were applied at commit: one line per object.

    `object` and `version` stand in columns of their own. For rows of the user's tables
    `before` and `after` are the row's columns; `own_table` is True.
    """

    kind: ClassVar[str] = "applied"
    object: str = field(metadata={"column": True})
    version: int = field(metadata={"column": True})
    before: Json
    after: Json
    operations: tuple[Staged, ...]
    own_table: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed(Line):
    """The end: everything happened. Frees all locks."""

    kind: ClassVar[str] = "committed"


@dataclass(frozen=True, slots=True, kw_only=True)
class RolledBack(Line):
    """The end: nothing happened that was not made good. Frees all locks."""

    kind: ClassVar[str] = "rolled_back"
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stuck(Line):
    """Nothing will move this by itself: an operator must. Locks stay."""

    kind: ClassVar[str] = "stuck"
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Retried(Line):
    """An operator sent a stuck or waiting saga on: attempts count anew. `message` None: an `act` has it."""

    kind: ClassVar[str] = "retried"
    reason: str | None
    actor: str | None
    message: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackAsked(Line):
    """A committed saga is to be rolled back; saga `rollback` does it."""

    kind: ClassVar[str] = "rollback_asked"
    rollback: UUID
    actor: str | None
    message: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted(Line):
    """Another saga than the one that started it, step `step` of `parent`, is to be told of its end."""

    kind: ClassVar[str] = "adopted"
    parent: UUID
    step: str
    message: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Restarted(Line):
    """Rolled back as the victim of a lock cycle and sent to the start again; frees all locks."""

    kind: ClassVar[str] = "restarted"
    why: str
    state: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased(Line):
    """The `data` of other lines was erased on request; their digests, and so the chain, stay."""

    kind: ClassVar[str] = "erased"
    saga: UUID
    seqs: tuple[int, ...]
    reason: str
    actor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsed(Line):
    """Only in the dry lane: this saga was a dry run.

    `data`: the run's report; JSON null for the sagas that the rehearsed one started.
    """

    kind: ClassVar[str] = "rehearsed"
    run: UUID
    verdict: str
    data: Json = NULL


KINDS: dict[str, type[Line]] = {line.kind: line for line in Line.__subclasses__()}
_JSON = frozenset({"input", "result", "data", "before", "after", "args"})
_COLUMNS = ("at", "object", "version")
_ADAPTERS: dict[str, TypeAdapter[Any]] = {}
_PLAN: dict[type[Line], tuple[tuple[str, bool], ...]] = {
    cls: tuple(
        (f.name, f.name in _JSON)
        for f in fields(cls)
        if f.name not in _COLUMNS or not f.metadata.get("column")
    )
    for cls in KINDS.values()
}


def line_data(line: Line) -> JsonText:
    """The line's content as canonical JSON text, values of the user's embedded as they are."""
    content = {
        name: orjson.Fragment(getattr(line, name)) if json else _embed(getattr(line, name))
        for name, json in _PLAN[type(line)]
    }
    return JsonText(orjson.dumps(content, option=orjson.OPT_SORT_KEYS).decode())


def read_line(
    kind: str, data: str, *, at: datetime, object: str | None = None, version: int | None = None
) -> Line:
    """The line that a row of the log holds.

    Raises:
        KeyError: a kind that this release does not know.
        pydantic.ValidationError: `data` is not what that kind holds.
    """
    adapter = _ADAPTERS.get(kind)
    if adapter is None:
        adapter = _ADAPTERS[kind] = TypeAdapter(KINDS[kind])
    content = orjson.loads(data)
    content["at"] = at
    if kind == Applied.kind:
        content["object"], content["version"] = object, version
    line: Line = adapter.validate_python(content)
    return line


def _embed(value: Any) -> Any:
    """Nested records as objects, so that their keys are sorted too, their JSON texts embedded."""
    if isinstance(value, tuple):
        return [_embed(item) for item in value]
    if isinstance(value, (Effect, Staged, Restore, Held, Wait)):
        return {
            f.name: orjson.Fragment(item) if f.name in _JSON_NESTED else _embed(item)
            for f in fields(value)
            for item in (getattr(value, f.name),)
        }
    return value


_JSON_NESTED = frozenset({"result", "args", "before", "after"})
