"""The port on which a worker is watched: `/metrics`, `/health` and `/ready`, from a thread of its own.

A worker serves nobody else, so it brings no web framework along; and a thread answers also while the loop is
busy, which is when somebody looks.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from sagacity.errors import ConfigError

Page = Callable[[], tuple[int, str, bytes]]
"""Makes an answer: status, content type, body. Called in the port's thread."""

JSON = "application/json"


def place(said: str) -> tuple[str, int]:
    """`9100` or `0.0.0.0:9100` as host and port; without a host, this machine only.

    Raises:
        ConfigError: it is neither.
    """
    host, _, port = said.rpartition(":")
    if not port.isdecimal() or int(port) > 65_535:
        raise ConfigError(f"{said!r} is no port: write 9100, or 0.0.0.0:9100 to be reached from elsewhere")
    return host.strip("[]") or "127.0.0.1", int(port)


@contextmanager
def watched_at(said: str, pages: dict[str, Page]) -> Iterator[str]:
    """The pages, by path, at this port for as long as this lasts; its address. Port 0 takes a free one.

    Raises:
        ConfigError: the port cannot be used.
    """
    host, port = place(said)

    class Handler(BaseHTTPRequestHandler):
        """Answers GET and HEAD."""

        timeout = 10

        def do_GET(self) -> None:
            """One page."""
            page = pages.get(self.path.partition("?")[0])
            status, kind, body = (404, JSON, b'{"detail":"not found"}') if page is None else page()
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.send_header("cache-control", "no-store")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: whoever watches asks every few seconds."""

    try:
        server = ThreadingHTTPServer((host, port), Handler)
    except OSError as error:
        raise ConfigError(f"port {said} cannot be used ({error.strerror}): choose another one") from None
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, name="watched", daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
