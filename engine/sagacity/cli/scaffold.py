"""A new project on disk: flows to start from, and the few files that make them a project.

Nothing that exists is ever overwritten: the folder must be absent or empty.
"""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from sagacity.bundle import folder
from sagacity.errors import ConfigError, Conflict

SHIPPED = ("sagas", "compensations")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]*")

_PYPROJECT = """\
[project]
name = "{name}"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = ["sagacity[server]"]

[tool.sagacity]
# Where flows are looked for: files, folders or dotted modules.
modules = ["sagas/"]
"""

_README = """\
# {name}

Flows live in `sagas/`, one file each; what makes their effects good lives in `compensations/`.

    sagacity check              # everything that is wrong with the flows, with the fix
    sagacity check --lock       # remember the flows as they are: commit sagas.lock
    sagacity diagram Transfer   # draw a flow
    sagacity run sagas/transfer.py:OpenAccount --input accounts.jsonl   # one saga a line
    sagacity worker             # execute sagas (Ctrl-C ends it cleanly)
    sagacity list               # what there is
    sagacity show KEY           # one saga: why it is here, what comes next
    sagacity log KEY            # its story

Sagas are kept in `sagacity.db`. Set `SAGACITY_STORE=postgresql://…` for PostgreSQL, and
`SAGACITY_<NAME>_URL` for the address of each outside service; `python -m sagas.services --ledger ledger`
plays those of the flows that came along.
"""

_IGNORE = """\
__pycache__/
.venv/
.sagacity/
*.db
*.db-shm
*.db-wal
"""


def lay_out(target: Path) -> Iterator[Path]:
    """Make the project in `target`, telling each path as it is written.

    Raises:
        ConfigError: the name would make no project name.
        Conflict: `target` exists and is not an empty folder.
    """
    name = target.absolute().name
    if not _NAME.fullmatch(name):
        raise ConfigError(f"{name!r} is no name for a project: letters, digits, dots, dashes and underscores")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise Conflict(
            f"{target} exists and is not an empty folder: nothing was written; choose another name"
        )
    return _written(target, name)


def _written(target: Path, name: str) -> Iterator[Path]:
    target.mkdir(parents=True, exist_ok=True)
    for text, file in ((_PYPROJECT, "pyproject.toml"), (_README, "README.md"), (_IGNORE, ".gitignore")):
        (target / file).write_text(text.format(name=name) if file != ".gitignore" else text, encoding="utf-8")
        yield target / file
    for part in SHIPPED:
        yield from _copied(folder(part), target / part)


def _copied(source: Path, target: Path) -> Iterator[Path]:
    for path in sorted(source.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
            yield place
