"""From a class body to the tables that the engine walks.

Compiled once, when the class is made. The hash covers everything that decides how an instance
runs, so that a definition that changed without a new version is noticed.
"""

import hashlib
import inspect
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from pydantic import BaseModel, TypeAdapter
from pydantic.dataclasses import dataclass as pydantic_dataclass
from tenacity import stop_never

from sagacity.definition.draft import Draft, Producer, StepDraft, WaitDraft, read_steps, read_waits
from sagacity.definition.external import External
from sagacity.definition.flow import CANCEL, NO_DEADLINE, Await, Edge, Flow, Step, Undo
from sagacity.definition.graph import without
from sagacity.definition.inject import params_of
from sagacity.definition.machine import Machine, read_machine
from sagacity.definition.overrides import read_overrides
from sagacity.definition.params import wishes_of, without_none
from sagacity.definition.registry import place_of
from sagacity.definition.retries import DEFAULT_STOP, described, retry_of
from sagacity.definition.undo import child_undo, undo_of
from sagacity.model.canonical import canonical
from sagacity.model.record import WaitsFor


@pydantic_dataclass(frozen=True, slots=True, kw_only=True)
class ChildEnd:
    """How one child saga ended."""

    id: UUID
    status: str


class Approval(BaseModel):
    """What an approval carries unless the wait says `data=`."""

    approved: bool
    comment: str | None = None


def drafted(cls: Any, namespace: Mapping[str, Any]) -> Draft:
    """Read a class body: machine, steps, waits, and what gives which result."""
    self_ = object.__new__(cls)
    draft = Draft(cls=cls, self_=self_, where=place_of(cls), namespace=namespace)
    draft.input = getattr(cls, "Input", None)
    draft.machine = read_machine(namespace, self_, draft.blame)
    read_steps(draft)
    read_waits(draft)
    for step in draft.steps.values():
        returns = list[ChildEnd] if step.mark.child is not None else step.wishes.returns
        if returns is not None:
            bare, optional = without_none(returns)
            draft.producers.append(
                Producer(name=step.name, event=step.event, type=bare, certain=not optional)
            )
    for wait in draft.waits.values():
        type_ = _data_type(wait)
        if type_ is not None and wait.event is not None:
            draft.producers.append(Producer(name=wait.name, event=wait.event, type=type_, certain=True))
    return draft


def compiled(draft: Draft, *, name: str, version: int, key_field: str | None) -> Flow:
    """The flow of a drafted class. Faults of its functions are added to the draft."""
    machine = _with_guard_params(draft)
    steps = {step.name: _step(draft, step) for step in draft.steps.values()}
    waits = {wait.name: _await(draft, wait) for wait in draft.waits.values()}
    flow = Flow(
        name=name,
        version=version,
        hash="",
        cls=draft.cls,
        input=draft.input,
        key_field=key_field,
        nodes=machine.nodes,
        start=machine.start,
        edges=machine.edges,
        steps=steps,
        awaits=waits,
        steps_at=_steps_at(machine, steps),
        awaits_at=_awaits_at(machine, waits),
        joins=machine.joins,
        participants=_participants(draft),
        externals=_externals(steps),
        compensations={s.undo.name: s.undo for s in steps.values() if s.undo is not None},
        overrides=read_overrides(draft),
        self=draft.self_,
        module=draft.cls.__module__,
        doc=inspect.cleandoc(draft.cls.__dict__.get("__doc__") or ""),
        events_of_leaf=_events_of_leaf(machine),
        pivots_behind=_only_behind(draft),
    )
    return replace(flow, hash=hash_of(flow))


def _with_guard_params(draft: Draft) -> Machine:
    machine = draft.machine
    alone = {step.event: step.name for step in draft.steps.values() if _is_alone(draft, step)}
    for table in (machine.edges, machine.joins):
        for name, edges in table.items():
            table[name] = tuple(_guarded(draft, edge, alone.get(edge.event)) for edge in edges)
    return machine


