"""`dry_run`: rehearse a saga from Python.

```python
async with await Orchestrator.open(url) as app:
    report = await dry_run(Order, order, app=app)
    print(report.text())
```

Virtual time has a loop of its own, in a thread of its own; the caller's loop goes on meanwhile.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from sagacity.definition.facts import read_input
from sagacity.definition.flow import Flow
from sagacity.definition.project import Project
from sagacity.dry.exploring import Explored, explore
from sagacity.dry.faults import Fault, read_fault
from sagacity.dry.live import Live, LiveStore, Nowhere
from sagacity.dry.play import Played, Scene, play
from sagacity.dry.report import Report, report_of
from sagacity.dry.script import Script
from sagacity.dry.shelf import shelve
from sagacity.ids import new_id
from sagacity.model.canonical import loaded
from sagacity.orchestrator import Orchestrator

Mocks = Mapping[Any, Any]
"""External (its class, or its name) → what answers instead of its own mock: an object or a class."""


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
    """Play a saga once for every failure point, and tell what each leaves behind. Nothing happens.

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
    scene = scene_of(definition, input, app=app, mocks=mocks, script=script, key=key)
    return await asyncio.to_thread(explore, scene, live_of(app, objects=objects))


async def dry_run(
    definition: Any,
    input: Any,
    *,
    app: Orchestrator | None = None,
    mocks: Mocks | None = None,
    script: Script | None = None,
    faults: Iterable[Fault | str] = (),
    key: str | None = None,
    objects: Mapping[str, Any] | None = None,
    keep: bool = True,
) -> Report:
    """Rehearse one saga, and tell what would have happened. Nothing happens.

    Args:
        definition: a `Saga` class; with `app`, also the name of a flow that it knows.
        input: its `Input`, a mapping that makes one, or JSON text.
        app: where the live objects are read and the run is stored; without it the flow runs on nothing.
        mocks: what answers in place of an external's own mock.
        script: what comes from outside, and when; by default what the flow would like best.
        faults: what goes wrong, beside the script's own, e.g. `effect take_money: lost`.
        key: the business key; by default as for `Orchestrator.start`.
        objects: states to begin with by `type:id`, where there is no `app` to read them from.
        keep: store the run and its report in lane `dry` (only with `app`).

    Raises:
        UnknownDefinition, InputError: nothing was rehearsed. StoreError: the live store cannot be read.
    """
    scene = scene_of(definition, input, app=app, mocks=mocks, script=script, faults=faults, key=key)
    live = live_of(app, objects=objects)
    played, report = await asyncio.to_thread(rehearsed, scene, live)
    if app is not None and keep:
        await shelve(app.store, scene.flow, played, report)
    return report


def rehearsed(scene: Scene, live: Live) -> tuple[Played, Report]:
    """One path and its report. Blocks; on a thread without a running loop."""
    played = play(scene, live)
    return played, report_of(scene, played, live)


def live_of(app: Orchestrator | None, *, objects: Mapping[str, Any] | None = None) -> Live:
    """What lies under a run; call it on the loop on which `app` was opened."""
    if app is None:
        return Nowhere(objects=objects)
    return LiveStore(app.store, asyncio.get_running_loop())


def scene_of(
    definition: Any,
    input: Any,
    *,
    app: Orchestrator | None = None,
    mocks: Mocks | None = None,
    script: Script | None = None,
    faults: Iterable[Fault | str] = (),
    key: str | None = None,
) -> Scene:
    """What `dry_run` of the same arguments plays.

    Raises:
        UnknownDefinition, InputError: as `dry_run`.
    """
    flow: Flow = app.flow(definition) if app is not None else definition.flow
    data = read_input(flow, input)
    script = script or Script()
    saga = new_id()
    if key is None:
        key = str(loaded(data)[flow.key_field]) if flow.key_field else str(saga)
    return Scene(
        project=Project.of(flow.cls),
        flow=flow,
        input=data,
        key=key,
        script=script,
        faults=(*script.all_faults, *(f if isinstance(f, Fault) else read_fault(f) for f in faults)),
        minds=minds_of(mocks or {}),
        run=saga,
    )


def minds_of(mocks: Mocks) -> dict[str, Any]:
    """By the externals' names; classes are made."""
    named = {key if isinstance(key, str) else key.name: mind for key, mind in mocks.items()}
    return {name: mind() if isinstance(mind, type) else mind for name, mind in named.items()}
