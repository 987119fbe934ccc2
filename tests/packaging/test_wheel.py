"""What the wheel brings: one top-level package with its migrations and its scaffold aboard."""

import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).resolve().parents[2]
ABOARD = {
    "engine/sagacity": "sagacity",
    "migrations": "sagacity/migrations",
    "sagas": "sagacity/scaffold/sagas",
    "compensations": "sagacity/scaffold/compensations",
}


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    folder = tmp_path_factory.mktemp("wheel")
    [wheel] = WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def _sources(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_has_one_top_level_package(names: set[str]) -> None:
    packages = {name.split("/")[0] for name in names}
    assert {name for name in packages if not name.endswith(".dist-info")} == {"sagacity"}


@pytest.mark.parametrize("source", ABOARD)
def test_every_file_of_the_checkout_is_aboard(names: set[str], source: str) -> None:
    wanted = {f"{ABOARD[source]}/{name}" for name in _sources(ROOT / source)}
    assert wanted, f"{source}/ holds no file"
    assert wanted <= names


def test_the_wheel_is_typed_and_has_a_command(names: set[str]) -> None:
    assert "sagacity/py.typed" in names
    assert any(name.endswith(".dist-info/entry_points.txt") for name in names)


def test_tests_and_tools_stay_at_home(names: set[str]) -> None:
    assert not [name for name in names if "test_" in name or name.startswith(("tests/", "tools/"))]
