"""Which calls go wrong in a simulation, and how: the seed decides, and each fault can be left out.

A fault point is a call and a way to fail. Per seed a quarter of the points are armed, and an armed
one fires at a quarter of its hits; so one seed has a database that often answers late and never
breaks, and another the opposite. Every decision depends on its own name and number only: leaving
one fault out does not move the others, which is what makes a failure's list of faults shrink.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from sagacity.testing.chance import decided

STORE = ("refused", "lost", "late", "unanswered", "slow")
"""How a call to the store fails: not done; not done, and nobody knows; done later, and nobody knows;
done, and nobody knows; done, slowly."""

NETWORK = ("unreachable", "lost", "late", "unanswered", "twice", "slow", "no")
"""How a call to an external fails: never sent; lost on the way; arrived after it was given up; landed,
and the answer was lost; arrived twice; slow; refused for good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fired:
    """One fault that happened: `point` at its `hit`-th hit, at virtual second `at`."""

    point: str
    hit: int
    at: float

    def __str__(self) -> str:
        return f"{self.point}#{self.hit}"


@dataclass(slots=True, kw_only=True)
class Faults:
    """The faults of one seed.

    Attributes:
        seed: decides.
        armed: odds that a point is armed in this seed.
        odds: odds that an armed point fires at a hit.
        rates: odds for points that begin so, instead of `odds`.
        calm: virtual second from which on nothing goes wrong any more.
        off: what is left out: whole points (`store.write:late`) or single ones (`store.write:late#3`).
        fired: what happened.
    """

    seed: object
    armed: float = 0.25
    odds: float = 0.25
    rates: dict[str, float] = field(default_factory=dict)
    calm: float = float("inf")
    off: Collection[str] = frozenset()
    fired: list[Fired] = field(default_factory=list)
    _hits: Counter[str] = field(default_factory=Counter)
    _armed: dict[tuple[str, Sequence[str]], tuple[tuple[str, str, float], ...]] = field(default_factory=dict)

    def at(self, call: str, kinds: Sequence[str], now: float) -> str | None:
        """How this call fails; None: it does not.

        Args:
            call: its name, e.g. `store.write`.
            kinds: the ways in which it can.
            now: virtual seconds.
        """
        points = self._armed.get((call, kinds))
        if points is None:
            points = self._armed[call, kinds] = tuple(self._arm(call, kinds))
        if not points or now >= self.calm:
            return None
        for point, kind, odds in points:
            self._hits[point] += 1
            hit = self._hits[point]
            if decided(self.seed, point, hit) < odds and f"{point}#{hit}" not in self.off:
                self.fired.append(Fired(point=point, hit=hit, at=now))
                return kind
        return None

    def _arm(self, call: str, kinds: Sequence[str]) -> list[tuple[str, str, float]]:
        named = [(f"{call}:{kind}", kind) for kind in kinds]
        return [
            (point, kind, self._odds(point))
            for point, kind in named
            if point not in self.off and decided(self.seed, "armed", point) < self.armed
        ]

    def _odds(self, point: str) -> float:
        return next((rate for start, rate in self.rates.items() if start in point), self.odds)


NONE = Faults(seed="none", armed=0.0)
"""Nothing goes wrong."""
