"""The API on a socket: open to this machine in development, and else to who can say who they are."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from sagacity.errors import ConfigError
from sagacity.orchestrator import Orchestrator
from sagacity.web.guard.configured import is_loopback
from sagacity.web.guard.settings import WebSettings

_SERVER = "sagacity[server]"


def _checked(host: str, settings: WebSettings) -> str:
    """`host` as an address to listen on.

    Raises:
        ConfigError: it is no address, or others can reach it while it lets everybody in.
    """
    if not is_loopback(host) and settings.development:
        raise ConfigError(f"{host} can be reached from other machines: development is for 127.0.0.1 only")
    return "127.0.0.1" if host == "localhost" else host


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
async def hosted(
    sagas: Orchestrator, *, host: str = "127.0.0.1", port: int = 0, settings: WebSettings | None = None
) -> AsyncIterator[str]:
    """The API of `sagas`, answering for as long as this lasts; its address without a trailing slash.

    Args:
        sagas: an open orchestrator on this loop.
        host: the address to listen on.
        port: 0 takes a free one.
        settings: who is let in; by default whoever calls from this machine, as in development.

    Raises:
        ConfigError: a host that others can reach without signing in, a port that cannot be used, or the
            server is not installed.
    """
    settings = settings or WebSettings()
    listener = _listener(_checked(host, settings), port)
    try:
        server = _server(sagas, settings)
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


def _server(sagas: Orchestrator, settings: WebSettings) -> Any:
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
            create_app(sagas, settings=settings),
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws="none",
            h11_max_incomplete_event_size=2 * settings.header,
            timeout_graceful_shutdown=5,
        )
    )
