"""`dry_run`: rehearse a saga from Python.

```python
async with await Orchestrator.open(url) as app:
    report = await dry_run(Order, order, app=app)
    print(report.text())
```

It is played in a process of its own, whose only open socket is the store's. With `here=True` it is played in
a thread of this one: quicker, for tests; what the code of a step opens is still refused, but a client that
this process opened before cannot be seen.
"""

import asyncio
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from sagacity.definition.facts import read_input
from sagacity.definition.flow import Flow
from sagacity.definition.project import Project
from sagacity.dry.apart import Apart
from sagacity.dry.exploring import Explored, explore
from sagacity.dry.faults import Fault, read_fault
from sagacity.dry.guard import GUARD
from sagacity.dry.live import Live, LiveStore, Nowhere
from sagacity.dry.orders import Asked, Place
from sagacity.dry.outside import Refusal
from sagacity.dry.play import Played, Scene, play
from sagacity.dry.report import Report, read_report, report_of
from sagacity.dry.script import Script
from sagacity.dry.shelf import shelve
from sagacity.errors import ConfigError
from sagacity.ids import new_id
from sagacity.model.canonical import loaded
from sagacity.orchestrator import Orchestrator
from sagacity.store.memory import MemoryDatabase

T = TypeVar("T")

Mocks = Mapping[Any, Any]
"""External (its class, or its name) → what answers instead of its own mock: an object or a class."""


async def dry_run(
    definition: Any,
    input: Any,
    *,
    app: Orchestrator | None = None,
    mocks: Mocks | str | None = None,
    script: Script | None = None,
    faults: Iterable[Fault | str] = (),
    key: str | None = None,
    objects: Mapping[str, Any] | None = None,
    keep: bool = True,
    here: bool = False,
    recorded: bool = False,
    generate: bool = False,
    real_reads: bool = False,
    notices: bool = False,
) -> Report:
    """Rehearse one saga, and tell what would have happened. Nothing happens.

    Args:
        definition: a `Saga` class; with `app`, also the name of a flow that it knows.
        input: its `Input`, a mapping that makes one, or JSON text.
        app: where the live objects are read and the run is stored; without it the flow runs on nothing.
        mocks: what answers in place of an external's own mock; in a process apart, a module's name.
        script: what comes from outside, and when; by default what the flow would like best.
        faults: what goes wrong, beside the script's own, e.g. `effect take_money: lost`.
        key: the business key; by default as for `Orchestrator.start`.
        objects: states to begin with by `type:id`, where there is no `app` to read them from.
        keep: store the run and its report in lane `dry` (only with `app`).
        here: in a thread of this process instead of in one of its own.
        recorded: newest real answers of externals that say `record=True` answer before any mock.
        generate: what nobody mocks is answered from its declared type, by the script's seed.
        real_reads: reads that say `safe=True` are made for real; only in a process of its own.
        notices: what is kept goes with its notices, stamped DRY; a worker with a dry outlet sends them.

    Raises:
        UnknownDefinition, InputError: nothing was rehearsed. StoreError: the live store cannot be read.
        ConfigError: the flow or its mocks cannot be handed to another process: say `here=True`; or it is
            asked for real reads here.
    """
    flow = flow_of(definition, app)
    if not here:
        asked = asked_of(flow, input, mocks=mocks, script=script, faults=faults, key=key)
        sources = {"recorded": recorded, "generate": generate, "real_reads": real_reads}
        asked = asked.model_copy(update={"objects": dict(objects or {}), "keep": keep, **sources})
        async with Apart.started(place_of(app), notices=notices) as stage:
            answer = await stage.ask(asked)
        return read_report(answer.said or "")
    if real_reads:
        raise ConfigError("reads are made for real in a process of its own only: leave here=True out")
    told: dict[str, Any] = {"script": script, "faults": faults, "key": key, "generate": generate}
    scene = made_scene(flow, input, minds=minds_of(_objects(mocks)), **told, **_GUARDED)
    live = live_of(app, objects=objects)
    if recorded:
        scene = replace(scene, recorded=await asyncio.to_thread(live.answers, flow.name))
    played, report = await _guarded(lambda: rehearsed(scene, live))
    if app is not None and keep:
        await shelve(app.store, played, report, notices=notices)
    return report


async def explored(
    definition: Any,
    input: Any,
    *,
    app: Orchestrator | None = None,
    mocks: Mocks | None = None,
    script: Script | None = None,
    key: str | None = None,
    objects: Mapping[str, Any] | None = None,
) -> Explored:
    """Play a saga once for every failure point, in a thread of this process; nothing happens, or is stored.

    Args:
        definition: as for `dry_run`, like all the others.
        input: as there.
        app: as there.
        mocks: as there.
        script: as there; its own faults are part of every path.
        key: as there.
        objects: as there.

    Raises:
        UnknownDefinition, InputError, StoreError: as `dry_run`.
    """
    scene = made_scene(
        flow_of(definition, app), input, minds=minds_of(_objects(mocks)), script=script, key=key, **_GUARDED
    )
    live = live_of(app, objects=objects)
    return await _guarded(lambda: explore(scene, live))


