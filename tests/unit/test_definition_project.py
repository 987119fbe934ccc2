"""A project: which modules are loaded, what is found in them, and what its lock file remembers."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sagacity import Saga, State, spawns, step
from sagacity.definition.lockfile import NAME, changed, read_lock, write_lock
from sagacity.definition.project import Project
from sagacity.errors import ConfigError, DefinitionError
from tests.unit.definition_cases import Given

FLOW = """
from pydantic import BaseModel
from sagacity import Participant, Saga, State, operation, step


class {name}Books(Participant, type="{kind}"):
    class State(BaseModel):
        sold: int = 0


class {name}(Saga, version={version}):
    class Input(BaseModel):
        id: str

    a = State(initial=True)
    b = State(final=True)
    go = a.to(b)

    @step(go{more})
    def act(self, given: Input) -> None:
        ...
"""


def flow(name: str, *, kind: str = "books", version: str = "1", more: str = "") -> str:
    return FLOW.format(name=name, kind=kind, version=version, more=more)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty project's folder; what is imported from it is forgotten afterwards."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    held = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "sagas"}
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]
    sys.modules.update(held)


def write(folder: Path, path: str, text: str) -> None:
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text(text, encoding="utf-8")


def test_every_file_in_sagas_is_loaded_by_default(folder: Path) -> None:
    write(folder, "sagas/one.py", flow("One", kind="one"))
    write(folder, "sagas/two.py", flow("Two", kind="two"))
    write(folder, "sagas/_draft.py", "raise SystemExit")
    write(folder, "sagas/deeper/three.py", "raise SystemExit")
    project = Project.load(folder=folder)
    assert set(project.flows) == {"One", "Two"}
    assert {"one", "two"} <= set(project.participants)
    assert project.flow("One") is project.flows["One"]
    assert project.flow("Three") is None


def test_the_project_names_its_modules_in_pyproject(folder: Path) -> None:
    write(folder, "shop/flows.py", flow("Sold", kind="sold"))
    write(folder, "pyproject.toml", '[tool.sagacity]\nmodules = ["shop.flows"]\n')
    assert set(Project.load(folder=folder).flows) == {"Sold"}


def test_files_folders_and_dotted_names_may_be_given(folder: Path) -> None:
    write(folder, "sagas/one.py", flow("First", kind="first"))
    write(folder, "other/two.py", flow("Second", kind="second"))
    write(folder, "third.py", flow("Third", kind="third"))
    loaded = Project.load("sagas/one.py", "other", "third", folder=folder)
    assert set(loaded.flows) == {"First", "Second", "Third"}


def test_all_faults_of_all_modules_are_told_at_once(folder: Path) -> None:
    write(folder, "sagas/good.py", flow("Good", kind="good"))
    write(folder, "sagas/one.py", flow("NoVersion", kind="nv", version="0"))
    write(folder, "sagas/two.py", flow("NoUndo", kind="nu", more=", final=True"))
    write(folder, "sagas/three.py", "from sagas.one import *\n")
    with pytest.raises(DefinitionError) as error:
        Project.load(folder=folder)
    assert [fault.where for fault in error.value.faults] == ["sagas/one.py:NoVersion", "sagas/two.py:NoUndo"]


def test_two_classes_of_one_name_are_told(folder: Path) -> None:
    write(folder, "sagas/one.py", flow("Same", kind="same"))
    write(folder, "sagas/two.py", flow("Same", kind="same"))
    with pytest.raises(DefinitionError) as error:
        Project.load(folder=folder)
    assert [(fault.where, fault.name) for fault in error.value.faults] == [
        ("sagas/two.py:Same", "Same"),
        ("sagas/two.py:SameBooks", "same"),
    ]


@pytest.mark.parametrize(
    ("files", "modules", "words"),
    [
        ({}, (), "no such file or folder"),
        ({}, ("sagas/absent.py",), "sagas/absent.py: there is no such file"),
        ({}, ("absent_module",), "there is no module 'absent_module'"),
        ({"sagas/a.py": "import absent_module"}, (), "needs the module 'absent_module'"),
        ({"sagas/a.py": "1 / 0"}, (), "sagas.a cannot be imported: ZeroDivisionError"),
        ({"sagas/a-b.py": ""}, (), "must be made of Python names"),
        ({"pyproject.toml": "modules ="}, (), "pyproject.toml cannot be read"),
        ({"pyproject.toml": "[tool.sagacity]\nmodules = 'sagas'"}, (), "give a list"),
    ],
)
def test_a_module_that_cannot_be_loaded_is_named(
    folder: Path, files: dict[str, str], modules: tuple[str, ...], words: str
) -> None:
    for path, text in files.items():
        write(folder, path, text)
    with pytest.raises(ConfigError, match=words):
        Project.load(*modules, folder=folder)


def test_a_file_outside_of_the_project_is_refused(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    far = tmp_path_factory.mktemp("far") / "flows.py"
    far.write_text("")
    with pytest.raises(ConfigError, match="outside of the project's folder"):
        Project.load(str(far), folder=folder)


def test_a_module_of_another_folder_under_the_same_name_is_refused(folder: Path) -> None:
    write(folder, "json.py", "")
    with pytest.raises(ConfigError, match="imported from another folder already"):
        Project.load("json.py", folder=folder)


def test_child_sagas_belong_to_the_project_of_their_parent() -> None:
    class Child(Saga, version=1):
        Input = Given
        a = State(initial=True)
        b = State(final=True)
        go = a.to(b)

        @step(go)
        def act(self) -> None: ...

    class Parent(Saga, version=1):
        Input = Given
        a = State(initial=True)
        b = State(final=True)
        go = a.to(b)

        @spawns(go, Child)
        def each(self, given: Given) -> list[Given]:
            return [given]

    assert set(Project.of(Parent).flows) == {"Parent", "Child"}


# --- sagas.lock -------------------------------------------------------------------------------


def test_a_changed_flow_without_a_new_version_is_found(folder: Path) -> None:
    write(folder, "sagas/one.py", flow("Locked", kind="locked"))
    project = Project.load(folder=folder)
    assert project.changed() == []
    assert project.write_lock() == folder / NAME
    assert project.changed() == []
    text = (folder / NAME).read_text()
    assert project.flows["Locked"].hash in text
    (folder / NAME).write_text(text.replace(project.flows["Locked"].hash, "0" * 64))
    [fault] = project.changed()
    assert fault.name == "Locked"
    assert "not what version 1 was, says sagas.lock" in fault.what
    assert "version=2" in fault.fix


def test_earlier_versions_stay_known(folder: Path) -> None:
    write(folder, "sagas/one.py", flow("Aged", kind="aged", version="3"))
    path = folder / NAME
    path.write_text(f'[Aged]\n1 = "{"1" * 64}"\n4 = "{"4" * 64}"\n\n[Gone]\n2 = "{"2" * 64}"\n')
    flows = Project.load(folder=folder).flows
    write_lock(path, flows.values())
    assert read_lock(path) == {
        "Aged": {1: "1" * 64, 3: flows["Aged"].hash, 4: "4" * 64},
        "Gone": {2: "2" * 64},
    }
    [fault] = changed(flows.values(), {"Aged": {3: "x", 4: "y"}}, by="the store")
    assert "says the store" in fault.what
    assert "version=5" in fault.fix


@pytest.mark.parametrize("text", ["[Order", "[Order]\nx = '1'", "[Order]\n1 = 'short'", "Order = 1"])
def test_a_lock_file_that_cannot_be_read_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / NAME).write_text(text)
    with pytest.raises(ConfigError, match=r"sagas\.lock cannot be read"):
        read_lock(tmp_path / NAME)
