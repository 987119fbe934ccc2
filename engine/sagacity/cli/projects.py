"""Which flows a command means: the project of the current folder, or the module that was named."""

import importlib.util
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

    return Project.load(*(module for module in map(_module, wanted) if module is not None))


def _module(wanted: str) -> str | None:
    """The module that `wanted` names, if it names one."""
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
