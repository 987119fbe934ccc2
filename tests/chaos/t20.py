"""T20: group commit: a bad member costs only itself, no ack before its flush, none that lies after a kill."""

import asyncio
import random
import statistics
import time
from collections import Counter
from pathlib import Path
from typing import Any
from uuid import UUID

from sagacity.clock import SystemClock
from sagacity.errors import StoreError
from sagacity.model.record import Record
from sagacity.model.unit import Batch, Loss, Unit, Written
from sagacity.runtime.committer import Committer, Lost
from sagacity.store.base import Store
from sagacity.store.open import open_store
from tests.chaos.__main__ import Options
from tests.chaos.flows.chain import Chain
from tests.chaos.harness.flushes import Strace, audit, has_strace
from tests.chaos.harness.oracle import judge_log
from tests.chaos.harness.report import Report, played
from tests.chaos.harness.world import World, world
from tests.contract.builders import Bench, bench, change, first, following, lock

SIZES = (1, 2, 3, 5, 8, 16, 64, 256)
FAULTS: tuple[Loss | None, ...] = (Loss.STALE, Loss.ARRIVALS, Loss.BUSY, Loss.VERSION, None)
"""None: an error that names nobody, for which the batch is halved until the culprit stands alone."""


def run(options: Options) -> int:
    """The whole test; 0 where nothing was violated."""
    return played("T20", options, _test)


async def _test(report: Report) -> None:
    async with world(report, modules=["tests.chaos.flows.chain"], sagas=[Chain]) as made:
        await _bad_members(made, report)
        await _alone(made, report)
        await _killed(made, report, made.store, "postgresql")
        await _killed(made, report, f"sqlite:///{made.folder}/group.db", "sqlite")
        await _flushed(made, report)
        await judge_log(made.app, report, only="chain")


