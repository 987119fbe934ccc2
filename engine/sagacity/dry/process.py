"""The process in which dry runs are played: `python -m sagacity.dry.process`, spoken to through a pipe.

It is started for them, before any pool or client exists. It opens the store, arms the guard, and only then
imports the user's modules, in a thread that may open nothing. So its only sockets are the store's, and a
client that a module makes at import cannot be there.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TextIO

from sagacity.definition.flow import Flow
from sagacity.definition.project import Project
from sagacity.dry.chaos import Chaos, Chaotic, chaotic
from sagacity.dry.comparing import Real, compared
from sagacity.dry.exploring import Explored, explore
from sagacity.dry.guard import GUARD
from sagacity.dry.live import Live, LiveStore, Nowhere
from sagacity.dry.minimising import minimised
from sagacity.dry.orders import Answer, Asked, Setting
from sagacity.dry.outside import Refusal
from sagacity.dry.play import Played, Scene
from sagacity.dry.rehearsing import made_scene, minds_of, rehearsed
from sagacity.dry.report import Report, report_of
from sagacity.dry.shelf import shelve
from sagacity.errors import ConfigError, NotFound, SagacityError
from sagacity.store.base import Store


def main() -> int:
    """Answer orders until the pipe closes."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what the user's code prints is no answer
    sys.dont_write_bytecode = True
    first = sys.stdin.readline()
    if not first:
        return 0
    setting = Setting.model_validate_json(first)
    sys.path += [entry for entry in setting.path if entry and entry not in sys.path]
    asyncio.run(_serve(setting, out))
    return 0


async def _serve(setting: Setting, out: TextIO) -> None:
    def say(answer: Answer) -> None:
        out.write(answer.model_dump_json(exclude_none=True) + "\n")
        out.flush()

    try:
        async with _opened(setting) as store:
            lines = asyncio.get_running_loop().run_in_executor
            await lines(None, str)  # the thread that reads orders is there before the guard is armed
            await _warm(store)
            GUARD.only_these()
            say(Answer(played=0))
            while line := await lines(None, sys.stdin.readline):
                await _answered(Asked.model_validate_json(line), store, say)
    except SagacityError as error:
        say(Answer(error=type(error).__name__, message=str(error), ok=False))


@asynccontextmanager
async def _opened(setting: Setting) -> AsyncIterator[Store | None]:
    """The store, if there is one."""
    if setting.place is None:
        yield None
        return
    from sagacity.store.open import open_store

    place = setting.place
    store = open_store(place.url, tenant=place.tenant, accept_loss=place.accept_loss)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def _warm(store: Store | None) -> None:
    """What is made when it is first needed is made now."""
    if store is not None:
        await store.now()


async def _answered(asked: Asked, store: Store | None, say: Callable[[Answer], None]) -> None:
    live: Live = Nowhere(objects=asked.objects)
    if store is not None:
        live = LiveStore(store, asyncio.get_running_loop())
    try:
        real = await _real(asked, store)
        answer, kept = await _in_a_thread(lambda: _played(asked, live, say, real))
        if kept is not None and store is not None and asked.keep:
            await shelve(store, *kept)
        say(answer)
    except SagacityError as error:
        said = "; ".join(f"{r.what} ({r.where})" for r in GUARD.refusals)
        message = f"{error}; {said}" if said and said not in str(error) else str(error)
        say(Answer(error=type(error).__name__, message=message, ok=False))


async def _real(asked: Asked, store: Store | None) -> Real | None:
    """The real saga to compare with.

    Raises:
        NotFound: there is none. InputError: there is no store.
    """
    if asked.against is None:
        return None
    row = await store.saga(asked.against) if store is not None else None
    if store is None or row is None:
        raise NotFound(f"no saga {asked.against} to compare with")
    return Real(record=row.record, story=tuple(await store.history(asked.against)))


async def _in_a_thread(work: Callable[[], Any]) -> Any:
    """Run `work` in a fresh thread, which the guard watches."""
    import threading

    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()

    def tell(result: Any, error: BaseException | None) -> None:
        if error is None:
            done.set_result(result)
        else:
            done.set_exception(error)

    def run() -> None:
        try:
            result, error = work(), None
        except BaseException as raised:  # handed to whoever waits
            result, error = None, raised
        loop.call_soon_threadsafe(tell, result, error)

    threading.Thread(target=run, name="rehearsal", daemon=True).start()
    return await done


Kept = tuple[Flow, Played, Report]


def _played(
    asked: Asked, live: Live, say: Callable[[Answer], None], real: Real | None
) -> tuple[Answer, Kept | None]:
    """In the watched thread: import, play, judge."""
    GUARD.refusals = []
    scene = _scene(asked)

    def each(number: int) -> None:
        if number % 25 == 0:
            say(Answer(played=number))

    if real is not None:
        played, found = compared(scene, live, real)
        answer = Answer(said=found.json(), ok=found.ok, text=found.text(), run=str(found.dry))
        return answer, (scene.flow, played, report_of(scene, played, live))
    if asked.act == "run":
        played, report = rehearsed(scene, live)
        text = report.text()
        if asked.minimise and not report.ok:
            text += "\n" + minimised(scene, live, asked.flow)
        answer = Answer(said=report.json(), ok=report.ok, text=text, run=str(report.run))
        return answer, (scene.flow, played, report)
    return _searched(asked, scene, live, each), None


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


def _scene(asked: Asked) -> Scene:
    from sagacity.cli.projects import serving, wanted_flow

    project: Project = serving(asked.flow)
    flow = wanted_flow(project, asked.flow)
    return made_scene(
        flow,
        asked.input,
        minds=_minds(asked.mocks, flow),
        script=asked.script,
        faults=asked.faults,
        key=asked.key,
        watch=_watch,
    )


def _watch(refusals: list[Refusal]) -> None:
    refusals += GUARD.refusals  # what was refused while modules were imported
    GUARD.refusals = refusals


def _minds(module: str | None, flow: Flow) -> dict[str, Any]:
    """What a module of mocks has for the flow's externals: attributes named like the class or the external.

    Raises:
        ConfigError: there is no such module, or it has nothing for any external.
    """
    if module is None:
        return {}
    import importlib

    name = module.removesuffix(".py").rstrip("/").replace("/", ".")
    try:
        loaded = importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ConfigError(f"there is no module {module!r}: {error}") from None
    found = {
        cls.name: getattr(loaded, name)
        for cls in flow.externals.values()
        for name in (cls.__name__, cls.name)
        if hasattr(loaded, name) and getattr(loaded, name) is not cls
    }
    if not found:
        wanted = ", ".join(cls.__name__ for cls in flow.externals.values())
        raise ConfigError(f"{module} mocks none of the flow's externals: name a class like one of {wanted}")
    return minds_of(found)


if __name__ == "__main__":
    raise SystemExit(main())
