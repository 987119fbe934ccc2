"""A run from its first line to its summary.

The order matters: first somebody listens for web hooks, then the outside services are told where,
then work begins; so no answer can come before there is an ear for it.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sagacity.cli.call import Call, Output
from sagacity.cli.failures import Exit, Stop
from sagacity.cli.run.board import Board
from sagacity.cli.run.crew import Hiring, crew
from sagacity.cli.run.feed import Rejected, begun, read_lines
from sagacity.cli.run.outside import Outsides
from sagacity.cli.run.settle import Marks, Watch, may_rest
from sagacity.cli.run.summary import Summary, summed_up
from sagacity.cli.stores import Place
from sagacity.cli.working import work
from sagacity.clock import SystemClock
from sagacity.orchestrator import Orchestrator

if TYPE_CHECKING:
    from sagacity.definition.flow import Flow
    from sagacity.definition.project import Project


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to run: the options of `sagacity run`; `wanted` names the flow as the caller did."""

    flow: "Flow"
    wanted: str
    file: Path
    key: str | None
    ignore_unknown: bool
    outsides: tuple[str, ...]
    workers: int

    @property
    def key_field(self) -> str:
        """The field that holds the key.

        Raises:
            Stop: neither the call nor the flow names one.
        """
        field = self.key or self.flow.key_field
        if field is None:
            raise Stop(
                Exit.USAGE,
                f'sagacity: {self.flow.name} declares no key: add --key FIELD, or key="…" to its class; '
                "without one a second run would start everything again",
            )
        return field


async def carried_out(call: Call, project: "Project", order: Order) -> int:
    """Run it all, print the summary last, and say by the exit code how it went."""
    field = order.key_field
    if not order.file.is_file():
        raise Stop(Exit.USAGE, f"sagacity: --input {order.file}: there is no such file")
    with _terminated_as_interrupt():
        async with call.place() as place, await call.opened(place, project) as sagas:
            summary = await _run(call, sagas, place, order, field)
    if call.output is Output.TABLE:
        call.text(summary.text())
    else:
        call.one(summary, text="", id_="")
    return summary.exit_code


async def _run(call: Call, sagas: Orchestrator, place: Place, order: Order, field: str) -> Summary:
    clock = SystemClock()
    watch = Watch(sagas=sagas, clock=clock)
    board = Board(name=order.flow.name, clock=clock, counts=watch.counts)
    async with AsyncExitStack() as stack:
        outsides = await stack.enter_async_context(Outsides.reached(order.outsides, clock))
        if outsides:
            from sagacity.web.server import hosted

            await outsides.point_at(await stack.enter_async_context(hosted(sagas)))
        await stack.enter_async_context(_workers(call, sagas, place, order))
        await stack.enter_async_context(board.shown())
        began = clock.monotonic()
        await _feed(sagas, order, field, watch, board)
        board.reading = False
        await _until_at_rest(watch, outsides)
        seconds = clock.monotonic() - began
        return await summed_up(watch, rejected=board.rejected, seconds=seconds)


async def _feed(sagas: Orchestrator, order: Order, field: str, watch: Watch, board: Board) -> None:
    lines = read_lines(order.file, key=field)
    async for told in begun(sagas, order.flow.name, lines, ignore_unknown=order.ignore_unknown):
        if isinstance(told, Rejected):
            board.reject(f"{order.file}:{told.number}: {told.reason}")
        else:
            watch.add(told.saga, new=told.new)


async def _until_at_rest(watch: Watch, outsides: Outsides) -> None:
    """Return when nothing of the run moves by itself any more (see `settle`)."""
    while True:
        began = watch.clock.monotonic()
        if may_rest(await watch.look()) and await outsides.owe_nothing():
            before = await watch.at_rest()
            if before is not None and (not outsides or await _still(watch, outsides, before)):
                await watch.look()
                return
        await watch.pace(began)


async def _still(watch: Watch, outsides: Outsides, before: Marks) -> bool:
    """Whether nobody outside owed anything since all was at rest, and all is at rest as it was."""
    return await outsides.owe_nothing() and await watch.at_rest() == before


@asynccontextmanager
async def _workers(call: Call, sagas: Orchestrator, place: Place, order: Order) -> AsyncIterator[None]:
    """Somebody who executes, for as long as this lasts: here, or in processes of their own."""
    if order.workers == 1:
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(work(sagas, call.settings, stop))
            try:
                yield
            finally:
                stop.set()
        return
    if place.is_sqlite:
        raise Stop(
            Exit.USAGE,
            "sagacity: --workers above 1 needs PostgreSQL: SQLite lets one process write at a time; "
            "add --store postgres for a private server",
        )
    hiring = Hiring(
        count=order.workers,
        store=place.url,
        options=("--module", order.wanted, *(("--i-accept-loss",) if call.accept_loss else ())),
        grace=call.settings.grace,
        say=call.say,
    )
    async with crew(hiring, SystemClock()):
        yield


@contextmanager
def _terminated_as_interrupt() -> Iterator[None]:
    """SIGTERM ends a run as Ctrl-C does: workers hand back what they hold, and the code is 130."""
    loop, task, asked = asyncio.get_running_loop(), asyncio.current_task(), asyncio.Event()

    def terminate() -> None:
        # Not by SIGINT: a process started in the background ignores that one.
        asked.set()
        if task is not None:
            task.cancel()

    loop.add_signal_handler(signal.SIGTERM, terminate)
    try:
        yield
    except asyncio.CancelledError:
        if asked.is_set():
            raise KeyboardInterrupt from None
        raise
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