def _is_alone(draft: Draft, step: StepDraft) -> bool:
    """Whether it is the only step of every state that its event leaves."""
    mine = set(draft.machine.sources(step.event))
    others = [other for other in draft.steps.values() if other is not step]
    return not any(mine & set(draft.machine.sources(other.event)) for other in others)


def _guarded(draft: Draft, edge: Edge, own: str | None) -> Edge:
    if own is None:
        own = next((wait.name for wait in draft.waits.values() if wait.event == edge.event), None)
    guards = []
    for guard in edge.guards:
        function = draft.namespace[guard.name]
        wishes = wishes_of(function, draft.namespace, draft.blame).params
        params = params_of(draft, guard.name, wishes, at=[edge.source], own=own, pure=True)
        guards.append(replace(guard, params=params))
    return replace(edge, guards=tuple(guards))


def _step(draft: Draft, step: StepDraft) -> Step:
    mark, at = step.mark, draft.sources(step.event)
    params = params_of(draft, step.name, step.wishes.params, at=at)
    effectful = [p.type for p in params if p.kind == "external" and p.type.effects]
    external: type[External] | None = effectful[0] if effectful else None
    undo = child_undo() if mark.child is not None else undo_of(draft, step, external)
    behind = draft.behind(at)
    late, late_params = _late_locks(draft, step)
    result_type = list[ChildEnd] if mark.child is not None else step.wishes.returns
    return Step(
        name=step.name,
        event=step.event,
        function=step.function.__get__(draft.self_),
        is_async=inspect.iscoroutinefunction(step.function),
        params=params,
        effectful=external is not None,
        external=external.name if external is not None else None,
        undo=undo,
        final=mark.final,
        pivot=mark.pivot,
        retry=retry_of(
            mark.retry, partial(draft.blame, step.name), stop=stop_never if behind else DEFAULT_STOP
        ),
        timeout=mark.timeout,
        result=_adapter(draft, step.name, result_type),
        result_type=result_type,
        late_locks=late,
        late_params=late_params,
        child=mark.child,
    )


def _late_locks(draft: Draft, step: StepDraft) -> tuple[Any, Any]:
    said = step.mark.locks
    if said is None:
        return None, ()
    function = draft.namespace.get(said) if isinstance(said, str) else said
    if not inspect.isfunction(function) or inspect.iscoroutinefunction(function):
        draft.blame(
            step.name,
            f"locks={said!r} is no plain method of this class.",
            "Write `def more(self, …): yield exclusive(…)` above the step, and `locks=more`.",
        )
        return None, ()
    wishes = wishes_of(function, draft.namespace, draft.blame).params
    at = draft.sources(step.event)
    return function.__get__(draft.self_), params_of(draft, function.__name__, wishes, at=at, pure=True)


def _adapter(draft: Draft, name: str, type_: Any) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(type_)
    except Exception as error:
        reason = str(error).splitlines()[0]
        draft.blame(
            name, f"{type_!r} cannot be stored as JSON ({reason}).", "Use a pydantic model or a dataclass."
        )
        return TypeAdapter(Any)


def _data_type(wait: WaitDraft) -> Any:
    if wait.mark.data is not None:
        return wait.mark.data
    return Approval if wait.mark.approval is not None else None


def _await(draft: Draft, wait: WaitDraft) -> Await:
    mark, type_ = wait.mark, _data_type(wait)
    if mark.after is not None:
        kind, within = WaitsFor.TIMER, mark.after
    else:
        kind = WaitsFor.APPROVAL if mark.approval is not None else WaitsFor.SIGNAL
        within = NO_DEADLINE if mark.within is None else mark.within
    return Await(
        name=wait.name,
        event=wait.event,
        kind=kind,
        signal=mark.signal or mark.approval,
        within=within if isinstance(within, timedelta) else NO_DEADLINE,
        otherwise=None if kind is WaitsFor.TIMER else wait.otherwise or CANCEL,
        data=_adapter(draft, wait.name, Any if type_ is None else type_),
        data_type=type_,
        states=wait.states,
    )


