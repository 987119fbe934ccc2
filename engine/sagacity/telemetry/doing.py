"""What this very task is at: the saga, the step, the attempt, and the trace they belong to.

It stands in a context variable for as long as a step's own code runs. So each log line written there says
whose it is, and a client of an outside service can pass the trace on, without anybody handing it through.
"""

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Doing:
    """One attempt of one step or compensation.

    Attributes:
        saga: its id.
        undo: a compensation is run, for the step that is named.
        attempt: counted from 1.
        trace: the W3C `traceparent` of the attempt, or of the saga where nobody traces here; None: no trace.
    """

    saga: str
    definition: str
    key: str
    step: str
    attempt: int
    undo: bool = False
    trace: str | None = None

    @property
    def fields(self) -> dict[str, Any]:
        """As fields of a log line."""
        found: dict[str, Any] = {
            "saga": self.saga,
            "definition": self.definition,
            "key": self.key,
            "step": self.step,
            "attempt": self.attempt,
        }
        if self.undo:
            found["undo"] = True
        if self.trace is not None:
            found["trace_id"] = self.trace.split("-")[1]
        return found


DOING: ContextVar[Doing | None] = ContextVar("what sagacity is at", default=None)
"""Set while a step's own code runs."""


def traceparent() -> str | None:
    """The W3C `traceparent` header of the step that is running: send it along with each call to the outside.

    None outside of a step, and where the saga belongs to no trace. It needs no tracing here: a saga that was
    started within a trace carries it.
    """
    doing = DOING.get()
    return None if doing is None else doing.trace
