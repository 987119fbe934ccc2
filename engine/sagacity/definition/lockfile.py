"""`sagas.lock`: which versions of which flows a project has had, and what each looked like.

Committed with the flows. A flow that changes without a new version would run old instances by
new rules; the file makes that visible before any store is asked.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

from sagacity.definition.flow import Flow
from sagacity.definition.registry import place_of
from sagacity.errors import ConfigError, Fault

NAME = "sagas.lock"
Known = Mapping[str, Mapping[int, str]]
"""Flow's name → version → hash."""

_HEAD = "# Written by `sagacity check --lock`. Commit it with the flows: version = hash of the definition.\n"
_HASH = re.compile(r"[0-9a-f]{64}")


def read_lock(path: Path) -> dict[str, dict[int, str]]:
    """What the file knows; nothing where there is no file.

    Raises:
        ConfigError: the file is not what `write_lock` writes.
    """
    if not path.exists():
        return {}
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        return {name: _versions(table) for name, table in content.items()}
    except (ValueError, AttributeError) as error:
        raise ConfigError(
            f"{path.name} cannot be read ({error}): restore it, or delete it and call `sagacity check --lock`"
        ) from None


def _versions(table: Mapping[str, object]) -> dict[int, str]:
    found = {int(version): str(text) for version, text in table.items()}
    bad = [text for text in found.values() if not _HASH.fullmatch(text)]
    if bad:
        raise ValueError(f"{bad[0]!r} is no hash")
    return found


def write_lock(path: Path, flows: Iterable[Flow]) -> None:
    """Add the flows as they are now; versions that are gone from the code stay known."""
    known = read_lock(path)
    for flow in flows:
        known.setdefault(flow.name, {})[flow.version] = flow.hash
    parts = [_HEAD]
    for name in sorted(known):
        parts.append(f"\n[{_key(name)}]\n")
        parts += [f'{version} = "{known[name][version]}"\n' for version in sorted(known[name])]
    path.write_text("".join(parts), encoding="utf-8")


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else '"' + name.replace('"', '\\"') + '"'


def changed(flows: Iterable[Flow], known: Known, *, by: str = NAME) -> list[Fault]:
    """A fault for each flow that differs from what is known of its version.

    Args:
        flows: as the code has them.
        known: name → version → hash.
        by: who knows it, for the message: the lock file or the store.
    """
    found: list[Fault] = []
    for flow in flows:
        before = known.get(flow.name, {}).get(flow.version)
        if before is not None and before != flow.hash:
            found.append(
                Fault(
                    where=place_of(flow.cls),
                    name=flow.name,
                    what=f"it is not what version {flow.version} was, says {by}.",
                    fix=f"Write `version={max(known[flow.name]) + 1}`, or take the change back.",
                )
            )
    return found
