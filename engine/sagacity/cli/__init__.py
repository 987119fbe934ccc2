"""The command `sagacity`: parse, call the orchestrator, print.

Data goes to stdout and everything else to stderr, so output can be piped; an error is one or
two lines that say what, where and how to mend it, never a traceback. Heavy modules are
imported inside the commands that need them: `sagacity --help` must not wait for a database driver.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sagacity.cli.failures import Exit, ReaderGone, Stop, failure_of, is_expected

if TYPE_CHECKING:
    from typer.exceptions import TyperException


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code (see `failures.Exit`)."""
    from typer.exceptions import TyperException

    from sagacity.cli.app import app

    try:
        code = app(
            args=list(sys.argv[1:] if argv is None else argv), prog_name="sagacity", standalone_mode=False
        )
        sys.stdout.flush()
        return code if isinstance(code, int) else Exit.DONE
    except TyperException as error:
        return _usage(error)
    except (BrokenPipeError, ReaderGone):
        # What is still buffered would fail again when the process ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.DONE
    except BaseException as error:
        return told(error)


def _usage(error: "TyperException") -> int:
    from typer import Exit as Ended

    if isinstance(error, Ended):
        return error.exit_code
    ctx = getattr(error, "ctx", None)
    _say(error.format_message())
    _say(f"Try: {ctx.command_path if ctx else 'sagacity'} --help")
    return Exit.USAGE


def told(error: BaseException) -> int:
    """Say on stderr what `error` means to the caller; the exit code for it."""
    if isinstance(error, ExceptionGroup):
        # A run and its worker lose the database at the same moment: that is one piece of news, and no fault.
        each = list(_each(error))
        one = len(each) == 1 or all(isinstance(e, Stop) or is_expected(e) for e in each)
        return told(each[0]) if one else _fault(error)
    if isinstance(error, Stop):
        if error.message:
            _say(error.message)
        return error.code
    if isinstance(error, KeyboardInterrupt):
        _say("interrupted")
        return Exit.INTERRUPTED
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else Exit.FAULT
    if isinstance(error, Exception) and is_expected(error):
        _say(f"sagacity: {error}")
        return failure_of(error).exit
    if isinstance(error, OSError) and error.filename is not None:
        _say(f"sagacity: {error.filename}: {(error.strerror or 'cannot be used').lower()}")
        return Exit.USAGE
    return _fault(error)


def _each(group: ExceptionGroup[Exception]) -> Iterator[Exception]:
    for error in group.exceptions:
        if isinstance(error, ExceptionGroup):
            yield from _each(error)
        else:
            yield error


def _fault(error: BaseException) -> int:
    from sagacity.cli.faults import keep

    fault, path = keep(error)
    _say(f"sagacity: a fault of ours, not yours: {type(error).__name__} (fault {fault})")
    _say(f"The trace is in {path}: please report it.")
    return Exit.FAULT


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