class Group:
    """A worker's committer on a store of its own; `sizes` of what it sent, `spent` seconds in the store."""

    def __init__(self, store: Store, desk: Bench) -> None:
        self.store, self.desk = store, desk
        self.sizes: Counter[int] = Counter()
        self.spent: list[float] = []
        timed: Any = _Timed(store, self)
        self.committer = Committer(
            timed, worker=desk.worker, head=desk.head, clock=SystemClock(), batch=256, freed=lambda _: None
        )
        self.task = asyncio.create_task(self.committer.run())

    @classmethod
    async def open(cls, url: str) -> "Group":
        store = open_store(url, accept_loss=False)
        await store.open()
        return cls(store, await bench(store))

    async def send(self, units: list[Unit]) -> list[BaseException | None]:
        """All at once; what became of each."""
        answers = await asyncio.gather(
            *(self.committer.submit(unit) for unit in units), return_exceptions=True
        )
        return [answer if isinstance(answer, BaseException) else None for answer in answers]

    async def close(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.store.unregister(self.desk.worker)
        await self.store.close()


class _Timed:
    def __init__(self, store: Store, group: Group) -> None:
        self._store, self._group = store, group

    async def write(self, batch: Batch) -> Written:
        self._group.sizes[len(batch.units)] += 1
        began = time.perf_counter()
        try:
            return await self._store.write(batch)
        finally:
            self._group.spent.append(time.perf_counter() - began)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


# --- one bad member at each place -------------------------------------------------------------------


async def _bad_members(made: World, report: Report) -> None:
    """Batches of each size, one bad member at each place (at nine of a large one), each way of being bad."""
    group = await Group.open(made.store)
    await group.send([first(admit=(lock("busy:1"),))])
    tried = innocent = guilty = 0
    for size in SIZES:
        sagas = [first() for _ in range(size)]
        assert not any(await group.send(sagas))
        records = [unit.record for unit in sagas]
        places = range(size) if size <= 16 else sorted({n * (size - 1) // 8 for n in range(9)})
        for place in places:
            for fault in FAULTS:
                units = [
                    _bad(record, fault) if n == place else following(record)
                    for n, record in enumerate(records)
                ]
                answers = await group.send(units)
                tried += 1
                innocent += sum(answer is not None for n, answer in enumerate(answers) if n != place)
                guilty += not _fits(answers[place], fault)
                moved = [unit.record for unit in units]
                records = [*moved[:place], records[place], *moved[place + 1 :]]
    report.figure("batches with one bad member", tried)
    report.figure("innocent failures", innocent)
    report.holds(innocent == 0, f"{innocent} members failed for a batch mate's fault")
    report.holds(guilty == 0, f"{guilty} bad members were not refused, or for another reason")
    report.figure("largest batch sent", max(group.sizes))
    report.holds(max(group.sizes) == max(SIZES), "units that were ready together did not go together")
    await group.close()


def _bad(record: Record, fault: Loss | None) -> Unit:
    match fault:
        case Loss.STALE:
            return following(record, epoch=7)
        case Loss.ARRIVALS:
            return following(record, arrivals=3)
        case Loss.BUSY:
            return following(record, admit=(lock("busy:1"),), optimistic=True)
        case Loss.VERSION:
            return following(record, changes=(change(f"own:{record.id}", 5),))
    return following(record, free=(lock(f"never:{record.id}"),))


def _fits(answer: BaseException | None, fault: Loss | None) -> bool:
    if isinstance(answer, Lost):
        return answer.loss is fault
    return fault is None and isinstance(answer, StoreError)


# --- a lone step ------------------------------------------------------------------------------------


async def _alone(made: World, report: Report) -> None:
    """What the group costs one who comes alone: the committer's time less the store's. No verdict."""
    group = await Group.open(made.store)
    [record] = [unit.record for unit in [first()] if not any(await group.send([unit]))]
    group.spent.clear()
    took: list[float] = []
    for _ in range(300):
        unit = following(record)
        began = time.perf_counter()
        await group.committer.submit(unit)
        took.append(time.perf_counter() - began)
        record = unit.record
    extra = [1000 * (whole - inside) for whole, inside in zip(took, group.spent, strict=True)]
    report.figure("a lone step waits extra, median ms", statistics.median(extra))
    report.figure("a lone step in all, median ms", 1000 * statistics.median(took))
    await group.close()


# --- killed anywhere --------------------------------------------------------------------------------


async def _killed(made: World, report: Report, url: str, name: str) -> None:
    """SIGKILL at each point from buffer to ack; whatever was acknowledged is there, once."""
    rounds = report.size(40, 400)
    acks = made.folder / f"acks-{name}.txt"
    child = made.processes.python(
        f"batcher-{name}", "tests.chaos.harness.batcher", url, str(acks), str(rounds), str(report.seed)
    )
    await child.start()
    await child.wait()
    kills = child.said(last=100_000).count(": -9")
    report.figure(f"{name}: committers killed", kills)
    report.holds(kills >= rounds // 2, f"{name}: only {kills} of {rounds} were killed: {child.said()}")
    sent, acked = _noted(acks)
    store = open_store(url, accept_loss=True)
    await store.open()
    there = {row.record.id async for row in store.sagas_whole()}
    await store.close()
    lost = acked - there
    report.figure(f"{name}: acknowledged", len(acked))
    report.figure(f"{name}: stored without an ack (allowed)", len((sent & there) - acked))
    report.holds(not lost, f"{name}: {len(lost)} acknowledged units are not there, e.g. {sorted(lost)[:3]}")


def _noted(path: Path) -> tuple[set[UUID], set[UUID]]:
    sent: set[UUID] = set()
    acked: set[UUID] = set()
    for line in path.read_text().splitlines():
        what, _, saga = line.partition(" ")
        (acked if what == "acked" else sent).add(UUID(saga))
    return sent, acked


# --- no ack before the flush ------------------------------------------------------------------------


async def _flushed(made: World, report: Report) -> None:
    """The kernel's account of who flushed and who answered when; else the server's own count of flushes."""
    if not has_strace():
        await _counted(made, report)
        return
    trace = made.folder / "server.strace"
    async with Strace(trace, made.server.inside.inhabitants()):
        await _some_commits(made.store)
    seen = audit(trace, question=r'recvfrom\(\d+, "B.*= \d{4,}$', answer=r'sendto\(\d+, "2')
    report.figure("postgresql: answers to commits traced", seen.answers)
    report.holds(seen.answers >= 40, f"the trace shows only {seen.answers} answers: it proves nothing")
    report.figure("postgresql: answered before a flush returned", len(seen.bad))
    for text in seen.bad[:5]:
        report.blame(f"postgresql: told before any flush: {text}")


async def _some_commits(url: str, *, count: int = 60) -> None:
    """A lone unit at a time and some groups."""
    chance = random.Random(1)
    group = await Group.open(url)
    for _ in range(count):
        assert not any(await group.send([first() for _ in range(chance.choice([1, 1, 1, 4, 20]))]))
    await group.close()


async def _counted(made: World, report: Report) -> None:
    """Without strace: the server has flushed its log at least as often as it was asked to commit."""
    driver = await made.server.session()
    try:
        ask = "SELECT sum(fsyncs) FROM pg_stat_io WHERE object = 'wal'"
        before = await driver.fetchval(ask)
        await _some_commits(made.store)
        await asyncio.sleep(2)  # the server tells its counts with a delay
        flushes = int(await driver.fetchval(ask) - before)
    finally:
        await driver.close()
    report.figure("postgresql: flushes for 60 commits (no strace here)", flushes)
    report.holds(flushes >= 60, f"60 commits one after the other, and {flushes} flushes")
