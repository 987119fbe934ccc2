"""The reference flows are what `sagas.lock` says of their versions: a change comes with a new version."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_no_reference_flow_changed_under_its_version(tmp_path: Path) -> None:
    # In a process of its own: this one has made the flows of all tests.
    command = [sys.executable, "-m", "sagacity", "check", "--store", f"sqlite:///{tmp_path}/none.db"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (said.returncode, said.stdout) == (0, "")
    locked = (ROOT / "sagas.lock").read_text(encoding="utf-8")
    assert all(f"[{name}]" in locked for name in ("Order", "Transfer", "Offboarding"))
