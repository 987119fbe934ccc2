"""The API on a socket of this machine: loopback only, because it asks nobody who they are yet."""

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

from sagacity.errors import ConfigError
from sagacity.orchestrator import Orchestrator

_SERVER = "sagacity[server]"


def checked_host(host: str) -> str:
    """`host` as a loopback address.

    Raises:
        ConfigError: any other address: the API has no sign-in yet.
    """
    with suppress(ValueError):
        if ipaddress.ip_address("127.0.0.1" if host == "localhost" else host).is_loopback:
            return "127.0.0.1" if host == "localhost" else host
    raise ConfigError(
        f"{host} is not a loopback address: the API has no sign-in yet and answers only this machine; "
        "use 127.0.0.1 and put a proxy that knows its callers before it"
    )


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named, because asyncio sends at once (TCP_NODELAY) only where it sees it; without,
    # each answer waits 40 ms for an acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"port {port} of {host} cannot be used ({error.strerror}): choose another --port"
        ) from None
    listener.listen(2048)
    return listener


@asynccontextmanager
async def hosted(sagas: Orchestrator, *, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """The API of `sagas`, answering for as long as this lasts; its address without a trailing slash.

    Args:
        sagas: an open orchestrator on this loop.
        host: a loopback address.
        port: 0 takes a free one.

    Raises:
        ConfigError: another host, a port that cannot be used, or the server is not installed.
    """
    listener = _listener(checked_host(host), port)
    try:
        server = _server(sagas)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        started = asyncio.create_task(server.listening.wait())
        await asyncio.wait([serving, started], return_when=asyncio.FIRST_COMPLETED)
        started.cancel()
        bound = listener.getsockname()[1]
        try:
            yield f"http://{f'[{host}]' if ':' in host else host}:{bound}"
        finally:
            server.should_exit = True
            await serving
    finally:
        listener.close()


def _server(sagas: Orchestrator) -> Any:
    try:
        import uvicorn

        from sagacity.web.api import create_app
    except ImportError as error:
        raise ConfigError(f"the HTTP API is not installed ({error.name}): pip install '{_SERVER}'") from None

    class Server(uvicorn.Server):
        """Leaves the process's signals to whoever runs it, and says when it listens."""

        def __init__(self, config: uvicorn.Config) -> None:
            super().__init__(config)
            self.listening = asyncio.Event()

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            self.listening.set()

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    return Server(
        uvicorn.Config(
            create_app(sagas),
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws="none",
            timeout_graceful_shutdown=5,
        )
    )
