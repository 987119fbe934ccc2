"""The script of a dry run: what comes from outside, when, and what goes wrong.

A script is data, read from JSON, so a scenario can be kept beside a flow and played in a build. What it does
not mention happens as the flow would like best: the first signal that a state waits for comes at once.
"""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sagacity.definition.facts import brief
from sagacity.dry.faults import Fault, read_fault
from sagacity.errors import ConfigError, InputError

_STRICT = ConfigDict(extra="forbid", frozen=True)


class Arrival(BaseModel):
    """How one awaited thing comes. `after`: from when it is awaited; `never`: the deadline passes instead."""

    model_config = _STRICT

    data: Any = None
    after: timedelta = timedelta(seconds=1)
    never: bool = False


class Script(BaseModel):
    """See the module.

    Attributes:
        signals: wait (as the flow names it) → how it comes. The first one named here wins in its state.
        faults: texts as `effect take_money: lost`; see `sagacity.dry.faults.KINDS`.
        patience: a wait that would last longer ends the run there, and the saga "would wait"; by default the
            run goes on through every deadline.
        seed: decides ids.
    """

    model_config = _STRICT

    signals: dict[str, Arrival] = Field(default_factory=dict)
    faults: tuple[str, ...] = ()
    patience: timedelta | None = None
    seed: int = 0

    @property
    def all_faults(self) -> tuple[Fault, ...]:
        """The faults, read.

        Raises:
            InputError: one of them is none.
        """
        return tuple(read_fault(text) for text in self.faults)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Script":
        """A script from plain values.

        Raises:
            InputError: they are none.
        """
        try:
            script = cls.model_validate(values)
        except ValidationError as error:
            raise InputError(f"script: {brief(error)}") from None
        script.all_faults  # noqa: B018 - read now, while the script can be named
        return script

    @classmethod
    def read(cls, path: Path) -> "Script":
        """A script from a JSON file.

        Raises:
            ConfigError: no such file. InputError: it is no script.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}") from None
        try:
            script = cls.model_validate_json(text)
        except ValidationError as error:
            raise InputError(f"{path}: {brief(error)}") from None
        script.all_faults  # noqa: B018 - read now, while the file can be named
        return script
