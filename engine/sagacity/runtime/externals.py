"""The outside services of one process: each made once, closed at the end."""

import os
from collections.abc import Mapping

from sagacity.definition.external import External, ExternalSettings
from sagacity.errors import MissingExternal


def address(name: str) -> str | None:
    """The address of an external, from `SAGACITY_<NAME>_URL`; None where none is set."""
    return os.environ.get(f"SAGACITY_{name.upper()}_URL") or None


async def connect(wanted: Mapping[str, type[External]]) -> dict[str, External]:
    """Make every external that the flows take.

    Raises:
        MissingExternal: one cannot be made; those made before are closed again.
    """
    made: dict[str, External] = {}
    for name, cls in sorted(wanted.items()):
        try:
            made[name] = await cls.connect(ExternalSettings(name=name, url=address(name)))
        except Exception as error:
            await close(made)
            raise MissingExternal(
                f"external {name!r} cannot be made ({error}): set SAGACITY_{name.upper()}_URL to its address"
            ) from error
    return made


async def close(made: Mapping[str, External]) -> None:
    """Close them all, whatever one of them raises."""
    for external in made.values():
        try:
            await external.close()
        except Exception:  # closing is best effort: the process is about to end
            continue
