"""What the outside says it did, against what the log says was done.

Format of a ledger: JSON lines, one per call, in the order in which they were taken:

    external  who was called ("warehouse"); call: what it was asked ("reserve")
    key       the idempotency key it came under
    outcome   landed: it changed something; refused: a definite no; void: nothing left to change (a known
              key again, or the undo of what never landed)
    undoes    for an undo, the key of the call that it takes back; null otherwise
    saga, at  whose it is, and when; both optional: the log knows

More fields may stand beside these. The ledger is written by the outside, never by the engine: double and
lost effects are judged there.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, get_args
from uuid import UUID

import orjson

from sagacity.invariants.broken import Broken
from sagacity.model.by_hand import left_standing
from sagacity.model.lines import Intent
from sagacity.model.record import Effect, EffectStatus, Record, Status

Outcome = Literal["landed", "refused", "void"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One line of a ledger; see the module."""

    external: str
    call: str
    key: str
    outcome: Outcome
    undoes: str | None = None
    saga: str | None = None
    at: str | None = None

    @property
    def forward(self) -> str | None:
        """The key that it takes back; None for a forward call."""
        if self.undoes:
            return self.undoes
        return self.key.removesuffix("/undo") if self.key.endswith("/undo") else None


_FIELDS = frozenset(Call.__dataclass_fields__)


def read_calls(lines: Iterable[bytes | str], *, name: str = "ledger") -> tuple[list[Call], list[Broken]]:
    """The calls that the lines of a ledger file hold, and what is no such line."""
    calls: list[Call] = []
    found: list[Broken] = []
    for n, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            calls.append(_call(orjson.loads(line)))
        except (ValueError, TypeError, KeyError) as error:
            found.append(Broken(invariant="I16", where=f"{name} line {n}", why=f"no ledger line: {error}"))
    return calls, found


def _call(content: Any) -> Call:
    if not isinstance(content, dict):
        raise TypeError("not an object")
    if content["outcome"] not in get_args(Outcome):
        raise ValueError(f"outcome {content['outcome']!r} is none of {', '.join(get_args(Outcome))}")
    return Call(**{name: value for name, value in content.items() if name in _FIELDS})


@dataclass(slots=True)
class _Key:
    """What became of one forward key, as the outside tells it."""

    external: str
    landed: int = 0
    undone: int = 0
    barred: bool = False


@dataclass(slots=True)
class _Told:
    """What the log tells of one key."""

    saga: UUID
    external: str | None
    effect: Effect | None = None
    over: Status | None = None
    rolled_back: bool = False


@dataclass(slots=True)
class Ledgers:
    """All ledgers together with all effects of the log.

    Attributes:
        prefix: what keys of this lane begin with.
        remembers: what the log says is kept to be compared; False where no ledger will be given.
    """

    prefix: str
    remembers: bool = True
    keys: dict[str, _Key] = field(default_factory=dict)
    covers: set[str] = field(default_factory=set)
    _told: dict[str, _Told] = field(default_factory=dict)

    # --- the outside ----------------------------------------------------------------------------------

    def called(self, call: Call) -> Iterator[Broken]:
        """I16, I18: one effect per key, one undo of it, and none that comes after its undo."""
        self.covers.add(call.external.lower())
        forward = call.forward
        key = self.keys.setdefault(forward or call.key, _Key(call.external))
        if forward is None and call.outcome == "landed":
            if key.landed:
                yield _broken("I16", call, f"{call.call} landed twice under one key")
            if key.barred or key.undone:
                yield _broken("I18", call, f"{call.call} landed after its undo")
            key.landed += 1
        elif forward is not None and call.outcome == "landed":
            if key.undone:
                yield _broken("I16", call, f"{call.call} undid one effect twice")
            if not key.landed:
                yield _broken("I18", call, f"{call.call} undid what had not landed")
            key.undone += 1
        elif forward is not None and call.outcome == "void" and not key.landed:
            key.barred = True

    # --- the log --------------------------------------------------------------------------------------

    def intended(self, saga: UUID, line: Intent) -> None:
        """A call under this key was announced."""
        if self.remembers:
            self._told.setdefault(line.key, _Told(saga, line.external.lower()))

    def stands(self, record: Record) -> None:
        """Where the saga and its effects stand; the last word on a key is its rollback's, if there is one."""
        open_ = left_standing(record)[1] if record.status is Status.ABANDONED else ()
        for effect in record.effects if self.remembers else ():
            told = self._told.setdefault(effect.key, _Told(record.id, None))
            if told.rolled_back and record.rolls_back is None:
                continue
            # Where the log says that it does not know, there is nothing to compare.
            told_effect = None if effect.n in open_ else effect
            told.saga, told.effect, told.rolled_back = record.id, told_effect, record.rolls_back is not None
            told.over = record.status if record.status.final else None

    def compared(self) -> Iterator[Broken]:
        """I6, I16, I20: the ledger holds what the log says, no more and no less.

        Sagas that are still under way may have done more than the log knows; their open effects pass.
        """
        for key, told in self._told.items():
            if told.external in self.covers:
                why = _disagree(told, self.keys.get(key, _Key("")))
                if why is not None:
                    yield Broken(invariant=why[0], where=f"key {key}", saga=told.saga, why=why[1])
        for key, found in self.keys.items():
            if found.landed and key not in self._told and key.startswith(self.prefix):
                why_not = f"{found.external} did something that no line had announced"
                yield Broken(invariant="I6", where=f"key {key}", why=why_not)


def _disagree(told: _Told, key: _Key) -> tuple[str, str] | None:
    """(invariant, why) where log and ledger tell different things of one key."""
    effect, stands = told.effect, key.landed - key.undone
    if effect is None or told.over is None:
        return None
    if (
        told.over is Status.ROLLED_BACK
        and effect.status in (EffectStatus.UNDONE, EffectStatus.VOID)
        and stands
    ):
        return "I20", f"its saga is rolled back, and {effect.step} still stands {stands} times"
    if effect.status is EffectStatus.LANDED and stands != 1:
        return "I16", f"the log says that {effect.step} landed, the ledger has it {stands} times"
    if effect.status is EffectStatus.VOID and stands:
        return "I20", f"the log says that {effect.step} never happened, the ledger has it {stands} times"
    if effect.status is EffectStatus.UNDONE and stands:
        return "I20", f"the log says that {effect.step} was undone, the ledger has it {stands} times"
    if effect.status is EffectStatus.UNDONE and effect.landed and not key.landed:
        return "I16", f"the log says that {effect.step} landed and was undone, the ledger has never seen it"
    return None


def _broken(invariant: str, call: Call, why: str) -> Broken:
    return Broken(invariant=invariant, where=f"{call.external} key {call.key}", why=why)
