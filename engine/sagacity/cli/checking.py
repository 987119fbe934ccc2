"""What `sagacity check` looks at: the classes, sagas.lock, and the store."""

from pathlib import Path
from typing import TYPE_CHECKING

from sagacity.errors import DefinitionError, Fault

if TYPE_CHECKING:
    from sagacity.cli.call import Call
    from sagacity.definition.project import Project

_SQLITE = "sqlite:///"


def found_in_project(module: str | None) -> tuple[list[Fault], "Project | None"]:
    """Everything wrong with the flows, and the project where there is a whole one.

    Raises:
        ConfigError: a module that is not there.
    """
    from sagacity.cli.projects import project_here

    try:
        project = project_here(*([module] if module is not None else []))
    except DefinitionError as error:
        return list(error.faults), None
    return project.changed(), project


async def found_in_store(call: "Call", project: "Project | None") -> list[Fault]:
    """Flows that differ from what the store's sagas were started with; nothing where there is no store yet.

    Raises:
        StoreError: there is one and it does not answer.
    """
    from sagacity.definition.lockfile import changed

    if project is None or not project.flows or not _is_there(call.settings.store):
        return []
    async with call.orchestrator(project) as sagas:
        hashes = await sagas.store.definition_hashes(sorted(project.flows))
    known: dict[str, dict[int, str]] = {}
    for (name, version), text in hashes.items():
        known.setdefault(name, {})[version] = text
    return changed(project.flows.values(), known, by="the store")


def _is_there(store: str) -> bool:
    """Whether a store is worth asking: looking must not make one."""
    from sagacity.cli.stores import FOLDER, PRIVATE

    if store == PRIVATE:
        return (FOLDER / "data").exists() or (FOLDER / "port").exists()
    return not store.startswith(_SQLITE) or Path(store.removeprefix(_SQLITE).partition("?")[0]).exists()
