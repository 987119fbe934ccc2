"""What every line of the log has: a kind and an instant. Kinds are added, never changed."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What all lines have in common: when."""

    kind: ClassVar[str] = ""
    at: datetime = field(metadata={"column": True})
