"""Folders that are shipped with the code: migrations, and what `sagacity init` lays out.

In a wheel they lie inside the package, in a checkout beside `engine/`. Both are looked for in
one place, so nothing else has to know which of the two it runs from.
"""

from pathlib import Path

from sagacity.errors import ConfigError

_PACKAGE = Path(__file__).resolve().parent


def folder(name: str) -> Path:
    """The shipped folder `name`: `migrations`, `sagas` or `compensations`.

    Raises:
        ConfigError: this installation has no such folder.
    """
    inside = _PACKAGE / "migrations" if name == "migrations" else _PACKAGE / "scaffold" / name
    for candidate in (inside, _PACKAGE.parent.parent / name):
        if candidate.is_dir():
            return candidate
    raise ConfigError(f"this installation of sagacity has no folder {name!r}: install it again")
