"""Orders rehearsed while they run live: nothing of the live lane changes, and all comes as predicted.

The dry process gets addresses at which a listener counts who connects; the live one gets the services'. Mocks
and scripts of the dry runs, and the services, read how each order went in life from the same file.
"""

import asyncio
import json
import os
import resource
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any

from benchmarks.measure import cpu_of
from sagacity.dry.report import Report, moves_of, read_report
from sagacity.orchestrator import Orchestrator
from sagas.run import SEEN_BY_THE_FLOW, addresses
from tests.shown.world import World

FLOW = "sagas/order.py:Order"
_SIGHTED = {"committed": "would commit", "rolled_back": "would roll back", "waiting": "would wait"}
_MINDS = '''"""What the services would answer, and which signals would come, read from how each order went."""

from datetime import timedelta
from pathlib import Path

from sagacity.dry import Arrival, Script
from sagacity.errors import Refused
from sagas.outside import Booking, Carrier as RealCarrier, Charge
from sagas.outside import Payments as RealPayments, Reservation, Warehouse as RealWarehouse
from sagas.services import playback

ORDERS = playback.read_orders(Path(__file__).with_name("orders.jsonl"))
WAITS = {
    playback.APPROVED: "approved",
    playback.HANDED_OVER: "handed_over",
    playback.DELIVERED: "delivery",
    playback.CALLED_OFF: "called_off",
}


def script(given):
    order = ORDERS[given["order_id"]]
    comes = {*playback.after_charge(order), *playback.after_booking(order)}
    arrivals = {
        wait: Arrival(after=timedelta(milliseconds=1)) if signal in comes else Arrival(never=True)
        for signal, wait in WAITS.items()
    }
    return Script(signals=arrivals, patience=timedelta(days=1))


def _check(why):
    if why is not None:
        raise Refused(why)


class Warehouse(RealWarehouse.Mock):
    async def reserve(self, order_id):
        _check(playback.unavailable(ORDERS[order_id]))
        return Reservation(reservation_id=f"dry-{order_id}")


class Payments(RealPayments.Mock):
    async def charge(self, order_id, customer_id, amount):
        _check(playback.declined(ORDERS[order_id]))
        return Charge(charge_id=f"dry-{order_id}", amount=amount)


class Carrier(RealCarrier.Mock):
    async def book(self, order_id):
        return Booking(booking_id=f"dry-{order_id}")
'''


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What so many sagas took: seconds on the clock, processor seconds of the command, of the server."""

    sagas: int
    wall: float
    cpu: float
    server: float

    def __str__(self) -> str:
        each = (self.cpu + self.server) / max(1, self.sagas) * 1000
        return (
            f"{self.wall:.1f} s, {self.cpu:.1f} + {self.server:.1f} CPU s (with server), {each:.1f} ms each"
        )


class Listeners:
    """Listeners in the services' place, which count who connects and say nothing."""

    def __init__(self) -> None:
        self.connections = 0
        self._sockets: list[socket.socket] = []

    def address(self) -> str:
        """One more listener's."""
        listener = socket.create_server(("127.0.0.1", 0))
        self._sockets.append(listener)
        threading.Thread(target=self._count, args=(listener,), daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    def _count(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            connection.close()

    def close(self) -> None:
        """Stop listening."""
        for listener in self._sockets:
            listener.close()


@contextmanager
def counted(names: Mapping[str, str]) -> Iterator[tuple[Listeners, dict[str, str]]]:
    """A listener for each service; it is seen to count before anybody relies on its zero."""
    counter = Listeners()
    try:
        urls = {name: counter.address() for name in names}
        for seen, url in enumerate(urls.values(), 1):
            with socket.create_connection(("127.0.0.1", int(str(url).rpartition(":")[2]))) as connection:
                connection.recv(1)  # its end: it was counted
            assert counter.connections == seen
        counter.connections = 0
        yield counter, urls
    finally:
        counter.close()


def lay_out(world: World, orders: Path, count: int) -> Path:
    """The first `count` orders, what the dry runs answer to them, and their inputs; the orders' file."""
    lines = list(islice(orders.read_text().splitlines(), count))
    file = world.folder / "orders.jsonl"
    file.write_text("".join(line + "\n" for line in lines))
    inputs = [{name: json.loads(line)[name] for name in SEEN_BY_THE_FLOW} for line in lines]
    (world.folder / "inputs.jsonl").write_text("".join(json.dumps(one) + "\n" for one in inputs))
    (world.folder / "as_in_life.py").write_text(_MINDS)
    return file


def begin_dry(world: World, urls: Mapping[str, str]) -> "subprocess.Popen[str]":
    """All inputs, dry, by one command."""
    command = ["dry-run", FLOW, "--input", "inputs.jsonl", "--mocks", "as_in_life", "-o", "jsonl"]
    env = {**world.environment, **addresses(dict(urls))}
    with (world.folder / "reports.jsonl").open("w") as out:
        return world.begin(*command, env=env, stdout=out)


def reports(world: World) -> dict[str, Report]:
    """What was predicted, by key."""
    found = map(read_report, (world.folder / "reports.jsonl").read_text().splitlines())
    return {report.key: report for report in found}


def run_live(world: World, file: Path) -> Any:
    """All orders, for real, against services of their own."""
    options = [part for url in world.urls.values() for part in ("--outside", url)]
    return world.begin("run", FLOW, "--input", str(file), "--ignore-unknown", *options)


def ended(process: "subprocess.Popen[str]", world: World) -> None:
    """Wait for it; it must have gone well."""
    out, told = process.communicate(timeout=world.limit)
    assert process.returncode == 0, f"{process.args!r}: {process.returncode}\n{out}\n{told}"


@contextmanager
def measured(into: dict[str, Cost], name: str, sagas: int, server: int | None) -> Iterator[None]:
    """What the commands of the block take; they must have ended with it."""
    began, before, served = perf_counter(), _children(), cpu_of(server) or 0.0
    yield
    into[name] = Cost(
        sagas=sagas,
        wall=perf_counter() - began,
        cpu=_children() - before,
        server=(cpu_of(server) or 0.0) - served,
    )


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


# --- the live lane, without what differs from run to run ----------------------------------------------------


async def scrubbed(app: Orchestrator) -> dict[str, Any]:
    """Per saga its end and story, per object its version and state; no ids, times, positions, hashes."""
    store = app.store
    sagas: dict[str, Any] = {}
    async for row in store.sagas_whole():
        history = await store.history(row.record.id)
        story = [(move.kind, move.name, move.state) for move in moves_of(history)]
        sagas[row.record.key] = (row.record.status.value, story)
    objects = {
        state.object: (state.version, _without_ids(json.loads(state.state)))
        async for state in store.objects_whole()
    }
    return {"sagas": sagas, "objects": objects, "counts": await store.counts()}


def _without_ids(state: Any) -> Any:
    if not isinstance(state, dict):
        return state
    return {k: bool(v) if k.endswith("_id") else v for k, v in state.items()}


def ledgers(world: World) -> Counter[tuple[Any, ...]]:
    """What the services did, without keys and numbers."""
    return Counter((e.service, e.action, e.kind, e.about, e.amount, e.detail) for e in world.entries())


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """The first of what differs, named."""
    return [
        f"{key}: {one.get(key)} / {other.get(key)}"
        for key in {*one, *other}
        if one.get(key) != other.get(key)
    ]


# --- the scene ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was shown."""

    orders: int
    as_predicted: int
    connections: int
    costs: Mapping[str, Cost]

    def __str__(self) -> str:
        load = ", ".join(f"{one:.1f}" for one in os.getloadavg())
        told = "".join(f"\n      {name:<22}{cost}" for name, cost in self.costs.items())
        real, dry = self.costs["real, alone"], self.costs["dry, alone"]
        return (
            f"{self.orders} orders; {self.as_predicted} as predicted; live lane and ledgers as in a run "
            f"without; {self.connections} connections from the dry process{told}"
            f"\n      dry to real: {(dry.cpu + dry.server) / (real.cpu + real.server):.2f} x CPU, "
            f"{dry.wall / real.wall:.2f} x wall; load {load}"
        )


async def rehearsed_while_they_run(
    both: World, plain: World, orders: Path, *, count: int, server: int | None
) -> Seen:
    """See the module.

    Args:
        both: where orders run and are rehearsed.
        plain: where they only run.
        orders: real orders.
        count: how many of them.
        server: the database server's process, for its processor time.
    """
    costs: dict[str, Cost] = {}
    file = lay_out(both, orders, count)
    count = len(file.read_text().splitlines())
    with ExitStack() as stack:
        stack.enter_context(both.services("--input", str(file)))
        counter, urls = stack.enter_context(counted(both.urls))
        with measured(costs, "both at the same time", 2 * count, server):
            dry, real = begin_dry(both, urls), run_live(both, file)
            await asyncio.gather(*(asyncio.to_thread(ended, one, both) for one in (dry, real)))
        connections = counter.connections
    lay_out(plain, orders, count)
    with plain.services("--input", str(file)), measured(costs, "real, alone", count, server):
        await asyncio.to_thread(ended, run_live(plain, file), plain)
    with measured(costs, "dry, alone", count, server):
        await asyncio.to_thread(ended, begin_dry(plain, {}), plain)
    async with both.looking() as one, plain.looking() as other:
        with_runs, without = await scrubbed(one), await scrubbed(other)
    for part in ("sagas", "objects", "counts"):
        assert with_runs[part] == without[part], differences(with_runs[part], without[part])[:3]
    assert ledgers(both) == ledgers(plain)
    assert connections == 0
    predicted = {
        key: (report.verdict, [(m.kind, m.name, m.state) for m in report.path])
        for key, report in reports(both).items()
    }
    real_paths = {key: (_SIGHTED[end], story) for key, (end, story) in with_runs["sagas"].items()}
    assert predicted == real_paths, differences(predicted, real_paths)[:3]
    for world in (both, plain):
        assert "nothing wrong" in world.sagacity("verify")
    return Seen(orders=count, as_predicted=len(predicted), connections=connections, costs=costs)
