"""Orders against the services: everything once, nothing left standing, also when a worker is killed."""

import asyncio
import subprocess
import sys
from pathlib import Path

from sagacity.model.record import Status
from sagas.run import judge
from tests.shown.world import SUMMARY, World, expected_ends, kill, summary_of

ONCE = ("committed", "rolled_back", "waiting", "stuck")


def make_run(world: World, orders: Path, *options: str) -> tuple[dict[str, float], str]:
    """`make run` as it stands in the Makefile; the summary, and all that was printed to stdout."""
    command = [sys.executable, "-m", "sagas.run", "--orders", str(orders), "--store", world.store, *options]
    done = subprocess.run(
        command,
        cwd=world.folder,
        env=world.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=world.limit,
    )
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return summary_of(done.stdout), done.stdout


async def once_and_again(world: World, orders: Path, *options: str) -> dict[str, float]:
    """Run all orders; they end as in life, the ledgers agree, and a second run starts nothing."""
    expected = expected_ends(orders)
    summary, printed = await asyncio.to_thread(make_run, world, orders, *options)
    assert {name: summary[name] for name in ONCE} == expected, printed
    assert (summary["started"], summary["rejected"]) == (sum(expected.values()), 0)
    assert "ledgers agree" in printed
    await only_the_waiting_hold_locks(world, summary)
    again, _ = await asyncio.to_thread(make_run, world, orders, *options)
    moving = {"started": 0.0, "sagas_per_second": again["sagas_per_second"]}
    assert again == {**summary, **moving}
    assert "nothing wrong" in world.sagacity("verify")
    return summary


async def only_the_waiting_hold_locks(world: World, summary: dict[str, float]) -> None:
    """Every lock belongs to an order that waits for a signal, and each of those has its two."""
    async with world.looking() as app:
        locks = await app.locks()
        holders = await app.statuses(sorted({lock.saga for lock in locks}))
    assert {saga.status for saga in holders.values()} <= {Status.WAITING}
    assert all(lock.held for lock in locks)
    assert len(locks) == summary["locks_held"] == 2 * summary["waiting"]


def pasted(printed: str) -> list[str]:
    """The commands that `make run` offers to paste: what is indented only says what they are for."""
    lines = printed.partition("== what to try next\n")[2].splitlines()[: -len(SUMMARY)]
    return [line for line in lines if not line.startswith(" ")]


async def killed_midway(world: World, orders: Path, *, at: float, workers: int = 1) -> dict[str, float]:
    """Kill `sagacity run` when this share of the effects has happened, and run again: no trace is left."""
    expected = expected_ends(orders)
    arguments = ["run", "sagas/order.py:Order", "--input", str(orders), "--ignore-unknown"]
    arguments += ["--workers", str(workers)]
    with world.services("--input", str(orders)):
        arguments += [part for url in world.urls.values() for part in ("--outside", url)]
        process = world.begin(*arguments)
        await world.happened(int(at * 3 * sum(expected.values())), process=process)
        kill(process)
        before = {key: saga.status for key, saga in (await world.sagas("Order")).items()}
        assert any(not status.final and status is not Status.WAITING for status in before.values())
        summary = summary_of(world.sagacity(*arguments))
    assert {name: summary[name] for name in ONCE} == expected
    assert judge(world.ledger, await world.sagas("Order")) == []
    await only_the_waiting_hold_locks(world, summary)
    assert "nothing wrong" in world.sagacity("verify")
    return summary
