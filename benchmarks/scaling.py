"""E: one, two and four processes on one database, each with 50 sagas of its own. G: starts alone."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from benchmarks.measure import Numbers, cpu_of, medians
from benchmarks.place import Place
from benchmarks.rounds import AT_ONCE, Length, tell, told

PROCESSES = (1, 2, 4)


async def scaling(place: Place, length: Length) -> dict[str, Any]:
    """Medians by how many processes there were; in alternation."""
    seen: dict[str, list[Numbers]] = {}
    for number in range(1, length.rounds + 1):
        for processes in PROCESSES:
            took = await together(place, length, processes)
            seen.setdefault(str(processes), []).append(took)
            tell(f"round {number}  E   {processes} processes  {told(took)}")
    return {count: medians(all) | {"rounds": all} for count, all in seen.items()}


async def together(place: Place, length: Length, processes: int) -> Numbers:
    """What so many processes do at the same time; processor times are those of all of them."""
    async with AsyncExitStack() as stack:
        url = stack.enter_context(place.database())
        crew = [await stack.enter_async_context(place.ours(url)) for _ in range(processes)]
        await asyncio.gather(*(one.do(seconds=length.warm, at_once=AT_ONCE) for one in crew))
        before = cpu_of(place.server)
        all = await asyncio.gather(*(one.do(seconds=length.case, at_once=AT_ONCE) for one in crew))
        after = cpu_of(place.server)
    took = {name: sum(one[name] for one in all) for name in ("sagas", "per_second", "cpu", "rolled_back")}
    took |= {name: max(one[name] for one in all) for name in ("seconds", "p50", "p99")}
    if before is not None and after is not None:
        took["server_cpu"] = after - before
    return took


async def starting(place: Place, length: Length) -> dict[str, Numbers]:
    """G: see `benchmarks.starts`."""
    found: dict[str, Numbers] = {}
    with place.database() as url:
        async with place.program("starts", "--store", url) as running:
            for way in ("alone", "many", "joined"):
                await running.do(way=way, seconds=length.warm / 2)
                found[way] = await running.do(way=way, seconds=length.case / 2)
                tell(f"start    {way:<10} {told(found[way])}")
    return found
