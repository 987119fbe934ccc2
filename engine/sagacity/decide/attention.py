"""What needs a human, and which of it looks alike. Pure: kinds, thresholds, fingerprints.

A thing that moves by itself in good time is no matter for a person; so each kind here says why nothing
will, or that it should have.
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import timedelta

KINDS: dict[str, str] = {
    "undo_failed": "a compensation gave up: what happened outside still stands",
    "stuck": "stuck: nothing moves until somebody acts",
    "break_glass": "done without the second person that it needed, and nobody else has looked at it",
    "approval": "a plan waits for its second person",
    "unserved": "no worker runs this definition in this version",
    "overdue": "it was due, and no worker has taken it up",
    "lock": "a lock is held for long, or many wait for it",
    "nothing_scheduled": "waits for a signal without a deadline: nothing is scheduled",
    "retrying": "has been tried again and again for long",
    "paused": "paused by somebody, and left so",
}
"""Kinds of attention, the gravest first, each with what it means."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """From when on something is a matter for a person.

    Attributes:
        overdue: how late something may be taken up.
        paused: how long something may stay paused.
        retrying: how long something may be tried again.
        lock: how long somebody may wait for a lock.
        waiters: how many may wait for one lock.
        rows: rows of each sort that are looked at; beyond that counts are "at least".
    """

    overdue: timedelta = timedelta(minutes=1)
    paused: timedelta = timedelta(hours=1)
    retrying: timedelta = timedelta(minutes=30)
    lock: timedelta = timedelta(minutes=10)
    waiters: int = 10
    rows: int = 500


_ID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
_HEX = re.compile(r"\b(?=[0-9a-fA-F]*[0-9])[0-9a-fA-F]{8,}\b")
_DIGITS = re.compile(r"\d+")
_CUT = 200


def folded(error: str | None) -> str:
    """An error without what differs from one saga to the next: ids and digits become `#`."""
    text = _ID.sub("#", (error or "").strip())
    text = _DIGITS.sub("#", _HEX.sub("#", text))
    return " ".join(text.split())[:_CUT]


def fingerprint(kind: str, definition: str, state: str, error: str | None) -> str:
    """Twelve characters that are the same for everything that looks alike, on every machine, for ever."""
    text = "\x1f".join((kind, definition, state, folded(error)))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
