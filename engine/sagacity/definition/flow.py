"""A flow as the engine runs it: plain tables compiled once from the class a user wrote.

python-statemachine defines, validates and draws the machine; restoring it for every event
costs more than everything else together, so the engine walks these tables instead. That both
move alike is proved by a property test, not assumed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from pydantic import BaseModel, TypeAdapter

from sagacity.model.record import WaitsFor

CANCEL = "cancel"
"""What `otherwise=` and `awaits(...)` name to send the saga back."""


NO_DEADLINE = timedelta(days=36_500)
"""`within` of a wait without a deadline of its own: another wait of its state has one, which comes first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A state. `initial`: the children entered with it (all regions of a parallel state)."""

    id: str
    kind: Literal["atomic", "compound", "parallel"] = "atomic"
    final: bool = False
    parent: str | None = None
    children: tuple[str, ...] = ()
    initial: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """A condition on an edge: the flow's method `name` must answer `expected`."""

    name: str
    expected: bool
    call: Callable[..., bool]
    params: tuple["Param", ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """One transition; several with one event are tried in order of declaration."""

    event: str
    source: str
    target: str
    guards: tuple[Guard, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Param:
    """What a user's function wants under `name`, found by its annotation.

    Attributes:
        kind: input (the saga's input), external, stage, result (of an earlier step or wait), saga (`About`).
        source: for a result, the names of the steps or waits whose result type it is, latest first.
        type: the annotated class.
        optional: None is an answer (`X | None`).
    """

    name: str
    kind: Literal["input", "external", "stage", "result", "saga"]
    type: Any
    source: tuple[str, ...] = ()
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Tenacity's strategies, asked as pure functions: `stop` and `wait` of one `RetryCallState`."""

    stop: Any
    wait: Any
    gives_up: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Undo:
    """How an effect is made good.

    Attributes:
        name: `Refund` or `Payments.void`; what the log and the compensation row say.
        kind: a Compensation class, an external's own inverse, or the child saga itself.
        run: the function; its params for a compensation (`input`, `result`, externals).
        external: for an inverse, the external's class; the inverse takes the step's result.
    """

    name: str
    kind: Literal["compensation", "inverse", "child"]
    safe_on_nothing: bool
    retry: Retry
    timeout: timedelta
    cls: Any = None
    run: Callable[..., Any] | None = None
    is_async: bool = True
    params: tuple[Param, ...] = ()
    external: Any = None
    method: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One atomic action bound to one event of the machine.

    Attributes:
        effectful: it takes an external with effects, so an intent is written before it runs.
        external: name of that external (for the log).
        late_locks: locks to take before this step runs (a function of the same params), or None.
        child: the Saga class that its returned inputs start, or None.
        result: adapter of the return type.
    """

    name: str
    event: str
    function: Callable[..., Any]
    is_async: bool
    params: tuple[Param, ...]
    effectful: bool
    external: str | None
    undo: Undo | None
    final: bool
    pivot: bool
    retry: Retry
    timeout: timedelta
    result: TypeAdapter[Any]
    result_type: Any
    late_locks: Callable[..., Any] | None = None
    late_params: tuple[Param, ...] = ()
    child: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Await:
    """Something from outside that moves the machine.

    Attributes:
        event: the event it fires; None: it cancels.
        kind: SIGNAL, APPROVAL or TIMER.
        signal: the signal's name (for an approval: the approval's name); None for a timer.
        within: time from reaching the state to the deadline (for a timer: to its firing).
        otherwise: at the deadline: CANCEL or an event; None for a timer.
        data: adapter of what the signal carries.
        states: leaf states in which it listens.
    """

    name: str
    event: str | None
    kind: WaitsFor
    signal: str | None
    within: timedelta
    otherwise: str | None
    data: TypeAdapter[Any]
    data_type: Any
    states: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """An edge that only an operator takes: from `source` (or a state in it) to `target`, and what for."""

    name: str
    source: str
    target: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """One compiled definition.

    Attributes:
        hash: SHA-256 (hex) over everything that decides how an instance runs (not over the code of steps).
        start: leaf states entered at the beginning.
        steps_at: leaf state → steps whose event leaves it (or an ancestor of it), in declared order.
        awaits_at: leaf state → waits that listen there.
        participants: the plain method: call it with `self` and the input.
        joins: node id → edges that fire when it is done (`done_state_<id>`).
        pivots_behind: leaf states that lie only behind a pivot.
        externals: names of all externals its steps and compensations take → class.
        overrides: edges that only operators take, in declared order.
    """

    name: str
    version: int
    hash: str
    cls: Any
    input: type[BaseModel]
    key_field: str | None
    nodes: Mapping[str, Node]
    start: tuple[str, ...]
    edges: Mapping[str, tuple[Edge, ...]]
    steps: Mapping[str, Step]
    awaits: Mapping[str, Await]
    steps_at: Mapping[str, tuple[Step, ...]]
    awaits_at: Mapping[str, tuple[Await, ...]]
    joins: Mapping[str, tuple[Edge, ...]]
    participants: Callable[..., Any]
    externals: Mapping[str, Any]
    compensations: Mapping[str, Undo]
    self: Any = None
    module: str = ""
    doc: str = ""
    events_of_leaf: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    pivots_behind: frozenset[str] = frozenset()
    overrides: tuple[Override, ...] = ()
