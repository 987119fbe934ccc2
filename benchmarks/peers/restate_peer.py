"""Restate as a contender: the same steps in a durable handler, compensations as its guide shows them.

Set up for speed as its documents say: the native server binary of the npm package, as one node with its
default durability and memory; the service behind Hypercorn over HTTP/2 without TLS, so that one stream
carries each invocation both ways; server logs at WARN; telemetry and the web page off. The starter calls the
ingress over kept connections from the same process, with a client of few lines that costs little. A service
has no lock over several objects: the two locked objects of the measured saga are left out, in its favour.
"""

import argparse
import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import restate
import uvloop
from hypercorn.asyncio import serve
from hypercorn.config import Config
from restate.exceptions import TerminalError

from benchmarks import steps
from benchmarks.contender import contend
from benchmarks.peers.http import Http
from benchmarks.steps import Order, Refusal

HOST = "127.0.0.1"
_LOOKS, _LOOK = 600, 0.1
_LAUNCHER = Path(__file__).parents[2] / "engine" / "sagacity" / "store" / "pg_launch.py"

service = restate.Service("measured")


@service.handler()
async def saga(ctx: restate.Context, order: dict[str, Any]) -> bool:
    """The saga; False where it was rolled back."""
    name = order["name"]
    undo: list[tuple[str, Callable[[str], Awaitable[None]]]] = []
    try:
        undo.append(("release", steps.release))
        await ctx.run_typed("reserve", steps.reserve, name=name)
        undo.append(("refund", steps.refund))
        await ctx.run_typed("charge", steps.charge, name=name)
        await ctx.run_typed("book", book, name=name, refused=order["refused"])
    except TerminalError:
        for label, back in reversed(undo):
            await ctx.run_typed(label, back, name=name)
        return False
    return True


async def book(name: str, refused: bool) -> dict[str, str]:
    """The third step; a refusal is final."""
    try:
        return await steps.book(name, refused=refused)
    except Refusal as no:
        raise TerminalError(str(no)) from None


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def start_server(binary: str, folder: Path, ingress: int, admin: int) -> subprocess.Popen[bytes]:
    """The server, all its files below `folder`; it ends with this process, even when that is killed."""
    settings = {
        "RESTATE_LISTEN_MODE": "tcp",
        "RESTATE_BIND_IP": HOST,
        "RESTATE_ADVERTISED_HOST": HOST,
        "RESTATE_BIND_PORT": str(free_port()),
        "RESTATE_INGRESS__BIND_PORT": str(ingress),
        "RESTATE_ADMIN__BIND_PORT": str(admin),
        "RESTATE_ADMIN__DISABLE_WEB_UI": "true",
        "RESTATE_DISABLE_TELEMETRY": "true",
        "RESTATE_LOG_FILTER": "warn",
        "DO_NOT_TRACK": "1",
    }
    folder.mkdir(parents=True, exist_ok=True)
    tied = [sys.executable, "-I", "-S", str(_LAUNCHER), "-1", "-1", str(os.getpid())]
    with (folder / "server.log").open("wb") as log:
        return subprocess.Popen(
            [*tied, binary, "--base-dir", str(folder / "data"), "--node-name", "benchmark", "--no-logo"],
            env=dict(os.environ) | settings,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def end(server: subprocess.Popen[bytes]) -> None:
    """Nothing that it holds is needed any more."""
    server.kill()
    server.wait()


async def until(what: str, ask: Callable[[], Awaitable[bool]]) -> None:
    """Ask until it is so.

    Raises:
        TimeoutError: it did not come to be within a minute.
    """
    for _ in range(_LOOKS):
        try:
            if await ask():
                return
        except (OSError, EOFError):
            pass
        await asyncio.sleep(_LOOK)
    raise TimeoutError(f"{what} did not come up")


@asynccontextmanager
async def handlers() -> AsyncIterator[int]:
    """The service behind Hypercorn; its port."""
    port, over = free_port(), asyncio.Event()
    config = Config()
    config.bind, config.loglevel = [f"{HOST}:{port}"], "ERROR"
    config.h2_max_concurrent_streams = config.keep_alive_max_requests = 2**31 - 1
    config.graceful_timeout = 0.1
    app: Any = restate.app(services=[service])
    serving = asyncio.create_task(serve(app, config, shutdown_trigger=over.wait))
    try:
        yield port
    finally:
        over.set()
        await serving


async def main(binary: str, folder: Path) -> None:
    """Contend until the input ends."""
    ingress, admin = free_port(), free_port()
    server = start_server(binary, folder, ingress, admin)
    calls, management = Http(HOST, ingress), Http(HOST, admin)
    try:
        async with handlers() as port:

            async def register() -> bool:
                status, _ = await management.post("/deployments", {"uri": f"http://{HOST}:{port}"})
                return status < 300

            async def run(order: Order) -> bool:
                given = {"name": order.name, "refused": order.refused}
                status, said = await calls.post("/measured/saga", given)
                if status != 200:
                    raise RuntimeError(f"{order.name}: {status} {said!r}")
                return said == b"true"

            await until("the server", register)
            await until("the handler", partial(run, Order(name="first", account="")))
            await contend(run, version=version("restate-sdk"), server=server.pid)
            end(server)  # first, or its open streams hold up the handler's end
    finally:
        calls.close()
        management.close()
        end(server)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers.restate_peer", description=__doc__)
    parser.add_argument("--server", required=True, help="the restate-server binary")
    parser.add_argument("--folder", type=Path, required=True, help="an empty folder for its data")
    given = parser.parse_args()
    sys.exit(uvloop.run(main(given.server, given.folder)))
