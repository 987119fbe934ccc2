"""`make demo`: a small world in which three sagas need a human, with all that runs them in the background.

One order is stuck (its refund was refused), one large transfer waits for approval, and a small one stands
behind it in an account's queue. `start` returns once all three stand there and everything answers. `mend`
lets the payment provider refund again, so that retrying the order succeeds. `stop` ends what `start` began.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import httpx2

from sagacity.cli.stores import place
from sagacity.definition.project import Project
from sagacity.model.record import Status, WaitsFor
from sagacity.model.views import SagaView
from sagacity.orchestrator import Orchestrator
from sagas.order import Order
from sagas.run import addresses
from sagas.transfer import OpenAccount, Transfer

STATE = Path(".sagacity")
FOLDER = STATE / "demo"
STORE = f"sqlite:///{FOLDER}/sagacity.db"
NAMES = ("services", "worker", "serve")
LIMIT = 60.0
_WHY = "the cash account is closed for the day"


class DemoError(Exception):
    """The demo cannot begin; the text says why and what to do."""


# --- processes ---------------------------------------------------------------------------------------


def log_of(name: str) -> Path:
    """Where a process's output goes."""
    return STATE / f"demo-{name}.log"


def pid_file(name: str) -> Path:
    """Where it is written down which process it is."""
    return STATE / f"demo-{name}.pid"


def born(pid: int) -> str | None:
    """What tells this process from a later one of the same number; None: it has ended."""
    stat = Path(f"/proc/{pid}/stat")
    if not Path("/proc/self/stat").exists():
        said = subprocess.run(
            ["ps", "-o", "lstart=", "-p", str(pid)], check=False, capture_output=True, text=True
        )
        return said.stdout.strip() or None
    try:
        fields = stat.read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


def running() -> dict[str, int]:
    """What of the demo runs: name and process."""
    found = {}
    for name in NAMES:
        if pid_file(name).exists():
            known = json.loads(pid_file(name).read_text())
            if born(known["pid"]) == known["born"]:
                found[name] = known["pid"]
    return found


def begin(name: str, command: Sequence[str], env: Mapping[str, str], *, told: bool = False) -> str:
    """Start a process of the demo; with `told`, its first line on stdout, which says that it is ready."""
    with log_of(name).open("wb") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if told else log,
            stderr=log,
            env={**os.environ, **env},
            start_new_session=True,
            text=True,
        )
    pid_file(name).write_text(json.dumps({"pid": process.pid, "born": born(process.pid)}))
    if process.stdout is None:
        return ""
    line = process.stdout.readline()
    if not line:
        raise DemoError(f"{name} did not start: see {log_of(name)}")
    return line


def end(pid: int) -> None:
    """Ask the process to end, wait until it has, and end it by force where it does not."""
    known = born(pid)
    for number, patience in ((signal.SIGTERM, 25.0), (signal.SIGKILL, 5.0)):
        if born(pid) != known or known is None:
            return
        os.kill(pid, number)
        until = time.monotonic() + patience
        while born(pid) == known and time.monotonic() < until:
            time.sleep(0.05)


def stop() -> int:
    """`make demo-stop`: end what runs, in good order, and nothing else."""
    found = running()
    for name in ("serve", "worker", "services"):
        if name in found:
            end(found[name])
            print(f"ended {name} ({found[name]})")
        pid_file(name).unlink(missing_ok=True)
    if not found:
        print("the demo does not run")
    return 0


# --- what answers ------------------------------------------------------------------------------------


