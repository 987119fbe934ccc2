"""Run the outside services: `python -m sagas.services --input FILE --ledger DIR`.

Prints one JSON line of addresses as soon as all of them answer, then waits. The services live exactly as
long as this process: a signal ends them cleanly, and if this process is killed they end by themselves.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from sagas.services.desk import OFFERS
from sagas.services.playback import left_out

_START_LIMIT = 30.0
_STOP_LIMIT = 5.0


class CannotRunError(Exception):
    """The services cannot run, or not on; the text says why."""


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sagas.services", description=__doc__)
    parser.add_argument(
        "--input", type=Path, help="orders to play back, JSON lines; without it none are known"
    )
    parser.add_argument("--ledger", type=Path, required=True, help="folder of the ledgers; made if absent")
    parser.add_argument("--hooks", help="address that web hooks go to, e.g. http://127.0.0.1:8000")
    parser.add_argument("--bank-refuses", type=float, default=0.0, metavar="FRACTION", help="from 0 to 1")
    parser.add_argument("--slow", type=float, default=0.2, metavar="SECONDS", help="time of a deprovision")
    parser.add_argument(
        "--ports", type=int, metavar="BASE", help="use BASE, BASE + 1, ...; default: free ones"
    )
    parser.add_argument(
        "--input-is-told", action="store_true", help="somebody else says which lines are no orders"
    )
    parser.add_argument("--until-stdin-closes", action="store_true", help="end when standard input does, too")
    given = parser.parse_args(argv)
    if given.input is not None and not given.input.is_file():
        parser.error(f"--input {given.input}: there is no such file")
    if not 0 <= given.bank_refuses <= 1:
        parser.error(f"--bank-refuses {given.bank_refuses}: give a fraction from 0 to 1")
    if not 0 <= given.slow <= 3600:
        parser.error(f"--slow {given.slow}: give seconds from 0 to 3600")
    if given.ports is not None and not 1024 <= given.ports <= 65535 - len(OFFERS):
        parser.error(f"--ports {given.ports}: give a port from 1024 to {65535 - len(OFFERS)}")
    if given.hooks is not None and urlsplit(given.hooks).scheme not in ("http", "https"):
        parser.error(f"--hooks {given.hooks}: give an address like http://127.0.0.1:8000")
    return given


def _listen(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError as fault:
        listener.close()
        raise CannotRunError(
            f"port {port} cannot be used ({fault.strerror}): choose another --ports"
        ) from None
    listener.listen(2048)
    return listener


async def _start(name: str, listener: socket.socket, given: argparse.Namespace) -> Process:
    options = ["--ledger", str(given.ledger), "--slow", str(given.slow), "--fd", str(listener.fileno())]
    options += ["--bank-refuses", str(given.bank_refuses)]
    options += ["--input", str(given.input)] if given.input else []
    options += ["--hooks", given.hooks] if given.hooks else []
    command = [sys.executable, "-m", "sagas.services.one", name, *options]
    # A session of its own: Ctrl-C in a terminal reaches only us, and we end the services in good order.
    return await asyncio.create_subprocess_exec(
        *command, stdin=PIPE, stdout=PIPE, pass_fds=[listener.fileno()], start_new_session=True
    )


async def _wait_until_ready(name: str, process: Process) -> None:
    assert process.stdout is not None
    try:
        async with asyncio.timeout(_START_LIMIT):
            said = await process.stdout.readline()
    except TimeoutError:
        raise CannotRunError(f"{name} did not start within {_START_LIMIT:.0f} s") from None
    if said.strip() != b"ready":
        raise CannotRunError(f"{name} ended with exit code {await process.wait()} before it could serve")


async def _stop(processes: Sequence[Process]) -> None:
    for process in processes:
        if process.stdin is not None:
            process.stdin.close()
    for process in processes:
        try:
            async with asyncio.timeout(_STOP_LIMIT):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


async def _until_one_ends(running: dict[str, Process]) -> None:
    watched = {asyncio.create_task(process.wait()): name for name, process in running.items()}
    try:
        done, _ = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in watched:
            task.cancel()
    fallen = ", ".join(watched[task] for task in done)
    raise CannotRunError(f"{fallen} ended unexpectedly: ended the other services too")


async def _serve(running: dict[str, Process], urls: dict[str, str]) -> None:
    for name, process in running.items():
        await _wait_until_ready(name, process)
    print(json.dumps(urls), flush=True)
    await _until_one_ends(running)


def _stop_with_parent(stop: asyncio.Event) -> None:
    """Set `stop` when standard input ends, which it does however whoever holds its other end dies."""
    loop = asyncio.get_running_loop()

    def read() -> None:
        if not os.read(sys.stdin.fileno(), 64):
            loop.remove_reader(sys.stdin.fileno())
            stop.set()

    loop.add_reader(sys.stdin.fileno(), read)


async def _run(given: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    if given.until_stdin_closes:
        _stop_with_parent(stop)
    running: dict[str, Process] = {}
    with contextlib.ExitStack() as listeners:
        opened = {
            name: listeners.enter_context(_listen(given.ports + offset if given.ports else 0))
            for offset, name in enumerate(OFFERS)
        }
        urls = {name: f"http://127.0.0.1:{listener.getsockname()[1]}" for name, listener in opened.items()}
        for name, listener in opened.items():
            running[name] = await _start(name, listener, given)
    serving, stopped = asyncio.create_task(_serve(running, urls)), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([serving, stopped], return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            serving.result()
    finally:
        serving.cancel()
        stopped.cancel()
        await _stop(list(running.values()))


def main(argv: Sequence[str] | None = None) -> int:
    """Run all services until SIGTERM or SIGINT; 0 when told to stop, 1 when one of them could not go on."""
    given = _arguments(argv)
    try:
        given.ledger.mkdir(parents=True, exist_ok=True)
        if given.input is not None and not given.input_is_told:
            for line in left_out(given.input):
                print(f"{given.input}:{line.number}: left out: {line.reason}", file=sys.stderr)
        asyncio.run(_run(given))
    except (CannotRunError, OSError) as fault:
        print(f"sagas.services: {fault}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
