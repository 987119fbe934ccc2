"""Every error Sagacity raises, in one tree.

    SagacityError
    ├── DefinitionError        a flow that cannot work; gathers all faults of a class
    ├── InputError             what came in cannot be taken; nothing was stored
    │   ├── PayloadTooLarge
    │   └── NaiveDatetime
    ├── NotFound               no such saga, object or definition
    │   └── UnknownDefinition
    ├── Conflict               somebody was there first, or the request does not fit the present state
    │   ├── KeyTaken
    │   ├── RefusedAct
    │   ├── StalePlan          what a plan names has moved since
    │   └── PlanClosed         a plan that was applied, rejected, or ran out of time
    ├── NotConfirmed           a reason, a typed confirmation or a second person is still missing
    ├── Forbidden              the actor's roles do not reach so far
    ├── StoreError             the database
    │   ├── StoreUnavailable
    │   ├── SchemaBehind
    │   ├── SchemaAhead
    │   ├── UnsafeSettings
    │   ├── StoreReadOnly
    │   ├── HistoryLost
    │   └── SinkUnavailable    where anchors go, outside the database
    ├── ConfigError            settings, modules, files
    │   └── MissingExternal
    ├── Unfinished             a dry run whose process was ended
    └── StepError              raised by user code inside a step to say how it failed
        ├── Refused
        ├── Unavailable
        └── Later

Each message names what was wrong and the fix; fields carry the same for programs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID


class SagacityError(Exception):
    """Root of the tree: catching it catches everything Sagacity raises on purpose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that is wrong with a definition.

    Attributes:
        where: the class or file, e.g. `sagas/order.py:Order`.
        name: the state, transition, step or external that is at fault.
        what: what is wrong, one sentence.
        fix: what to write instead, one sentence.
    """

    where: str
    name: str
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.where}: {self.name}: {self.what} Fix: {self.fix}"


class DefinitionError(SagacityError):
    """A class that cannot work was refused when it was made.

    The caller mends the class; `faults` lists everything that is wrong with it at once.
    """

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = tuple(faults)


class InputError(SagacityError):
    """What came in cannot be taken. Nothing was stored; the caller corrects it and calls again."""


class PayloadTooLarge(InputError):
    """A payload is over the limit; store it elsewhere and pass a reference."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(
            f"payload of {size} bytes is over the limit of {limit} bytes: "
            "store it elsewhere and pass a reference"
        )
        self.size = size
        self.limit = limit


class NaiveDatetime(InputError):
    """A datetime came without a zone; give it one (`datetime(…, tzinfo=UTC)`)."""


class NotFound(SagacityError):
    """No such saga, object or definition in this store, tenant and lane."""


class UnknownDefinition(NotFound):
    """No flow of that name is known here; the message lists the known ones."""


class Conflict(SagacityError):
    """The request does not fit what is already there. Nothing was changed."""


class KeyTaken(Conflict):
    """The key already started a saga with another input. Use another key, or the same input."""

    def __init__(self, definition: str, key: str, saga: UUID) -> None:
        super().__init__(
            f"{definition} {key!r} was already started as saga {saga} with another input: "
            "use another key, or send the same input"
        )
        self.definition = definition
        self.key = key
        self.saga = saga


class RefusedAct(Conflict):
    """An operator's act does not fit the saga's status; the message names what is allowed."""


class StalePlan(Conflict):
    """Sagas of a plan stand elsewhere than when it was made. Nothing was done: make a new plan.

    Attributes:
        moved: one sentence for each saga that moved.
    """

    def __init__(self, plan: UUID, moved: Sequence[str]) -> None:
        shown = "; ".join(moved[:5]) + (f"; and {len(moved) - 5} more" if len(moved) > 5 else "")
        super().__init__(f"plan {plan} is stale, nothing was done: {shown}. Make a new plan.")
        self.plan = plan
        self.moved = tuple(moved)


class PlanClosed(Conflict):
    """The plan was applied, rejected, or its time ran out; the message says which. Make a new plan."""


class NotConfirmed(SagacityError):
    """Something that the plan's tier asks for is still missing. Nothing was changed; call again with it.

    Attributes:
        missing: `reason`, `confirmation` and `approval`, as far as they are missing.
        confirmation: what is to be typed, where that is asked for.
    """

    def __init__(self, plan: UUID, missing: Sequence[str], message: str, *, confirmation: str | None) -> None:
        super().__init__(message)
        self.plan = plan
        self.missing = tuple(missing)
        self.confirmation = confirmation


class Forbidden(SagacityError):
    """The actor may not do this: the message names the role, and where it would have to hold."""


class StoreError(SagacityError):
    """The database refused or failed."""


class StoreUnavailable(StoreError):
    """The database cannot be reached. Safe to repeat once it answers again."""


class SchemaBehind(StoreError):
    """The store's schema is older than this version needs: run `sagacity migrate`."""


class SchemaAhead(StoreError):
    """The store's schema comes from a newer Sagacity: upgrade this installation."""


class UnsafeSettings(StoreError):
    """The database may lose acknowledged commits (fsync, synchronous_commit or full_page_writes is off)."""


class StoreReadOnly(StoreError):
    """The database file or server does not accept writes: give the process write permission."""


class HistoryLost(StoreError):
    """A chain's head stands behind what was acknowledged: a restore or failover lost lines.

    The worker stops; an operator decides with `sagacity verify`.
    """


class SinkUnavailable(StoreError):
    """Anchors cannot be sent, or those that were sent cannot be read; nothing in the store is touched.

    Mend the place that the message names; what was not sent is sent by the next round.
    """


class ConfigError(SagacityError):
    """A setting, a module or a file is missing or wrong; the message names it."""


class MissingExternal(ConfigError):
    """A step takes an external that could not be made in this process."""


class Unfinished(SagacityError):
    """The process that played a dry run was ended by somebody. Nothing happened: run it again."""


class StepError(SagacityError):
    """Raised by a step, an effect or a compensation to say how it failed."""


class Refused(StepError):
    """The outside said no, for good: nothing happened there and trying again is useless.

    Raise it from an external when the answer is definite. The step fails and the saga goes back.
    """


class Unavailable(StepError):
    """Nothing happened outside, and it is worth trying again.

    Args:
        message: what was seen.
        retry_after: the outside's own wish; otherwise the step's retry policy decides.
    """

    def __init__(self, message: str, *, retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Later(StepError):
    """Nothing is wrong, but it is too early: the step asks to be tried again.

    Args:
        until: when at the latest.
        signal: a signal that makes it due at once, if given.
    """

    def __init__(self, message: str, *, until: datetime, signal: str | None = None) -> None:
        super().__init__(message)
        self.until = until
        self.signal = signal
