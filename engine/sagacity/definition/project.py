"""A project: the flows, participants and externals that a folder of modules declares.

Modules are named in `pyproject.toml` or on the command line, never in data: nothing is imported
because a row of the database says so.
"""

import importlib
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from sagacity.definition.external import External
from sagacity.definition.flow import Flow
from sagacity.definition.lockfile import NAME, changed, read_lock, write_lock
from sagacity.definition.participant import Participant
from sagacity.definition.registry import REGISTRY, Kind, place_of
from sagacity.definition.saga import Saga
from sagacity.errors import ConfigError, DefinitionError, Fault

DEFAULT_MODULES = "sagas/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """What one process serves.

    Attributes:
        flows: by name, child sagas included.
        participants: by type.
        externals: by name; those that a step or a compensation of a flow takes.
        folder: where `sagas.lock` stands.
        listeners: told of ends and of what needs a human, from `[tool.sagacity] listeners`.
        notify: address of the web hook for what needs a human, from `[tool.sagacity] notify`.
        dry_listeners: functions that are told what dry runs would have told, from `dry_listeners` there.
        dry_notify: address of the web hook that is, from `dry_notify` there.
    """

    flows: Mapping[str, Flow]
    participants: Mapping[str, type[Participant]] = field(default_factory=dict)
    externals: Mapping[str, type[External]] = field(default_factory=dict)
    folder: Path = field(default_factory=Path)
    listeners: tuple[Callable[..., Any], ...] = ()
    notify: tuple[str, ...] = ()
    dry_listeners: tuple[Callable[..., Any], ...] = ()
    dry_notify: tuple[str, ...] = ()

    @classmethod
    def of(cls, *sagas: type[Saga], folder: Path | None = None) -> "Project":
        """A project of these sagas and their children, with all participants of this process."""
        flows = _with_children(saga.flow for saga in sagas)
        return cls(
            flows=flows,
            participants=_participants({flow.module for flow in flows.values()}),
            externals={name: found for flow in flows.values() for name, found in flow.externals.items()},
            folder=folder or Path(),
        )

    @classmethod
    def load(cls, *modules: str, folder: Path | None = None) -> "Project":
        """Import a project's modules.

        Args:
            modules: files (`sagas/order.py`), folders (`sagas/`: every file in it) or dotted names; by
                default `[tool.sagacity] modules` of the folder's `pyproject.toml`, else `sagas/`.
            folder: the project's folder, put first on `sys.path`; by default the current one.

        Raises:
            DefinitionError: what is wrong in any of the modules, all of it.
            ConfigError: a module that is not there, or cannot be imported.
        """
        root = _entered(folder)
        faults: dict[Fault, None] = {}
        names: set[str] = set()
        for name in _module_names(root, modules or _configured(root, "modules", DEFAULT_MODULES)):
            try:
                names.add(_imported(root, name).__name__)
            except DefinitionError as error:
                faults.update(dict.fromkeys(error.faults))
        faults.update(dict.fromkeys(_names_twice(root, names)))
        if faults:
            raise DefinitionError(list(faults))
        return cls.of(*_sagas_of(names), folder=root).with_outlets()

    @classmethod
    def outlets(cls, folder: Path | None = None) -> "Project":
        """A project's folder without its flows: who is told, and nothing else, is imported.

        Raises:
            ConfigError: a function that is not there.
        """
        return cls(flows={}, folder=_entered(folder)).with_outlets()

    def with_outlets(self) -> "Project":
        """This project with who is told, as `pyproject.toml` of its folder says; its flows are left alone.

        Raises:
            ConfigError: a function that is not there.
        """
        return replace(
            self,
            listeners=_listeners(self.folder, "listeners"),
            notify=_configured(self.folder, "notify"),
            dry_listeners=_listeners(self.folder, "dry_listeners"),
            dry_notify=_configured(self.folder, "dry_notify"),
        )

    def flow(self, name: str) -> Flow | None:
        """The flow of that name, or None."""
        return self.flows.get(name)

    def changed(self) -> list[Fault]:
        """Flows that differ from what `sagas.lock` says of their version."""
        return changed(self.flows.values(), read_lock(self.folder / NAME))

    def write_lock(self) -> Path:
        """Write `sagas.lock` from the flows as they are; returns its path."""
        path = self.folder / NAME
        write_lock(path, self.flows.values())
        return path


def _entered(folder: Path | None) -> Path:
    """The folder, which stands on `sys.path` from now on; by default the current one."""
    root = (folder or Path.cwd()).resolve()
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    return root


def _listeners(root: Path, setting: str) -> tuple[Callable[..., Any], ...]:
    """The functions that `module:function` names."""
    return tuple(_listener(root, setting, name) for name in _configured(root, setting))


def _listener(root: Path, setting: str, name: str) -> Callable[..., Any]:
    module, _, function = name.partition(":")
    found = getattr(_imported(root, module), function, None)
    if not callable(found):
        raise ConfigError(
            f'pyproject.toml: [tool.sagacity] {setting}: {name!r} is no function: write "module:function"'
        )
    listener: Callable[..., Any] = found
    return listener


def _configured(root: Path, name: str, *default: str) -> tuple[str, ...]:
    """What `pyproject.toml` says under `[tool.sagacity]`, or the default."""
    path = root / "pyproject.toml"
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except ValueError as error:
        raise ConfigError(f"pyproject.toml cannot be read: {error}") from None
    said = content.get("tool", {}).get("sagacity", {}).get(name, list(default))
    if not isinstance(said, list) or not all(isinstance(item, str) for item in said):
        raise ConfigError(f'pyproject.toml: [tool.sagacity] {name} = {said!r}: give a list like ["sagas/"]')
    return tuple(said)


def _module_names(root: Path, said: Iterable[str]) -> list[str]:
    """Dotted names, each once, folders opened."""
    found: dict[str, None] = {}
    for name in said:
        path = Path(name) if Path(name).is_absolute() else root / name
        if path.is_dir():
            files = sorted(file for file in path.glob("*.py") if not file.stem.startswith("_"))
            found.update(dict.fromkeys(_dotted(root, file) for file in files))
        elif path.is_file():
            found[_dotted(root, path)] = None
        elif name.endswith((".py", "/")) or "/" in name:
            raise ConfigError(
                f"{name}: there is no such file or folder in {root.name or root}: name your modules in "
                "pyproject.toml, [tool.sagacity] modules, or call this in the project's folder"
            )
        else:
            found[name] = None
    return list(found)


def _dotted(root: Path, file: Path) -> str:
    try:
        parts = file.resolve().relative_to(root).with_suffix("").parts
    except ValueError:
        raise ConfigError(
            f"{file.name} lies outside of the project's folder: call this in its folder"
        ) from None
    if not all(part.isidentifier() for part in parts):
        raise ConfigError(f"{'/'.join(parts)}.py cannot be imported: its path must be made of Python names")
    return ".".join(parts)


def _imported(root: Path, name: str) -> ModuleType:
    try:
        module = importlib.import_module(name)
    except DefinitionError:
        raise
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise ConfigError(f"there is no module {name!r}: check [tool.sagacity] modules") from None
        raise ConfigError(f"{name} needs the module {error.name!r}, which is not installed") from error
    except Exception as error:
        raise ConfigError(f"{name} cannot be imported: {type(error).__name__}: {error}") from error
    expected = (root / Path(*name.split("."))).with_suffix(".py")
    found = getattr(module, "__file__", None)
    if expected.is_file() and found is not None and Path(found).resolve() != expected:
        raise ConfigError(f"{name} was imported from another folder already: give the module another name")
    return module


def _sagas_of(modules: set[str]) -> list[Any]:
    """Sagas that the modules declare or import."""
    held = {id(value) for name in modules for value in vars(sys.modules[name]).values()}
    return [cls for classes in REGISTRY.named("sagas").values() for cls in classes if id(cls) in held]


def _with_children(flows: Iterable[Flow]) -> dict[str, Flow]:
    found: dict[str, Flow] = {}
    waiting = list(flows)
    while waiting:
        flow = waiting.pop(0)
        if flow.name not in found:
            found[flow.name] = flow
            waiting += [step.child.flow for step in flow.steps.values() if step.child is not None]
    return found


def _participants(modules: set[str]) -> dict[str, type[Participant]]:
    """One class per type: one that the flows' own modules make or import, else the latest made."""
    loaded = [sys.modules[name] for name in modules if name in sys.modules]
    seen = {id(value) for module in loaded for value in vars(module).values()}
    found: dict[str, type[Participant]] = {}
    for type_, classes in REGISTRY.named("participants").items():
        own = [cls for cls in classes if cls.__module__ in modules or id(cls) in seen]
        # A row of a table that these flows never heard of is none of their business (nor is its guard).
        chosen = own or [cls for cls in classes if cls.table is None]
        if chosen:
            found[type_] = chosen[-1]
    return found


def _names_twice(root: Path, modules: set[str]) -> list[Fault]:
    """A fault for each name that two classes of this project share."""
    kinds: tuple[tuple[Kind, str], ...] = (
        ("sagas", "flow"),
        ("participants", "participant type"),
        ("externals", "external"),
    )
    found: list[Fault] = []
    for kind, word in kinds:
        for name, classes in REGISTRY.named(kind).items():
            own = [cls for cls in classes if _belongs(root, modules, cls)]
            found += [
                Fault(
                    where=place_of(cls),
                    name=name,
                    what=f"{place_of(own[0])} has this {word} too.",
                    fix="Give one of them another name: what is stored knows them by name only.",
                )
                for cls in own[1:]
            ]
    return found


def _belongs(root: Path, modules: set[str], cls: type[Any]) -> bool:
    module = sys.modules.get(cls.__module__)
    if getattr(module, cls.__name__, None) is not cls:
        return False  # replaced since, or made inside a function
    file = getattr(module, "__file__", None)
    return cls.__module__ in modules or (file is not None and Path(file).resolve().is_relative_to(root))