def _participants(draft: Draft) -> Any:
    function = draft.namespace.get("participants")
    if function is None:
        return _no_locks
    if not inspect.isfunction(function) or inspect.iscoroutinefunction(function):
        draft.blame("participants", "it is no plain method.", "Write `def participants(self, order: Input)`.")
        return _no_locks
    wishes = wishes_of(function, draft.namespace, draft.blame).params
    if len(wishes) != 1 or (draft.input is not None and wishes[0].type is not draft.input):
        draft.blame(
            "participants",
            "it takes the input and nothing else.",
            "Write `participants(self, order: Input)`.",
        )
    return function


def _no_locks(self: Any, input: Any) -> tuple[Any, ...]:
    """Participants of a flow that declares none."""
    del self, input
    return ()


def _steps_at(machine: Machine, steps: Mapping[str, Step]) -> dict[str, tuple[Step, ...]]:
    return {
        leaf: found
        for leaf in _leaves(machine)
        if (found := tuple(s for s in steps.values() if leaf in machine.sources(s.event)))
    }


def _awaits_at(machine: Machine, waits: Mapping[str, Await]) -> dict[str, tuple[Await, ...]]:
    return {
        leaf: found
        for leaf in _leaves(machine)
        if (found := tuple(wait for wait in waits.values() if leaf in wait.states))
    }


def _events_of_leaf(machine: Machine) -> dict[str, tuple[str, ...]]:
    return {
        leaf: tuple(event for event in machine.edges if leaf in machine.sources(event))
        for leaf in _leaves(machine)
    }


def _leaves(machine: Machine) -> list[str]:
    return [node.id for node in machine.nodes.values() if not node.children]


def _only_behind(draft: Draft) -> frozenset[str]:
    machine = draft.machine
    if not draft.pivots:
        return frozenset()
    return frozenset(_leaves(machine)) - without(machine, draft.pivots)


def _externals(steps: Mapping[str, Step]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for step in steps.values():
        undo = step.undo
        taken = [*step.params, *(undo.params if undo else ())]
        found |= {param.type.name: param.type for param in taken if param.kind == "external"}
    return found


def hash_of(flow: Flow) -> str:
    """SHA-256 (hex) over states, edges with their guards' names, steps, waits and the input's schema."""
    content: dict[str, Any] = {
        "name": flow.name,
        "key": flow.key_field,
        "input": _schema(flow),
        "states": [[n.id, n.kind, n.final, n.parent, list(n.initial)] for n in flow.nodes.values()],
        "edges": [_edge(edge) for edges in flow.edges.values() for edge in edges],
        "joins": [_edge(edge) for edges in flow.joins.values() for edge in edges],
        "steps": [_described_step(step) for step in flow.steps.values()],
        "waits": [_described_wait(wait) for wait in flow.awaits.values()],
    }
    if flow.overrides:  # else the hash is what it was before there were any
        content["overrides"] = [[o.name, o.source, o.target] for o in flow.overrides]
    return hashlib.sha256(canonical(content, limit=None).encode()).hexdigest()


def _schema(flow: Flow) -> Any:
    try:
        return flow.input.model_json_schema()
    except Exception:
        return None  # blamed where the input is checked


def _edge(edge: Edge) -> list[Any]:
    return [edge.event, edge.source, edge.target, [[guard.name, guard.expected] for guard in edge.guards]]


def _described_step(step: Step) -> dict[str, Any]:
    return {
        "name": step.name,
        "event": step.event,
        "external": step.external,
        "undo": _described_undo(step.undo),
        "final": step.final,
        "pivot": step.pivot,
        "retry": [described(step.retry.stop), described(step.retry.wait)],
        "timeout": str(step.timeout),
        "locks": step.late_locks.__name__ if step.late_locks else None,
        "child": step.child.__name__ if step.child else None,
    }


def _described_undo(undo: Undo | None) -> Any:
    return None if undo is None else [undo.name, undo.kind, undo.safe_on_nothing]


def _described_wait(wait: Await) -> dict[str, Any]:
    return {
        "name": wait.name,
        "event": wait.event,
        "kind": str(wait.kind),
        "signal": wait.signal,
        "within": str(wait.within),
        "otherwise": wait.otherwise,
        "states": list(wait.states),
    }