# --- in this process ----------------------------------------------------------------------------------------


def _watch(refusals: list[Refusal]) -> None:
    GUARD.refusals = refusals


_GUARDED: dict[str, Any] = {"guarded": GUARD.watching, "watch": _watch}
_TURN = threading.Lock()


async def _guarded(work: Callable[[], T]) -> T:
    """Run `work` in a thread that the guard watches, one at a time."""

    def watched() -> T:
        with _TURN, GUARD.watching():
            return work()

    return await asyncio.to_thread(watched)


def rehearsed(scene: Scene, live: Live, database: MemoryDatabase | None = None) -> tuple[Played, Report]:
    """One path and its report. Blocks; on a thread without a running loop. `database`: one to use again."""
    played = play(scene, live, database)
    return played, report_of(scene, played, live)


def live_of(app: Orchestrator | None, *, objects: Mapping[str, Any] | None = None) -> Live:
    """What lies under a run; call it on the loop on which `app` was opened."""
    if app is None:
        return Nowhere(objects=objects)
    return LiveStore(app.store, asyncio.get_running_loop())


def made_scene(
    flow: Flow,
    input: Any,
    *,
    minds: Mapping[str, Any],
    project: Project | None = None,
    script: Script | None = None,
    faults: Iterable[Fault | str] = (),
    key: str | None = None,
    generate: bool = False,
    **guard: Any,
) -> Scene:
    """What is played.

    Raises:
        InputError: the input does not fit, or a fault is none.
    """
    data = read_input(flow, input)
    script = script or Script()
    saga = new_id()
    if key is None:
        key = str(loaded(data)[flow.key_field]) if flow.key_field else str(saga)
    return Scene(
        project=project or Project.of(flow.cls),
        flow=flow,
        input=data,
        key=key,
        script=script,
        faults=(*script.all_faults, *(f if isinstance(f, Fault) else read_fault(f) for f in faults)),
        minds=minds,
        generate=generate,
        run=saga,
        **guard,
    )


def minds_of(mocks: Mocks) -> dict[str, Any]:
    """By the externals' names; classes are made."""
    named = {key if isinstance(key, str) else key.name: mind for key, mind in mocks.items()}
    return {name: mind() if isinstance(mind, type) else mind for name, mind in named.items()}


# --- in a process of its own ----------------------------------------------------------------------------


def asked_of(flow: Flow, input: Any, *, key: str | None, **told: Any) -> Asked:
    """The order that another process gets; see `order_of`.

    Raises:
        InputError: the input does not fit, or a fault is none. ConfigError: it cannot be told in words.
    """
    more = {"input": loaded(read_input(flow, input)), "key": key}
    return order_of(flow, **told).model_copy(update=more)


def order_of(
    flow: Flow, *, mocks: Mocks | str | None, script: Script | None, faults: Iterable[Fault | str]
) -> Asked:
    """An order without its input.

    Raises:
        InputError: a fault is none. ConfigError: it cannot be told in words.
    """
    if mocks is not None and not isinstance(mocks, str):
        raise ConfigError("mocks are handed to another process by their module's name; or say here=True")
    cls = flow.cls
    if cls.__module__ == "__main__" or "<locals>" in cls.__qualname__:
        raise ConfigError(f"{cls.__name__} cannot be imported by another process: say here=True")
    read = [f if isinstance(f, Fault) else read_fault(f) for f in faults]
    return Asked(
        flow=f"{cls.__module__}:{cls.__name__}",
        input=None,
        mocks=mocks,
        script=script or Script(),
        faults=tuple(str(fault) for fault in read),
    )


def place_of(app: Orchestrator | None) -> Place | None:
    """Where `app` has its store, for another process.

    Raises:
        ConfigError: it was not opened by its address.
    """
    if app is None:
        return None
    if app.opened is None:
        raise ConfigError("this orchestrator was not opened by an address: say here=True")
    url, tenant, accept_loss = app.opened
    return Place(url=url, tenant=tenant, accept_loss=accept_loss)


def flow_of(definition: Any, app: Orchestrator | None) -> Flow:
    """The flow that a class, or with `app` a name, means. Raises UnknownDefinition."""
    flow: Flow = app.flow(definition) if app is not None else definition.flow
    return flow


def _objects(mocks: Mocks | str | None) -> Mocks:
    if isinstance(mocks, str):
        raise ConfigError("here=True takes mocks as a mapping: external → what answers")
    return mocks or {}
