"""One outside service as a process: `python -m sagas.services.one NAME --fd N ...`.

Started by `python -m sagas.services`, which holds the other end of our standard input. When that end closes,
however its holder died, we stop; so no service is ever left behind.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import uvicorn

from sagas.services.app import Service, World
from sagas.services.desk import OFFERS
from sagas.services.playback import read_orders

_PLAYED = ("warehouse", "payments", "carrier")


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen, then say so in one line on stdout."""
        await super().startup(sockets)
        if not self.started:
            return
        try:
            os.write(sys.stdout.fileno(), b"ready\n")
        except BrokenPipeError:
            # Whoever started us is gone already.
            self.should_exit = True

    def stop_with_parent(self) -> None:
        """Stop as soon as standard input ends."""
        loop = asyncio.get_running_loop()

        def read() -> None:
            if not os.read(sys.stdin.fileno(), 64):
                loop.remove_reader(sys.stdin.fileno())
                self.should_exit = True

        loop.add_reader(sys.stdin.fileno(), read)


async def _serve(server: _Server, service: Service, listener: socket.socket) -> None:
    server.stop_with_parent()
    async with asyncio.TaskGroup() as group:
        deliveries = group.create_task(service.outlet.deliver())
        await server.serve(sockets=[listener])
        deliveries.cancel()


def main() -> int:
    """Serve until told to stop by SIGTERM, SIGINT or the end of standard input."""
    parser = argparse.ArgumentParser(prog="python -m sagas.services.one")
    parser.add_argument("name", choices=OFFERS)
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--ledger", type=Path, required=True)
    parser.add_argument("--input", type=Path)
    parser.add_argument("--hooks")
    parser.add_argument("--bank-refuses", type=float, default=0.0)
    parser.add_argument("--slow", type=float, default=0.2)
    given = parser.parse_args()
    orders = read_orders(given.input) if given.input and given.name in _PLAYED else {}
    world = World(orders=orders, bank_refuses=given.bank_refuses, slow=given.slow)
    service = Service(name=given.name, folder=given.ledger, world=world, hooks=given.hooks)
    config = uvicorn.Config(
        service.app(),
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        timeout_keep_alive=75,
        timeout_graceful_shutdown=2,
    )
    listener = socket.socket(fileno=given.fd)
    # The server takes these signals while it serves and raises them again afterwards; by then it is over.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(_serve(_Server(config), service, listener))
    return 0


if __name__ == "__main__":
    sys.exit(main())
