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
The reference flows are there to copy from. One of them needs nothing from outside; try it:

```sh
sagacity check
sagacity diagram OpenAccount
echo '{{"account_id": "A-1", "balance": "100.00"}}' > accounts.jsonl
sagacity run sagas/transfer.py:OpenAccount --input accounts.jsonl
sagacity list
sagacity show A-1
sagacity log A-1
sagacity object account:A-1
sagacity verify
sagacity check --lock
```

`check` tells everything that is wrong with the flows, each with its fix; with `--lock` it remembers them
as they are: commit `sagas.lock`. `show` says why a saga stands where it stands, `log` tells its story.

Sagas are kept in `sagacity.db`, in this folder; set `SAGACITY_STORE=postgresql://…` for PostgreSQL.

## With the outside services

The other flows call services, which `sagas/services` plays on this machine. All of it at once, over 200
sample orders:

```sh
python -m sagas.run
```

By hand, in three terminals. The services, on ports of your choice:

    python -m sagas.services --ledger ledger --ports 8101 --hooks http://127.0.0.1:8000

The HTTP API, which takes their web hooks:

    sagacity serve --port 8000

A worker, which needs the address of every service that its flows call:

    export SAGACITY_WAREHOUSE_URL=http://127.0.0.1:8101
    export SAGACITY_PAYMENTS_URL=http://127.0.0.1:8102
    export SAGACITY_CARRIER_URL=http://127.0.0.1:8103
    export SAGACITY_BANK_URL=http://127.0.0.1:8104
    export SAGACITY_CLUSTERS_URL=http://127.0.0.1:8105
    sagacity worker
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
