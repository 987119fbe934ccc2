"""The reference flows are what `sagas.lock` says of their versions: a change comes with a new version."""

from pathlib import Path

from sagacity.definition.project import Project

ROOT = Path(__file__).resolve().parents[2]


def test_no_reference_flow_changed_under_its_version() -> None:
    project = Project.load(folder=ROOT)
    assert {"Order", "Transfer", "Offboarding"} <= set(project.flows)
    assert [str(fault) for fault in project.changed()] == []
