"""What `sagacity check` looks at: the classes, sagas.lock, and the store."""

from pathlib import Path
from typing import TYPE_CHECKING

from sagacity.errors import DefinitionError, Fault

if TYPE_CHECKING:
    from sagacity.cli.call import Call
    from sagacity.definition.project import Project


def found_in_project(module: str | None) -> tuple[list[Fault], "Project | None"]:
    """Everything wrong with the flows, and the project where there is a whole one.

    Raises:
        ConfigError: a module that is not there. UnknownDefinition: a bare name that no flow has.
    """
    from sagacity.cli.projects import module_named, project_here, wanted_flow

    wanted = [f"{module}/" if Path(module).is_dir() else module] if module is not None else []
    try:
        project = project_here(*wanted)
    except DefinitionError as error:
        return list(error.faults), None
    if wanted and module_named(wanted[0]) is None:
        wanted_flow(project, wanted[0])
    return project.changed(), project


async def found_in_store(call: "Call", project: "Project | None") -> list[Fault]:
    """Flows that differ from what the store's sagas were started with; nothing where there is no store yet.

    Raises:
        StoreError: there is one and it does not answer.
    """
    from sagacity.cli.stores import absent
    from sagacity.definition.lockfile import changed

    if project is None or not project.flows or absent(call.settings.store) is not None:
        return []
    async with call.orchestrator(project) as sagas:
        hashes = await sagas.store.definition_hashes(sorted(project.flows))
    known: dict[str, dict[int, str]] = {}
    for (name, version), text in hashes.items():
        known.setdefault(name, {})[version] = text
    return changed(project.flows.values(), known, by="the store")
