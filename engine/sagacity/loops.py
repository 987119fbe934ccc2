"""Which event loop a process of ours runs on: uvloop where it is installed, else asyncio's.

Nothing depends on the choice but speed (`pip install 'sagacity[speed]'`). Dry runs and simulations
bring loops of their own.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """Run `main` to its end on a loop of its own, as `asyncio.run` does.

    Raises:
        RuntimeError: a loop runs in this thread already. And whatever `main` raises.
    """
    with asyncio.Runner(loop_factory=_factory()) as runner:
        return runner.run(main)


def _factory() -> Any:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
