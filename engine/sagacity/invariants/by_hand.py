"""I41: nothing is changed by hand without the line that says who and why, right before it."""

from sagacity.model import lines as L
from sagacity.model.operating import Verb

_AFTER: dict[str, Verb] = {
    L.Paused.kind: Verb.PAUSE,
    L.Resumed.kind: Verb.RESUME,
    L.Skipped.kind: Verb.SKIP,
    L.Forced.kind: Verb.FORCE,
    L.Abandoned.kind: Verb.ABANDON,
    L.LockReleased.kind: Verb.RELEASE_LOCK,
}
"""Kinds that exist only behind an `act`."""

_WITHOUT_MESSAGE: dict[str, Verb] = {
    L.Retried.kind: Verb.RETRY,
    L.Signalled.kind: Verb.SIGNAL,
    L.RollbackAsked.kind: Verb.ROLLBACK,
}
"""Kinds that a message of their own may cause too."""


def i41_by_hand(last: L.Line | None, line: L.Line) -> str | None:
    """Why `line` may not stand right behind `last`; None: it may."""
    verb = _AFTER.get(line.kind)
    if verb is None and getattr(line, "message", line) is None:
        verb = _WITHOUT_MESSAGE.get(line.kind)
    if verb is None:
        return None
    if isinstance(last, L.Act) and last.verb == verb.value:
        return None
    return f"{line.kind} without the act that it is part of"
