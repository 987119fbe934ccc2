"""What `verify` is given beside the store: ledgers, client histories, anchors, definitions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sagacity.anchor import Anchor
from sagacity.definition.flow import Flow
from sagacity.invariants import Broken, Call, Op


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """See the module.

    Attributes:
        calls: what the outside says it did, each external's in its own order.
        ops: what clients were told.
        anchors: heads that were sent away, oldest first; `key` is what they were signed with.
        flows: (name, version) → definition; moves are held against these.
        broken: what was wrong with the evidence itself.
    """

    calls: Sequence[Call] = ()
    ops: Sequence[Op] = ()
    anchors: Sequence[Anchor] = ()
    key: bytes | None = None
    flows: Mapping[tuple[str, int], Flow] = field(default_factory=dict)
    broken: Sequence[Broken] = ()
