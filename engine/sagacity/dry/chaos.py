"""Chaos by script: many runs, in each of which the seed decides what goes wrong.

Rates are given by step or wait, and kind: `effect take_money: lost` at 0.1, `effect *: unreachable` at 0.05.
Each decision depends on the seed, the run and the fault's own name alone, so a run that fails fails again.
"""

import fnmatch
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sagacity.definition.facts import brief
from sagacity.dry.exploring import Path as Way
from sagacity.dry.exploring import path_of, walked
from sagacity.dry.faults import CHAOS, Fault
from sagacity.dry.live import Live
from sagacity.dry.play import Scene, play
from sagacity.dry.report import embedded
from sagacity.errors import ConfigError, InputError
from sagacity.model.canonical import JsonText, canonical
from sagacity.store.memory import MemoryDatabase
from sagacity.testing.chance import decided


class Chaos(BaseModel):
    """How much goes wrong.

    `rates`: a pattern (`*` for anything) → odds from 0 to 1. It is held against a fault's text, such as
    `effect take_money: lost`, and against that text behind the external's name (`payments effect *`). The
    first pattern that fits counts.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seed: int = 0
    runs: int = Field(default=100, ge=1, le=100_000)
    rates: dict[str, float] = Field(default_factory=lambda: {"*": 0.02})

    @classmethod
    def read(cls, path: Path) -> "Chaos":
        """Chaos from a JSON file.

        Raises:
            ConfigError: no such file. InputError: it is none.
        """
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}") from None
        except ValidationError as error:
            raise InputError(f"{path}: {brief(error)}") from None

    def rate(self, fault: Fault, externals: Mapping[str, str] | None = None) -> float:
        """The odds of one fault: those of the first pattern that fits it. `externals`: of a step."""
        texts = [str(fault)]
        if fault.where in ("effect", "undo") and externals and fault.name in externals:
            texts.append(f"{externals[fault.name]} {fault}")
        fitting = (
            odds
            for pattern, odds in self.rates.items()
            if any(fnmatch.fnmatchcase(text, pattern) for text in texts)
        )
        return next(fitting, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chaotic:
    """What came of it. `runs`: those in which something went wrong, by number."""

    definition: str
    seed: int
    count: int
    ends: dict[str, int]
    failing: tuple[tuple[int, Way], ...]

    @property
    def ok(self) -> bool:
        """No run left anything standing."""
        return not self.failing

    @property
    def worst(self) -> tuple[Fault, ...] | None:
        """The failing run with the fewest faults."""
        return min((way.faults for _, way in self.failing), key=len, default=None)

    def json(self) -> JsonText:
        """All of it as canonical JSON."""
        failing = [
            {"run": number, **embedded(way), "faults": [str(fault) for fault in way.faults]}
            for number, way in self.failing
        ]
        told: dict[str, Any] = {
            "schema_version": 1,
            "definition": self.definition,
            "seed": self.seed,
            "runs": self.count,
            "ends": self.ends,
            "failing": failing,
        }
        return canonical(told, limit=None)

    def text(self) -> str:
        """For a person."""
        ends = ", ".join(f"{number} {end}" for end, number in sorted(self.ends.items()))
        lines = [f"CHAOS  {self.definition}, seed {self.seed}, {self.count} runs: {ends}"]
        for number, way in self.failing[:10]:
            faults = ", ".join(str(fault) for fault in way.faults)
            lines.append(f"! run {number}: {'; '.join(way.standing) or way.verdict}")
            lines.append(f"    {faults}")
        lines.append(
            "Nothing is left standing." if self.ok else f"{len(self.failing)} runs must not go live."
        )
        return "\n".join(lines) + "\n"


def chaotic(scene: Scene, live: Live, chaos: Chaos, *, each: Callable[[int], None] | None = None) -> Chaotic:
    """Play `chaos.runs` runs. Blocks; on a thread without a running loop."""
    database = MemoryDatabase()
    ends: Counter[str] = Counter()
    failing: list[tuple[int, Way]] = []
    try:
        faults = list(_all_faults(scene, live, database))
        called = {
            name: param.type.name
            for flow in scene.project.flows.values()
            for name, step in flow.steps.items()
            for param in step.params
            if param.kind == "external" and param.type.effects
        }
        for number in range(chaos.runs):
            some = tuple(f for f in faults if decided(chaos.seed, number, str(f)) < chaos.rate(f, called))
            way = path_of(play(replace(scene, faults=(*scene.faults, *some)), live, database), some)
            way = replace(way, reached=True)
            ends[way.verdict] += 1
            if not way.ok:
                failing.append((number, way))
            if each is not None:
                each(number + 1)
    finally:
        database.close()
    return Chaotic(
        definition=scene.flow.name,
        seed=chaos.seed,
        count=chaos.runs,
        ends=dict(ends),
        failing=tuple(failing),
    )


def _all_faults(scene: Scene, live: Live, database: MemoryDatabase) -> Iterator[Fault]:
    """Every fault that some path of the flow can have, each once."""
    seen: dict[Fault, None] = {}
    for way in walked(scene, live, database):
        seen.update(dict.fromkeys(way.faults))
    yield from dict.fromkeys([*seen, *(slow for fault in seen for slow in _slow(fault))])


def _slow(fault: Fault) -> Iterator[Fault]:
    """What only takes long at the same place."""
    where = "store" if fault.where == "crash" else fault.where
    for at, kind in sorted(CHAOS):
        if at == where:
            yield Fault(where=at, name=fault.name, kind=kind)
