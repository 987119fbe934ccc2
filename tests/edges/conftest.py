"""Fixtures of the edges: a project in a folder of its own, with nothing from the environment."""

import os
from pathlib import Path

import pytest

from tests.edges.shop import Shop


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shop:
    for name in [name for name in os.environ if name.startswith("SAGACITY_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.chdir(tmp_path)
    return Shop(tmp_path, capsys)
