"""Everything that is refused when a flow's class is made; each fault with its fix."""

from collections.abc import Iterable, Mapping
from typing import Any

from sagacity.definition.draft import Draft
from sagacity.definition.flow import Flow


def check(
    draft: Draft,
    flow: Flow,
    *,
    bases: tuple[type, ...],
    options: Mapping[str, Any],
    twice: Iterable[str],
) -> None:
    """Add all faults of the class to `draft`."""
    del flow, bases
    version = options.get("version")
    if type(version) is not int or version < 1:
        draft.blame(draft.cls.__name__, "it has no version.", "Write `class Order(Saga, version=1)`.")
    for name in twice:
        draft.blame(name, "the name is given twice.", "Give each state, transition and step its own name.")
