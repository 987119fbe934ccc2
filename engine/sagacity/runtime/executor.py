"""One attempt of a step or of a compensation: run the user's function, and say what happened.

Nothing here decides anything. Whether an effect is standing is read off the doors it went
through; the function's own exceptions only tell why.
"""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from datetime import timedelta
from typing import Any

from pydantic import BaseModel

from sagacity.clock import SystemClock
from sagacity.decide.draft import RunStep, RunUndo
from sagacity.definition.external import External
from sagacity.definition.facts import Facts
from sagacity.definition.flow import Flow, Param
from sagacity.definition.params import About
from sagacity.definition.stage import Stage
from sagacity.errors import Later, Refused, Unavailable
from sagacity.model.canonical import NULL, Json, canonical, storable
from sagacity.model.outcome import Completed, Failed, Outcome, Unknown, Waiting
from sagacity.model.record import Lane, Record
from sagacity.runtime.doors import Door, Passage
from sagacity.telemetry.watching import Watching

Registry = Mapping[str, Any]


class Executor:
    """Runs steps and compensations of one process.

    Args:
        externals: the process's instances by name.
        participants: participant classes by type.
        threads: for plain functions.
        watching: who is told of attempts.
    """

    def __init__(
        self,
        *,
        externals: Mapping[str, External],
        participants: Registry,
        lane: Lane,
        threads: int,
        watching: Watching | None = None,
    ) -> None:
        self._externals = externals
        self._participants = participants
        self._lane = lane
        self._watching = watching or Watching(clock=SystemClock())
        self._threads = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="step")

    def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def step(
        self, flow: Flow, run: RunStep, record: Record, states: Mapping[str, Json], passage: Passage
    ) -> Outcome:
        """One attempt of a step. `states`: committed states of the objects it may stage changes of."""
        step = run.step
        stage = Stage(
            participants=self._participants,
            states=states,
            locked=frozenset(h.object for h in record.locks if h.granted and h.mode == "exclusive"),
            earlier=record.staged,
            step=step.name,
        )
        facts = Facts(flow, record.input, record.results)
        about = About(saga=record.id, key=record.key, step=step.name, attempt=run.attempt, lane=self._lane)

        async def act() -> Outcome:
            named = facts.bound(
                step.params,
                externals=self._doors(step.params, passage, step.is_async),
                stage=stage,
                about=about,
            )
            value = await self._call(step.function, named, is_async=step.is_async, timeout=step.timeout)
            return Completed(result=_result(step.result, value, step.child is not None), staged=stage.staged)

        with self._watching.attempt(record, step=step.name, attempt=run.attempt) as attempt:
            attempt.outcome = await _judged(act, passage)
        return attempt.outcome

    async def undo(self, flow: Flow, run: RunUndo, record: Record, passage: Passage) -> Outcome:
        """One attempt of a compensation."""
        undo, effect = run.undo, run.effect
        result = effect.result if effect.landed else None

        async def act() -> Outcome:
            if undo.kind == "inverse":
                door = Door(self._external(undo.external), passage, loop=None)
                call = getattr(door, undo.method or "")
                async with asyncio.timeout(undo.timeout.total_seconds()):
                    value = await call(_decoded(flow, effect.step, result))
            else:
                named = self._undo_params(flow, run, record, passage, result)
                value = await self._call(
                    undo.run or _absent, named, is_async=undo.is_async, timeout=undo.timeout
                )
            return Completed(result=canonical(value))

        with self._watching.attempt(record, step=effect.step, attempt=run.attempt, undo=True) as attempt:
            attempt.outcome = await _judged(act, passage)
        return attempt.outcome

    def _undo_params(
        self, flow: Flow, run: RunUndo, record: Record, passage: Passage, result: Json | None
    ) -> dict[str, Any]:
        results = {**record.results, run.effect.step: result if result is not None else NULL}
        facts = Facts(flow, record.input, results)
        undo = run.undo
        doors = self._doors(undo.params, passage, undo.is_async)
        about = About(
            saga=record.id,
            key=record.key,
            step=run.effect.step,
            attempt=run.attempt,
            lane=self._lane,
        )
        return facts.bound(undo.params, externals=doors, about=about)

    def _doors(self, params: tuple[Param, ...], passage: Passage, is_async: bool) -> dict[str, Door]:
        loop = None if is_async else asyncio.get_running_loop()
        return {
            param.type.name: Door(self._external(param.type), passage, loop=loop)
            for param in params
            if param.kind == "external" and param.type.name in self._externals
        }

    def _external(self, cls: type[External]) -> External:
        return self._externals[cls.name]

    async def _call(
        self, function: Callable[..., Any], named: Mapping[str, Any], *, is_async: bool, timeout: timedelta
    ) -> Any:
        async with asyncio.timeout(timeout.total_seconds()):
            if is_async:
                return await function(**named)
            loop = asyncio.get_running_loop()
            inside = copy_context()  # what the step's own code logs and calls there is of this attempt too
            return await loop.run_in_executor(self._threads, lambda: inside.run(function, **named))


async def _judged(act: Callable[[], Any], passage: Passage) -> Outcome:
    """Run `act` and tell what happened, by what went through the doors."""
    try:
        outcome: Outcome = await act()
    except Later as later:
        return Waiting(signal=later.signal or "", until=later.until, tried=passage.unknown)
    except (Exception, asyncio.CancelledError, SystemExit) as error:
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
            raise  # the worker is letting go of it; otherwise the step's own code raised it
        return Unknown(error=_told(error)) if passage.unknown else _failed(error, passage)
    finally:
        # A thread that outlived its time limit, or a task left behind, must not act on what was judged.
        passage.over = True
    if passage.unknown and not passage.landed:
        return Unknown(error="the step went on although its effect's answer never came")
    if passage.settle and not passage.landed and not passage.denied:
        return Unknown(error="an earlier attempt's effect may have landed, and this one made none")
    if isinstance(outcome, Completed) and not passage.landed:
        return replace(outcome, landed=False)
    return outcome


def _failed(error: BaseException, passage: Passage) -> Failed:
    """No effect is standing; what to make of it is what the code, or the outside, said."""
    match error:
        case Refused():
            # Only the outside's own no speaks for earlier attempts, not one that the step makes up.
            return Failed(error=storable(str(error)), final=True, tried=passage.denied)
        case Unavailable():
            return Failed(error=storable(str(error)), tried=passage.tried, retry_after=error.retry_after)
        case _:
            return Failed(error=_told(error), tried=passage.tried)


def _told(error: BaseException) -> str:
    text = str(error) or "no message"
    if isinstance(error, TimeoutError) and not str(error):
        text = "took longer than its time-out"
    return storable(f"{type(error).__name__}: {text}")


def _result(adapter: Any, value: Any, spawns: bool) -> Json:
    """A step's return value as it is stored, checked against what the step declared."""
    if spawns:
        return canonical([v for v in value] if isinstance(value, (list, tuple)) else value)
    if isinstance(value, BaseModel):
        return canonical(value)
    checked = adapter.validate_python(value)
    return canonical(adapter.dump_python(checked, mode="python"))


def _decoded(flow: Flow, step: str, result: Json | None) -> Any:
    return None if result is None or result == NULL else flow.steps[step].result.validate_json(result)


def _absent(**named: Any) -> None:
    raise Refused(f"the compensation has no run function (it was given {sorted(named)})")
