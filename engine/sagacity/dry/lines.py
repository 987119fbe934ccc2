"""Which line of the user's code is to blame: found on the stack, the engine's own frames left out."""

import asyncio
import inspect
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import sagacity

_OURS = str(Path(sagacity.__file__).parent)
_LIBRARIES = tuple(
    {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")} | {"<frozen"}
)


def line_of_caller(threads: Sequence[int] = ()) -> str:
    """The innermost line of the user's code that runs now, here or in one of `threads`."""
    found = next(_users(sys._getframe(1)), None) or _of_a_task()
    if found is None:
        frames = sys._current_frames()
        stacks = [frames[ident] for ident in threads if ident in frames]
        found = next((frame for stack in stacks for frame in _users(stack)), None)
    return "no line of yours" if found is None else _place(found)


def _of_a_task() -> FrameType | None:
    """Libraries run parts of a call in tasks of their own: whose task waits in the user's code."""
    try:
        tasks = asyncio.all_tasks()
    except RuntimeError:
        return None  # no loop runs here
    for task in tasks:
        waiting = [frame for frame in _suspended(task.get_coro()) if _is_users(frame)]
        if waiting:
            return waiting[-1]
    return None


def _suspended(work: Any) -> Iterator[FrameType]:
    while work is not None:
        frame = getattr(work, "cr_frame", None) or getattr(work, "gi_frame", None)
        if frame is not None:
            yield frame
        work = getattr(work, "cr_await", None) or getattr(work, "gi_yieldfrom", None)


def _is_users(frame: FrameType) -> bool:
    return not frame.f_code.co_filename.startswith((_OURS, *_LIBRARIES))


def _users(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        if _is_users(frame):
            yield frame
        frame = frame.f_back


def _place(frame: FrameType) -> str:
    return f"{_short(frame.f_code.co_filename)}:{frame.f_lineno} in {frame.f_code.co_name}"


def _short(name: str) -> str:
    path = Path(name)
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else name


def line_of(function: Any) -> str:
    """Where a function is written."""
    code = getattr(inspect.unwrap(getattr(function, "__func__", function)), "__code__", None)
    if code is None:
        return f"{type(function).__module__}.{type(function).__qualname__}"
    return f"{_short(code.co_filename)}:{code.co_firstlineno} in {code.co_name}"
