"""Growth: A once more on 10,000, 100,000 and 1,000,000 finished sagas, and what looking costs there.

The history is laid by two processes of `benchmarks.fill` side by side, of finished measured sagas; `verify`
is run on the shortest one.
"""

import asyncio
import os
import sys
from typing import Any

from benchmarks.measure import ROOT, ContenderFailed
from benchmarks.place import Place
from benchmarks.rounds import AT_ONCE, Length, tell, told

_CHAINS = 2


async def growth(place: Place, length: Length) -> dict[str, Any]:
    """What was measured, by the length of the history."""
    found: dict[str, Any] = {}
    with place.database() as url:
        laid = 0
        for history in length.history:
            await lay(url, history - laid, first_chain=1000 * (len(found) + 1))
            laid = history
            found[str(history)] = at = await _at(place, length, url)
            tell(f"growth   {history:<8} {told(at['run'])}, {_looked(at)}")
            if len(found) == 1:
                await python(url, "sagacity", "verify")
                found[str(history)]["verified"] = True
    return found


async def _at(place: Place, length: Length, url: str) -> dict[str, Any]:
    async with place.ours(url) as running:
        await running.do(seconds=length.warm, at_once=AT_ONCE)
        run = await running.do(seconds=length.case, at_once=AT_ONCE)
    async with place.program("looks", "--store", url) as looking:
        return {"run": run} | await looking.do(count=length.looks)


def _looked(at: dict[str, float]) -> str:
    return ", ".join(f"{name} p99 {at[f'{name}_p99'] * 1000:.1f} ms" for name in ("list", "show", "claim"))


async def lay(url: str, sagas: int, *, first_chain: int) -> None:
    """Two processes, each with chains of its own."""
    what = ("benchmarks.fill", "--store", url, "--kind", "measured", "--chains", str(_CHAINS))
    await python(url, *what, "--sagas", "1", "--first-chain", str(first_chain))  # makes the tables
    half = (sagas - 1) // 2
    halves = ((half, first_chain + _CHAINS), (sagas - 1 - half, first_chain + 2 * _CHAINS))
    async with asyncio.TaskGroup() as group:
        for count, first in halves:
            group.create_task(python(url, *what, "--sagas", str(count), "--first-chain", str(first)))


async def python(url: str, module: str, *arguments: str) -> None:
    """Run a module on the store.

    Raises:
        ContenderFailed: it ended with an error.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'engine'}{os.pathsep}{ROOT}", "SAGACITY_STORE": url},
    )
    said, _ = await process.communicate()
    if process.returncode:
        raise ContenderFailed(f"{module}: {said.decode(errors='replace')[-2000:]}")
