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
        MissingExternal: some cannot be made, all of them named at once; the others are closed again.
    """
    made: dict[str, External] = {}
    failed: dict[str, Exception] = {}
    for name, cls in sorted(wanted.items()):
        try:
            made[name] = await cls.connect(ExternalSettings(name=name, url=address(name)))
        except Exception as error:
            failed[name] = error
    if failed:
        await close(made)
        raise MissingExternal(_told(failed)) from next(iter(failed.values()))
    return made


def _told(failed: Mapping[str, Exception]) -> str:
    """What cannot be made and why, then the fix, once."""
    reasons = "; ".join(f"{name}: {str(error) or type(error).__name__}" for name, error in failed.items())
    unset = [f"SAGACITY_{name.upper()}_URL" for name in failed if address(name) is None]
    what = "an external" if len(failed) == 1 else f"{len(failed)} externals"
    if not unset:
        return f"{what} cannot be made: {reasons}"
    whose = "its address" if len(unset) == 1 else "their addresses"
    return f"{what} cannot be made ({reasons}): set {', '.join(unset)} to {whose}"


async def close(made: Mapping[str, External]) -> None:
    """Close them all, whatever one of them raises."""
    for external in made.values():
        try:
            await external.close()
        except Exception:  # closing is best effort: the process is about to end
            continue
