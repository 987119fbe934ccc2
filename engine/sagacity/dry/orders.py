"""What is asked of a process that plays dry runs, and what it answers: plain values, through a pipe."""

from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from sagacity.dry.script import Script

_STRICT = ConfigDict(extra="forbid", frozen=True)


class Place(BaseModel):
    """The store whose live lane lies under the runs."""

    model_config = _STRICT

    url: str
    tenant: str = "main"
    accept_loss: bool = False


class Asked(BaseModel):
    """One order.

    Attributes:
        act: one run, an exploration, or chaos.
        flow: `MODULE:CLASS`.
        input: the saga's input, as JSON values.
        mocks: a module whose attributes named like externals answer in their place; its function `script`,
            where it has one, makes the script of an input.
        objects: states to begin with, where there is no store.
        chaos: for chaos, its script.
        against: a real saga; its own story is played, and compared.
        recorded: newest real answers of externals that say `record=True` answer before any mock.
        generate: what nobody mocks is answered from its declared type.
        real_reads: reads that say `safe=True` are made for real.
        minimise: shrink what fails.
        keep: store the run and its report.
        text: tell the report in words too.
    """

    model_config = _STRICT

    act: Literal["run", "explore", "chaos"] = "run"
    flow: str
    input: Any
    key: str | None = None
    mocks: str | None = None
    script: Script = Field(default_factory=Script)
    faults: tuple[str, ...] = ()
    objects: dict[str, Any] = Field(default_factory=dict)
    chaos: dict[str, Any] | None = None
    against: UUID | None = None
    recorded: bool = False
    generate: bool = False
    real_reads: bool = False
    minimise: bool = False
    keep: bool = True
    text: bool = True


class Setting(BaseModel):
    """The first line: where the store is, what `sys.path` is to be, and whether there is a dry outlet."""

    model_config = _STRICT

    place: Place | None = None
    path: tuple[str, ...] = ()
    notices: bool = False


class Answer(BaseModel):
    """One line back: how far it is; what came of it (JSON, text, a run); or its error, class and words."""

    model_config = _STRICT

    played: int | None = None
    said: str | None = None
    ok: bool = True
    text: str | None = None
    run: str | None = None
    error: str | None = None
    message: str | None = None
