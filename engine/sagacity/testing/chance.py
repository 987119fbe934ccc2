"""Chance that comes from a seed: the same seed, the same choices, on every machine and in every process.

Two kinds, on purpose. A stream (`Chance`) answers in order, so one question more shifts all that
follow. A `decided` number depends on its question alone: a fault that is switched off leaves the
others where they were.
"""

import random
from collections.abc import Sequence
from hashlib import blake2b
from typing import TypeVar
from uuid import UUID

T = TypeVar("T")

_WHOLE = float(1 << 64)


class Chance:
    """A stream of choices. `parts` name it: two streams with other names share nothing."""

    def __init__(self, *parts: object) -> None:
        self._random = random.Random("\x1f".join(str(part) for part in parts))

    def below(self, end: int) -> int:
        """A whole number from 0 to `end - 1`."""
        return int(self._random.random() * end)

    def between(self, low: float, high: float) -> float:
        """A number from `low` to `high`."""
        return low + (high - low) * self._random.random()

    def hit(self, odds: float) -> bool:
        """True in `odds` of all cases (0 to 1)."""
        return self._random.random() < odds

    def pick(self, among: Sequence[T]) -> T:
        """One of them; there must be one."""
        return among[int(self._random.random() * len(among))]

    def id(self) -> UUID:
        """A fresh UUID of version 7's shape; ids are in no order, as if made by many machines."""
        bits = self._random.getrandbits(128)
        return UUID(int=(bits & ~(0xF << 76) & ~(0x3 << 62)) | (0x7 << 76) | (0x2 << 62))


def decided(*what: object) -> float:
    """The one number from 0 to below 1 that belongs to `what`."""
    text = "\x1f".join(str(part) for part in what)
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) / _WHOLE