def free_port(wanted: int) -> int:
    """`wanted`, or a free one where that is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until_ready(name: str, url: str) -> None:
    """Return when `url` says that it is ready."""
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        if name not in running():
            raise DemoError(f"{name} ended before it was ready: see {log_of(name)}")
        try:
            if httpx2.get(f"{url}/ready", trust_env=False, timeout=5).is_success:
                return
        except httpx2.TransportError:
            pass
        time.sleep(0.05)
    raise DemoError(f"{name} was not ready within {LIMIT:.0f} s: see {log_of(name)}")


# --- the three sagas ---------------------------------------------------------------------------------


async def stands(sagas: Orchestrator, key: str, name: str, fits: Callable[[SagaView], bool]) -> SagaView:
    """The saga, once it stands as it should."""
    deadline = time.monotonic() + LIMIT
    view = None
    while time.monotonic() < deadline:
        saga = await sagas.store.find(name, key)
        view = await sagas.show(saga) if saga is not None else None
        if view is not None and fits(view):
            return view
        await asyncio.sleep(0.05)
    raise DemoError(f"{name} {key} did not come to stand where it should: {view and view.why}")


async def first_number(sagas: Orchestrator) -> int:
    """The first number whose keys no earlier demo has used."""
    number = 1
    while await sagas.store.find("Order", f"A-{number}001") is not None:
        number += 1
    return number


async def fill(sagas: Orchestrator) -> dict[str, str]:
    """Start the sagas and return when each stands where it should; their keys, by what they show."""
    number = await first_number(sagas)
    await deliver_one(sagas, number)
    accounts = [f"{who}-{number}" for who in ("ana", "ben", "cleo")]
    for account in accounts:
        opened = await sagas.start(OpenAccount, {"account_id": account, "balance": "20000.00"})
        await opened.outcome(timeout=timedelta(seconds=LIMIT))
    ana, ben, cleo = accounts
    large, small = f"T-{number}001", f"T-{number}002"
    await sagas.start(Transfer, {"transfer_id": large, "source": ana, "target": ben, "amount": "12000.00"})
    await stands(sagas, large, "Transfer", lambda view: view.waits_for is WaitsFor.APPROVAL)
    await sagas.start(Transfer, {"transfer_id": small, "source": ana, "target": cleo, "amount": "35.00"})
    await stands(sagas, small, "Transfer", lambda view: view.waits_for is WaitsFor.LOCK)
    stuck = f"A-{number}002"
    order = await sagas.start(Order, {"order_id": stuck, "customer_id": f"C-{number}", "amount": "19.90"})
    await stands(sagas, stuck, "Order", lambda view: "charged" in view.state)
    await sagas.cancel(order.id, reason="the customer changed her mind")
    await stands(sagas, stuck, "Order", lambda view: view.status is Status.STUCK)
    return {"stuck": stuck, "approval": large, "queued": small}


async def deliver_one(sagas: Orchestrator, number: int) -> None:
    """One order that goes well, for comparison."""
    key = f"A-{number}001"
    order = await sagas.start(Order, {"order_id": key, "customer_id": f"C-{number}", "amount": "0.10"})
    for name in ("payments.approved", "carrier.handed_over", "carrier.delivered"):
        await sagas.signal(order.id, name)
    await order.outcome(timeout=timedelta(seconds=LIMIT))


async def in_store(store: str, work: Callable[[Orchestrator], Awaitable[dict[str, str]]]) -> dict[str, str]:
    """Do `work` on the store."""
    project = Project.of(Order, OpenAccount, Transfer)
    async with place(store) as at, await Orchestrator.open(at.url, project=project) as sagas:
        return await work(sagas)


def refuse_refunds(payments: str, why: str | None) -> None:
    """Let the payment provider refuse refunds, for `why`; None: it refunds again."""
    body = {} if why is None else {"refund": why}
    httpx2.put(f"{payments}/refuses", json=body, trust_env=False, timeout=10).raise_for_status()


# --- the commands ------------------------------------------------------------------------------------


def start(store: str, port: int) -> int:
    """`make demo`: start all, wait until each is ready and the sagas stand, and say what to do."""
    if running():
        print(f"the demo runs already: {noted()['url']}")
        print("   end it:  make demo-stop")
        return 0
    STATE.mkdir(exist_ok=True)
    if store == STORE:
        shutil.rmtree(FOLDER, ignore_errors=True)  # its sagas and their ledgers, both of an earlier demo
    FOLDER.mkdir(exist_ok=True)
    try:
        told = begun(store, port)
    except BaseException:
        stop()
        raise
    say(told)
    return 0


def begun(store: str, port: int) -> dict[str, str]:
    """Everything is up, and the sagas stand; what is to be said of it."""
    python = sys.executable
    print("== starting the outside services, a worker and the server")
    ledgers = ["--ledger", str(FOLDER / "services")]
    urls: dict[str, str] = json.loads(
        begin("services", [python, "-m", "sagas.services", *ledgers], {}, told=True)
    )
    refuse_refunds(urls["payments"], _WHY)
    env = {**addresses(urls), "SAGACITY_STORE": store, "SAGACITY_LOG_FORMAT": "json"}
    watched = f"http://127.0.0.1:{free_port(9464)}"
    begin("worker", [python, "-m", "sagacity", "worker", "--metrics", watched.rpartition(":")[2]], env)
    until_ready("worker", watched)
    url = f"http://127.0.0.1:{free_port(port)}"
    begin("serve", [python, "-m", "sagacity", "serve", "--port", url.rpartition(":")[2]], env)
    until_ready("serve", url)
    print("== making one saga stuck, one wait for approval, and one queue behind it")
    keys = asyncio.run(in_store(store, fill))
    told = {"url": url, "metrics": f"{watched}/metrics", "payments": urls["payments"], "store": store, **keys}
    (FOLDER / "told.json").write_text(json.dumps(told))
    return told


def noted() -> dict[str, str]:
    """What was said of the demo when it was started."""
    told: dict[str, str] = json.loads((FOLDER / "told.json").read_text())
    return told


def say(told: Mapping[str, str]) -> None:
    """Where it is, and what to try."""
    program = shlex.quote(os.path.relpath(Path(sys.executable).with_name("sagacity")))
    python = shlex.quote(os.path.relpath(sys.executable))
    store = f"--store {shlex.quote(told['store'])}"
    print(
        f"== the console: {told['url']}/   (metrics: {told['url']}/metrics and {told['metrics']})",
        f"   stuck:      order {told['stuck']}: the payment provider refuses its refund",
        f"   to approve: transfer {told['approval']}, over the limit",
        f"   queued:     transfer {told['queued']}, behind it for the same account",
        "== the stuck one: see why, let the provider refund again, then retry it",
        f"{program} show {told['stuck']} {store}",
        f"{python} -m sagas.demo mend",
        f"{program} retry {told['stuck']} --reason 'the provider refunds again' {store}",
        f"== output: {log_of('*')}; the end: make demo-stop",
        sep="\n",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Do what was asked; 1 where it could not be done."""
    parser = argparse.ArgumentParser(prog="python -m sagas.demo", description=__doc__)
    parser.add_argument("what", choices=("start", "mend", "stop"))
    parser.add_argument("--store", default=STORE)
    parser.add_argument("--port", type=int, default=8000, help="where the console is; a free one if taken")
    given = parser.parse_args(argv)
    try:
        if given.what == "stop":
            return stop()
        if given.what == "start":
            return start(given.store, given.port)
        if not running():
            raise DemoError("the demo does not run: make demo")
        refuse_refunds(noted()["payments"], None)
        print("the payment provider refunds again")
    except DemoError as fault:
        print(f"demo: {fault}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
