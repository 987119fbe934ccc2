"""What a dry run did outside, had there been an outside: the judge of what is left standing.

It keeps the promises that the externals declare, and no others. A call that takes `key` has one effect
per key; one that takes none has an effect each time it comes. An undo that is told what it `undoes`
bars what has not come yet; one that is not, takes back nothing. So a gap in a flow shows here.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from sagacity.definition.external import Call, External
from sagacity.errors import Refused
from sagacity.model.record import EffectStatus, Record, Status


@dataclass(slots=True, kw_only=True)
class Landing:
    """One effect that would have happened.

    Attributes:
        undoes: the key of what it is to take back.
        undone: something took it back.
        stray: why it should not have happened; None: it is in order.
    """

    external: str
    call: str
    key: str
    undoes: str | None = None
    undone: bool = False
    stray: str | None = None
    answer: Any = None

    @property
    def what(self) -> str:
        """Its name, for a person."""
        return f"{self.external}.{self.call}"


@dataclass(slots=True)
class Ledger:
    """All services together. `barred`: keys that may not land any more."""

    classes: dict[str, type[External]]
    landed: list[Landing] = field(default_factory=list)
    barred: set[tuple[str, str]] = field(default_factory=set)
    refused: dict[tuple[str, str], str] = field(default_factory=dict)

    def known(self, external: str, call: Call, key: str) -> Landing | None:
        """What landed under this key, where the call takes one."""
        if not call.takes_key:
            return None
        return next((x for x in self.landed if x.external == external and x.key == key), None)

    def is_new(self, external: str, call: Call, key: str) -> bool:
        """A service that did it already, or promised never to, does not think again."""
        return self.known(external, call, key) is None

    def check(self, external: str, call: Call, key: str) -> None:
        """Whether it may land.

        Raises:
            Refused: its undo came first, or it was refused for good before.
        """
        if (external, key) in self.barred and call.takes_key:
            raise Refused(f"{external} does not take {key} any more: its undo came first")
        if call.takes_key and (external, key) in self.refused:
            raise Refused(self.refused[external, key])

    def land(self, external: str, call: Call, key: str, undoes: str | None, answer: Any) -> Landing:
        """It happened."""
        landing = Landing(external=external, call=call.name, key=key, undoes=undoes, answer=answer)
        if undoes is not None:
            self._take_back(landing, call, undoes)
        self.landed.append(landing)
        return landing

    def _take_back(self, landing: Landing, call: Call, undoes: str) -> None:
        targets = [x for x in self.landed if x.key == undoes and x.undoes is None]
        if not targets:
            self._of_nothing(landing, call, undoes)
            return
        target = next((x for x in targets if not x.undone), None)
        if target is None:
            landing.stray = f"took {targets[0].what} back a second time"
        elif not self._is_way_back(target, landing, call):
            landing.stray = f"did {landing.what} instead of taking {target.what} back"
        else:
            target.undone = True

    def _of_nothing(self, landing: Landing, call: Call, undoes: str) -> None:
        if call.takes_undoes:
            for external in self.classes:
                self.barred.add((external, undoes))
        elif not call.safe_on_nothing:
            landing.stray = "took back what had never happened"

    def _is_way_back(self, target: Landing, landing: Landing, call: Call) -> bool:
        effect = self.classes[target.external].effects[target.call]
        if call.takes_undoes:
            return True
        if target.external != landing.external:
            return False
        return landing.call == effect.inverse or (effect.inverse is None and landing.call != target.call)

    # --- judging ---------------------------------------------------------------------------------------

    def standing(self, records: Iterable[Record], *, spawned: Collection[str] = ()) -> list[str]:
        """What should not be there now that the sagas are where they are, one sentence each.

        Args:
            records: all sagas of the run, at their ends.
            spawned: keys of effects that are child sagas: nothing of them is outside.
        """
        records = list(records)
        expected = {k: name for k, name in self._expected(records).items() if k not in spawned}
        found = [f"{x.what} {x.stray}" for x in self.landed if x.stray is not None]
        counted: dict[str, int] = {}
        for landing in self.landed:
            if landing.undoes is not None or landing.undone:
                continue
            counted[landing.key] = counted.get(landing.key, 0) + 1
            if landing.key not in expected:
                found.append(f"{landing.what} stands")
            elif counted[landing.key] == 2:
                found.append(f"{landing.what} happened twice")
        there = set(counted)
        found += [f"{name} is missing" for key, name in expected.items() if key not in there and name]
        return found

    def _expected(self, records: list[Record]) -> dict[str, str]:
        """Key → step (empty: it may stand, and need not) of what is to stand after these ends."""
        expected: dict[str, str] = {}
        for record in records:
            for effect in record.effects:
                landed = effect.status is EffectStatus.LANDED
                if record.status is Status.COMMITTED and landed:
                    expected[effect.key] = effect.step
                elif record.status is Status.WAITING and landed:
                    expected[effect.key] = ""  # it is the saga's own still
                elif effect.undo is None and record.status in (Status.ROLLED_BACK, Status.ABANDONED):
                    expected[effect.key] = ""
        for record in records:
            if record.rolls_back is not None and record.status is Status.COMMITTED:
                for effect in record.effects:
                    if effect.status is not EffectStatus.LANDED:
                        expected.pop(effect.key, None)
        return expected
