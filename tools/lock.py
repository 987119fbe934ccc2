"""Compile `requirements/dev.txt`: exact versions with hashes, and no address of where they came from.

pip-tools does not read `[dependency-groups]`, so the groups are spelled out for it here. The file works with
whatever index the reader's pip is set to: nothing in it names one.
"""

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "requirements" / "dev.txt"
HEADER = "# Made by `make lock` from pyproject.toml. Do not edit.\n"
OPTIONS = [
    "--quiet",
    "--generate-hashes",
    "--allow-unsafe",
    "--strip-extras",
    "--no-header",
    "--no-annotate",
    "--no-emit-index-url",
    "--no-emit-trusted-host",
    "--no-emit-find-links",
    "--no-emit-options",
]


def expand(groups: dict[str, list[Any]], *, name: str) -> list[str]:
    """The requirements of one dependency group, its included groups followed."""
    found: list[str] = []
    for entry in groups[name]:
        found += expand(groups, name=entry["include-group"]) if isinstance(entry, dict) else [entry]
    return found


def main() -> int:
    """Write the file; the exit code is 1 when an address found its way in."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = list(project["project"]["dependencies"])
    for extra in project["project"]["optional-dependencies"].values():
        wanted += extra
    wanted += expand(project["dependency-groups"], name="dev")
    command = [sys.executable, "-m", "piptools", "compile", *OPTIONS, "--output-file", str(TARGET), "-"]
    subprocess.run(command, input="\n".join(wanted), text=True, check=True, stdout=subprocess.DEVNULL)
    pins = TARGET.read_text(encoding="utf-8")
    if "://" in pins or "--index" in pins or "--find-links" in pins:
        print(f"{TARGET}: an address stands in it", file=sys.stderr)
        return 1
    TARGET.write_text(HEADER + pins, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
