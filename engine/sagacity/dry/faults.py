"""What goes wrong in a dry run, each thing with a name, so that it can be listed, repeated and left out.

A fault is plain data: where, how, and at which of several hits. Its text is its whole content
(`take_money: answer lost`), so a scenario can be written down, sent to somebody, and played again.
"""

from dataclasses import dataclass
from typing import Literal

from sagacity.errors import InputError

Where = Literal["effect", "undo", "wait", "cancel", "crash", "store"]

KINDS: dict[Where, dict[str, str]] = {
    "effect": {
        "unreachable": "it could not be reached, once",
        "down": "it cannot be reached, until the step gives up",
        "lost": "done, and the answer was lost",
        "silent": "done, and every answer is lost until the step gives up",
        "late": "no answer; it is done after the step's time-out",
        "gone": "it never arrives, and nobody says so until the step gives up",
        "refused": "a no for good",
        "slow": "it is done, and the answer takes most of the step's time-out",
    },
    "undo": {
        "unreachable": "it could not be reached, once",
        "lost": "done, and the answer was lost",
        "late": "no answer; it is done after the time-out",
        "refused": "a no for good",
        "slow": "it is done, and the answer takes most of the time-out",
    },
    "wait": {
        "missing": "nothing comes until the deadline",
        "twice": "it comes twice",
        "early": "it comes before anybody waits for it",
        "comes": "it comes although the script has something else",
        "late": "it comes in the last second before its deadline",
        "garbled": "it comes with data that does not fit, and then never",
    },
    "cancel": {"after": "somebody cancels right after it"},
    "crash": {
        "before": "the worker dies before this is stored",
        "after": "the worker dies right after this was stored",
    },
    "store": {"slow": "the database takes ten seconds to store this"},
}
"""Where something can go wrong, and how; the text says what it means."""

CHAOS = frozenset({("effect", "slow"), ("undo", "slow"), ("wait", "late"), ("store", "slow")})
"""What only takes long: by itself it leaves nothing standing, so chaos plays it and no exploration."""

OF_CALLS = frozenset(KINDS["effect"])


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        where: at an effect's or a compensation's call, a wait, a cancel from outside, a worker's death, or a
            write that is slow.
        name: the step, the wait, or (for a crash or a write) what is being stored: `completed take_money`.
        kind: how; see `KINDS`.
        hit: at which occurrence of its kind, from 1. For `down`, `silent` and `gone`: from which on.
    """

    where: Where
    name: str
    kind: str
    hit: int = 1

    def __post_init__(self) -> None:
        if self.kind not in KINDS[self.where]:
            known = ", ".join(KINDS[self.where])
            raise InputError(f"a fault of kind {self.kind!r} at {self.where!r}: there are {known}")

    def __str__(self) -> str:
        nth = "" if self.hit == 1 else f" #{self.hit}"
        return f"{self.where} {self.name}: {self.kind}{nth}"

    @property
    def meaning(self) -> str:
        """What happens, for a person."""
        return KINDS[self.where][self.kind]

    @property
    def lasts(self) -> bool:
        """It goes on from its hit, until the step gives up."""
        return self.kind in ("down", "silent", "gone")


def read_fault(text: str) -> Fault:
    """The fault that `str` of it says.

    Raises:
        InputError: it says none.
    """
    where, _, rest = text.strip().partition(" ")
    name, colon, kind = rest.rpartition(": ")
    kind, _, nth = kind.partition(" #")
    if not colon or where not in KINDS or not (nth or "1").isdigit():
        raise InputError(f"{text!r} is no fault: write it like `effect take_money: lost`")
    return Fault(where=where, name=name, kind=kind, hit=int(nth or 1))
