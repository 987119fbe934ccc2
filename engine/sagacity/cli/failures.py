"""What an error is worth: one table from error classes to exit codes and HTTP statuses.

The command line and the HTTP API both answer from here, so one mistake has one meaning on
every face. The nearest class of the tree decides: a subclass needs a row only where it differs.
"""

from dataclasses import dataclass
from enum import IntEnum

from sagacity import errors


class Exit(IntEnum):
    """Exit codes of the command `sagacity`; scripts may rely on them."""

    DONE = 0
    FOUND = 1
    USAGE = 2
    UNCONFIRMED = 3
    NOT_FOUND = 4
    CONFLICT = 5
    REFUSED = 6
    REJECTED = 7
    UNREACHABLE = 8
    SIGNED_OUT = 9
    FAULT = 70
    INTERRUPTED = 130


MEANINGS: dict[Exit, str] = {
    Exit.DONE: "done, or nothing to do",
    Exit.FOUND: (
        "`check`, `verify`, `attention` or `dry-run` found something, or a run left something stuck (beats 7)"
    ),
    Exit.USAGE: "the call or its input cannot be taken: nothing was stored",
    Exit.UNCONFIRMED: "a reason, confirmation or approval is still needed: nothing was changed",
    Exit.NOT_FOUND: "no such saga, object or definition",
    Exit.CONFLICT: "somebody was there first, what a plan names has moved, or it does not fit what is there",
    Exit.REFUSED: "refused: a role, the saga's status, the schema or the database's settings do not admit it",
    Exit.REJECTED: "some input lines were rejected, the rest ran",
    Exit.UNREACHABLE: "the database or an outside service cannot be reached: safe to repeat",
    Exit.SIGNED_OUT: "not signed in",
    Exit.FAULT: "a fault of ours: the message has its id and says where the trace is",
    Exit.INTERRUPTED: "interrupted",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What one class of errors means at the edges.

    Attributes:
        kind: last part of the problem's type, `urn:sagacity:problem:<kind>`.
        title: the problem's title: the same for every occurrence.
        retry_after: whole seconds a client should wait, where waiting helps.
    """

    exit: Exit
    status: int
    kind: str
    title: str
    retry_after: int | None = None


def _failure(exit_: Exit, status: int, kind: str, title: str, retry_after: int | None = None) -> Failure:
    return Failure(exit=exit_, status=status, kind=kind, title=title, retry_after=retry_after)


FAULT = _failure(Exit.FAULT, 500, "fault", "A fault of ours")
UNREACHABLE = _failure(Exit.UNREACHABLE, 503, "store-unavailable", "The database cannot be reached", 1)

FAILURES: dict[type[BaseException], Failure] = {
    errors.DefinitionError: _failure(Exit.FOUND, 500, "definition", "A definition cannot work"),
    errors.InputError: _failure(Exit.USAGE, 422, "input", "The input cannot be taken"),
    errors.PayloadTooLarge: _failure(Exit.USAGE, 413, "too-large", "The payload is too large"),
    errors.NaiveDatetime: _failure(Exit.USAGE, 422, "naive-datetime", "A time has no zone"),
    errors.NotFound: _failure(Exit.NOT_FOUND, 404, "not-found", "Not found"),
    errors.UnknownDefinition: _failure(Exit.NOT_FOUND, 404, "unknown-definition", "Unknown definition"),
    errors.Conflict: _failure(Exit.CONFLICT, 409, "conflict", "Conflict"),
    errors.KeyTaken: _failure(Exit.CONFLICT, 409, "key-taken", "The key is taken"),
    errors.RefusedAct: _failure(Exit.REFUSED, 409, "refused", "The saga's status does not admit this"),
    errors.StalePlan: _failure(Exit.CONFLICT, 409, "stale-plan", "The plan is stale"),
    errors.PlanClosed: _failure(Exit.CONFLICT, 409, "plan-closed", "The plan cannot be used any more"),
    errors.NotConfirmed: _failure(Exit.UNCONFIRMED, 428, "not-confirmed", "Something is still missing"),
    errors.Forbidden: _failure(Exit.REFUSED, 403, "forbidden", "Not allowed"),
    errors.StoreError: UNREACHABLE,
    errors.StoreUnavailable: UNREACHABLE,
    errors.SchemaBehind: _failure(Exit.REFUSED, 503, "schema-behind", "The schema is behind"),
    errors.SchemaAhead: _failure(Exit.REFUSED, 503, "schema-ahead", "The schema is from the future"),
    errors.UnsafeSettings: _failure(Exit.REFUSED, 503, "unsafe-settings", "The database may lose commits"),
    errors.StoreReadOnly: _failure(Exit.REFUSED, 503, "read-only", "The database cannot be written"),
    errors.SinkUnavailable: _failure(Exit.UNREACHABLE, 503, "sink-unavailable", "Anchors cannot be kept"),
    errors.HistoryLost: _failure(Exit.FOUND, 503, "history-lost", "History was lost"),
    errors.ConfigError: _failure(Exit.USAGE, 500, "configuration", "Something is missing or wrong here"),
    errors.StepError: _failure(Exit.REFUSED, 409, "step", "A step refused"),
    errors.Unfinished: _failure(Exit.UNREACHABLE, 503, "unfinished", "The dry run is not finished", 1),
    errors.SagacityError: FAULT,
    TimeoutError: _failure(Exit.UNREACHABLE, 504, "timeout", "It took too long", 1),
}


def failure_of(error: BaseException) -> Failure:
    """What `error` means: the row of its nearest class; a fault of ours where none has one."""
    for cls in type(error).__mro__:
        found = FAILURES.get(cls)
        if found is not None:
            return found
    return FAULT


def is_expected(error: BaseException) -> bool:
    """Whether `error` says something to the caller; if not, it is a fault of ours and needs its trace."""
    return failure_of(error) is not FAULT


class ReaderGone(Exception):
    """Whoever read our output has gone (`| head`): there is nobody left to tell, and nothing is wrong."""


class Stop(Exception):
    """Ends a command on purpose with `code`, once everything was printed.

    Args:
        code: the exit code.
        message: one or two lines for stderr, or None.
    """

    def __init__(self, code: Exit, message: str | None = None) -> None:
        super().__init__(message or "")
        self.code = code
        self.message = message
