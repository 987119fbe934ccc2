"""Runs the code blocks of one page in a folder of its own, the way a reader would type them.

`sh` blocks are run by bash; `console` blocks hold commands behind `$ ` and what they print, where `…` stands
for anything; a `python` block whose first line is a comment with a path is written there, one that
begins with `# from PATH` must stand in that file (docstrings aside), others are run.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.docs.blocks import ROOT, Block

LIMIT = 100.0
RUNNABLE = ("sh", "console", "python")
PROJECT = ("Makefile", "pyproject.toml", "README.md", "LICENSE", "requirements", "tools", "engine", "sagas")
PROJECT_TOO = ("compensations", "migrations")
# What a page may name and its test must not do for real; each is judged on its own elsewhere.
STANDING_IN = {
    "make test": "make --dry-run test",
    "make check": "make --dry-run check",
    "pip install '.[server]'": "python -m pip --disable-pip-version-check install --quiet --dry-run --no-deps"
    " --no-build-isolation .",
    ". .venv/bin/activate": "true",
}
_AWAITING = (
    "import ast, asyncio, inspect, sys; "
    "code = compile(sys.stdin.read(), sys.argv[1], 'exec', ast.PyCF_ALLOW_TOP_LEVEL_AWAIT); "
    "made = eval(code, {'__name__': '__main__'}); "
    "inspect.iscoroutine(made) and asyncio.run(made)"
)


def copy_of_project(folder: Path) -> Path:
    """A fresh clone as a reader has it, with the environment that runs this test as its `.venv`."""
    for name in (*PROJECT, *PROJECT_TOO):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, folder / name)
    _lend_environment(folder / ".venv")
    return folder


def _lend_environment(venv: Path) -> None:
    """The parts of this environment under another name, marked as ready: make must never set it up anew."""
    venv.mkdir()
    for part in ("bin", "lib", "pyvenv.cfg"):
        (venv / part).symlink_to(Path(sys.prefix) / part)
    (venv / ".sagacity-ready").touch()


class Reader:
    """Somebody who reads a page from top to bottom and types everything in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def follow(self, block: Block) -> None:
        """Do what one block says, and compare what it promises."""
        if block.language == "python" and block.excerpt:
            assert is_part_of(block.text, (ROOT / block.excerpt).read_text()), (
                f"{block.where}: {block.excerpt} says something else"
            )
        elif block.language == "python" and block.file:
            path = self.folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
        elif block.language == "python":
            self._run([sys.executable, "-c", _AWAITING, block.where], block, stdin=block.text)
        elif block.language == "sh":
            self._shell(block.text, block)
        elif block.language == "console":
            for command, promised in promises(block.text):
                printed = self._shell(command, block, may_fail=bool(promised))
                assert agrees(promised, printed), (
                    f"{block.where}: {command}\npromised:\n{promised}\nprinted:\n{printed}"
                )

    def _shell(self, text: str, block: Block, *, may_fail: bool = False) -> str:
        for said, done in STANDING_IN.items():
            text = re.sub(rf"^{re.escape(said)}(?=\s|$)", done, text, flags=re.MULTILINE)
        moved = self.folder / ".cwd"
        # Where output is promised, it is what counts: a command that finds something wrong ends with 1.
        ending = "|| true" if may_fail else ""
        script = f'set -eo pipefail\n{text} {ending}\npwd > "$CWD_FILE"\n'
        printed = self._run(["bash", "-c", script], block, CWD_FILE=str(moved))
        self.folder = Path(moved.read_text().strip())
        moved.unlink()
        return printed

    def _run(self, command: list[str], block: Block, *, stdin: str = "", **variables: str) -> str:
        # Without a width, as in a pipe: pages show one line for each thing.
        foreign = ("SAGACITY_", "MAKE", "MFLAGS", "COLUMNS")
        kept = {n: v for n, v in os.environ.items() if not n.startswith(foreign)}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            cwd=self.folder,
            timeout=LIMIT,
            env={**kept, "PATH": path, "NO_COLOR": "1", **variables},
        )
        told = f"{block.where}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert done.returncode == 0, told
        return done.stdout


def is_part_of(part: str, whole: str) -> bool:
    """Say whether every statement of `part` stands in `whole`, docstrings and layout aside."""
    statements = {_bare(statement) for statement in ast.parse(whole).body}
    return all(_bare(statement) in statements for statement in ast.parse(part).body)


def _bare(statement: ast.stmt) -> str:
    for node in ast.walk(statement):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return ast.dump(statement)


def promises(text: str) -> list[tuple[str, str]]:
    """The commands of a console block, each with the output that the page shows under it."""
    found: list[tuple[str, str]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], ""))
        elif found:
            command, promised = found[-1]
            found[-1] = (command, f"{promised}{line}\n")
    return found


def agrees(promised: str, printed: str) -> bool:
    """Say whether output is as a page shows it; `…` stands for anything, alone on a line for any lines."""
    if not promised.strip():
        return True
    parts = [re.escape(line).replace("…", ".*") for line in _tidy(promised)]
    pattern = "\n".join("(?s:.*)" if part == ".*" else part for part in parts)
    return re.fullmatch(pattern, "\n".join(_tidy(printed))) is not None


def _tidy(text: str) -> list[str]:
    """Lines without what a table's columns add: how many blanks stand between two words."""
    return [" ".join(line.split()) for line in text.rstrip().splitlines()]
