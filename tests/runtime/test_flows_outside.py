"""What an outside service's answer means: a definite no, not tried, or nobody knows."""

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2
import pytest

from sagacity import Refused, Unavailable
from sagacity.definition.external import ExternalSettings, Landed, NotLanded
from sagacity.errors import MissingExternal
from sagas.outside import Warehouse


class Desk:
    """Answers every request with `status` and `body`, and remembers the last one."""

    def __init__(self) -> None:
        self.status = 200
        self.body: dict[str, Any] = {"reservation_id": "r-1"}
        self.asked: dict[str, Any] = {}
        desk = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                desk.asked = {"path": self.path, "headers": dict(self.headers), "body": json.loads(body)}
                self._answer()

            def do_GET(self) -> None:
                desk.asked = {"path": self.path}
                self._answer()

            def _answer(self) -> None:
                data = json.dumps(desk.body).encode()
                self.send_response(desk.status)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:
                """Keep the test's output clean."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    yield desk
    desk.server.shutdown()
    desk.server.server_close()


async def _warehouse(url: str | None) -> Warehouse:
    return await Warehouse.connect(ExternalSettings(name="warehouse", url=url))


async def test_an_effect_carries_its_key_and_an_undo_names_what_it_undoes(desk: Desk) -> None:
    warehouse = await _warehouse(desk.url)
    assert (await warehouse.reserve("o-1", key="k")).reservation_id == "r-1"
    assert desk.asked["headers"]["Idempotency-Key"] == "k"
    assert "Undoes" not in desk.asked["headers"]
    await warehouse.release("o-1", key="k/undo", undoes="k")
    assert desk.asked["headers"]["Undoes"] == "k"
    assert desk.asked["body"] == {"order_id": "o-1"}
    await warehouse.close()


@pytest.mark.parametrize("status", [400, 409, 422])
async def test_a_definite_no_is_refused_with_the_services_own_words(desk: Desk, status: int) -> None:
    desk.status, desk.body = status, {"detail": "sold out"}
    warehouse = await _warehouse(desk.url)
    with pytest.raises(Refused, match="sold out"):
        await warehouse.reserve("o-1", key="k")
    await warehouse.close()


async def test_a_broken_answer_is_no_answer_and_passes_as_it_is(desk: Desk) -> None:
    desk.status = 500
    warehouse = await _warehouse(desk.url)
    with pytest.raises(httpx2.HTTPStatusError):
        await warehouse.reserve("o-1", key="k")
    await warehouse.close()


async def test_a_service_that_nobody_can_reach_was_not_called() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        warehouse = await _warehouse(f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(Unavailable, match="cannot be reached"):
            await warehouse.reserve("o-1", key="k")
        await warehouse.close()


async def test_the_probe_asks_for_the_whole_key(desk: Desk) -> None:
    desk.body = {"landed": True, "answer": {"reservation_id": "r-1"}}
    warehouse = await _warehouse(desk.url)
    assert await warehouse.probe("a/b c") == Landed(answer={"reservation_id": "r-1"})
    assert desk.asked["path"] == "/effects/a%2Fb%20c"
    desk.body = {"landed": False}
    assert await warehouse.probe("a") == NotLanded()
    await warehouse.close()


async def test_without_an_address_it_cannot_be_made() -> None:
    with pytest.raises(MissingExternal, match="it has no address"):
        await _warehouse(None)
