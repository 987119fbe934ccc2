"""What plays the orders of a process that was made for dry runs, in a thread that the guard watches.

What can be is made once: modules are imported once, and all runs share one database in memory, which is
emptied between them.
"""

import gc
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from sagacity.definition.flow import Flow
from sagacity.definition.project import Project
from sagacity.dry.chaos import Chaos, Chaotic, chaotic
from sagacity.dry.comparing import Real, compared
from sagacity.dry.exploring import Explored, explore
from sagacity.dry.guard import GUARD
from sagacity.dry.live import Live
from sagacity.dry.minimising import minimised
from sagacity.dry.orders import Answer, Asked
from sagacity.dry.outside import Ask, Refusal
from sagacity.dry.play import Scene
from sagacity.dry.rehearsing import made_scene, minds_of, rehearsed
from sagacity.dry.report import report_of
from sagacity.dry.script import Script
from sagacity.dry.shelf import Kept
from sagacity.errors import ConfigError
from sagacity.store.memory import MemoryDatabase

_COLLECT_EVERY = 20_000
"""Objects made more than let go of until the youngest are collected."""

Answered = tuple[Answer, Kept | None]


class Stage:
    """See the module. Its calls block; they come one at a time, each from a watched thread."""

    def __init__(self, ask: Ask | None = None) -> None:
        """`ask`: makes reads for real."""
        self._ask = ask
        self._database = MemoryDatabase()
        self._settled = False
        self._flows: dict[str, tuple[Project, Flow, list[Refusal]]] = {}

    def play(
        self,
        asked: Asked,
        live: Live,
        *,
        real: Real | None = None,
        each: Callable[[int], None] = lambda number: None,
    ) -> Answered:
        """Import, play, judge; what is to be stored is handed back.

        Args:
            asked: the order.
            live: what lies under it.
            real: for `against`, the real saga.
            each: told of the number of paths played so far.

        Raises:
            SagacityError: the flow, its mocks or its input cannot be played.
        """
        GUARD.refusals = []
        scene = self._scene(asked)
        if asked.recorded:
            scene = replace(scene, recorded=live.answers(scene.flow.name))
        if asked.real_reads:
            scene = replace(scene, ask=self._ask)
        if real is not None:
            played, found = compared(scene, live, real)
            answer = Answer(said=found.json(), ok=found.ok, text=found.text(), run=str(found.dry))
            return answer, Kept(played=played, report=report_of(scene, played, live))
        if asked.act == "run":
            return self._run(asked, scene, live)
        return _searched(asked, scene, live, each), None

    def _run(self, asked: Asked, scene: Scene, live: Live) -> Answered:
        played, report = rehearsed(scene, live, self._database)
        self._settle()
        text = report.text() if asked.text else None
        if asked.minimise and not report.ok:
            text = (text or "") + "\n" + minimised(scene, live, asked.flow)
        answer = Answer(said=report.json(), ok=report.ok, text=text, run=str(report.run))
        return answer, Kept(played=played, report=report)

    def _settle(self) -> None:
        """What is here after the first run stays, and each run leaves little: collect less often."""
        if not self._settled:
            self._settled = True
            gc.collect()
            gc.freeze()
            gc.set_threshold(_COLLECT_EVERY, 10, 10)

    def _scene(self, asked: Asked) -> Scene:
        project, flow, refused = self._flow(asked.flow)
        module = _imported(asked.mocks)
        return made_scene(
            flow,
            asked.input,
            project=project,
            minds=_minds(asked.mocks, module, flow),
            script=_script(module, asked),
            faults=asked.faults,
            key=asked.key,
            generate=asked.generate,
            watch=partial(_watch, refused),
        )

    def _flow(self, wanted: str) -> tuple[Project, Flow, list[Refusal]]:
        """The flow, its project, and what was refused while its modules were imported."""
        from sagacity.cli.projects import serving, wanted_flow

        if wanted not in self._flows:
            project = serving(wanted)
            flow = wanted_flow(project, wanted)
            self._flows[wanted] = Project.of(flow.cls), flow, list(GUARD.refusals)
        return self._flows[wanted]


def _watch(before: list[Refusal], refusals: list[Refusal]) -> None:
    refusals += before  # what was refused while modules were imported
    refusals += [refusal for refusal in GUARD.refusals if refusal not in refusals]
    GUARD.refusals = refusals


def _searched(asked: Asked, scene: Scene, live: Live, each: Callable[[int], None]) -> Answer:
    """Many paths: explored, or by chance."""
    found: Explored | Chaotic
    if asked.act == "chaos":
        found = chaotic(scene, live, Chaos.model_validate(asked.chaos or {}), each=each)
        worst = found.worst
    else:
        found = explore(scene, live, each=each)
        worst = found.failing[0].faults if found.failing else None
    text = found.text()
    if asked.minimise and worst is not None:
        text += "\n" + minimised(scene, live, asked.flow, faults=worst)
    return Answer(said=found.json(), ok=found.ok, text=text)


# --- mocks and scripts --------------------------------------------------------------------------------------


def _imported(module: str | None) -> Any:
    """A module of mocks.

    Raises:
        ConfigError: there is none of that name.
    """
    if module is None:
        return None
    import importlib

    name = module.removesuffix(".py").rstrip("/").replace("/", ".")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ConfigError(f"there is no module {module!r}: {error}") from None


def _script(module: Any, asked: Asked) -> Script:
    """The order's own script; where it has none, the one that the mocks' module makes for its input."""
    made = getattr(module, "script", None)
    if asked.script != Script() or not callable(made):
        return asked.script
    found = made(asked.input)
    if not isinstance(found, Script):
        raise ConfigError(f"script() of {asked.mocks} answers {type(found).__name__}: let it answer a Script")
    return found


def _minds(named: str | None, loaded: Any, flow: Flow) -> dict[str, Any]:
    """What a module of mocks has for the flow's externals: attributes named like the class or the external.

    Raises:
        ConfigError: it has nothing for any external, and no script.
    """
    if loaded is None:
        return {}
    found = {
        cls.name: getattr(loaded, name)
        for cls in flow.externals.values()
        for name in (cls.__name__, cls.name)
        if hasattr(loaded, name) and getattr(loaded, name) is not cls
    }
    if not found and not callable(getattr(loaded, "script", None)):
        wanted = ", ".join(cls.__name__ for cls in flow.externals.values())
        raise ConfigError(f"{named} mocks none of the flow's externals: name a class like one of {wanted}")
    return minds_of(found)
