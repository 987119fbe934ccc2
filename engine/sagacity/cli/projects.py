"""Which flows a command means: the project of the current folder, or the module that was named."""

import importlib.util
from dataclasses import replace
from typing import TYPE_CHECKING

from sagacity.errors import UnknownDefinition

if TYPE_CHECKING:
    from sagacity.definition.flow import Flow
    from sagacity.definition.project import Project


def project_here(*wanted: str) -> "Project":
    """The project of the current folder; of `MODULE:CLASS` only that module, of a bare name the whole.

    Raises:
        DefinitionError: flows that cannot work. ConfigError: a module that is not there.
    """
    from sagacity.definition.project import Project

    return Project.load(*(module for module in map(module_named, wanted) if module is not None))


def project_or_none() -> "Project | None":
    """The project of the current folder; None where there is none, or it cannot be loaded.

    Acts need it only for what their previews can tell: nobody is kept from pausing a saga by a broken flow.
    """
    from sagacity.errors import ConfigError, DefinitionError

    try:
        return project_here()
    except (ConfigError, DefinitionError):
        return None


def serving(*wanted: str) -> "Project":
    """What a worker for these serves: the flows of a module, one flow of `MODULE:CLASS` with its children.

    A worker makes every external of what it serves, so it should serve no more than it was asked for.

    Raises:
        DefinitionError, ConfigError: as `project_here`. UnknownDefinition: no such class in its module.
    """
    from sagacity.definition.project import Project

    project = project_here(*wanted)
    if not any(":" in one for one in wanted):
        return project
    named = [wanted_flow(project, one) for one in wanted if ":" in one]
    modules = {_dotted(one) for one in wanted if ":" not in one}
    rest = [flow for flow in project.flows.values() if flow.module in modules]
    narrowed = Project.of(*(flow.cls for flow in [*named, *rest]), folder=project.folder)
    told = ("listeners", "notify", "dry_listeners", "dry_notify")
    return replace(narrowed, **{name: getattr(project, name) for name in told})


def _dotted(module: str) -> str:
    return module.removesuffix(".py").rstrip("/").replace("/", ".")


def module_named(wanted: str) -> str | None:
    """The file, folder or module that `wanted` names, if it names one."""
    module, colon, _ = wanted.rpartition(":")
    named = module if colon else wanted
    if named.endswith((".py", "/")) or "/" in named:
        return named
    return named if (colon or "." in named) and _is_importable(named) else None


def _is_importable(name: str) -> bool:
    import sys

    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def flow_named(project: "Project", wanted: str) -> "Flow | None":
    """The flow that `NAME` or `MODULE:CLASS` means, or None."""
    name = wanted.rpartition(":")[2]
    by_class = (flow for flow in project.flows.values() if flow.cls.__name__ == name)
    return project.flows.get(name) or next(by_class, None)


def wanted_flow(project: "Project", wanted: str) -> "Flow":
    """The flow that `NAME` or `MODULE:CLASS` means.

    Raises:
        UnknownDefinition: there is none; the message lists those there are.
    """
    found = flow_named(project, wanted)
    if found is None:
        known = ", ".join(sorted(project.flows)) or "none"
        raise UnknownDefinition(f"no flow {wanted!r} here (known: {known}): give its name, or MODULE:CLASS")
    return found
