"""`sagacity run` beside an outside service that owes web hooks, and with workers in processes."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import httpx2
import pytest

from tests.edges.shop import Shop

ORDERS = [{"order_id": f"o{n}", "amount": "3"} for n in range(20)]
SPACE = UUID("01a1fcc1-ff90-7249-9b0c-825c079deda6")


class Courier:
    """An outside service: it fetches each parcel as soon as it is told where hooks go, twice each.

    Attributes:
        silent: orders that it never fetches.
        owed: hooks that nobody has acknowledged.
    """

    def __init__(self, orders: list[str], silent: frozenset[str] = frozenset()) -> None:
        self.hooks: str | None = None
        self.orders = [order for order in orders if order not in silent]
        self.owed = len(self.orders)
        self.asked = 0
        self.refused: list[int] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        courier = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                length = int(self.headers["content-length"])
                courier.hooks = json.loads(self.rfile.read(length))["url"]
                threading.Thread(target=courier.deliver, daemon=True).start()
                self._answer({"url": courier.hooks})

            def do_GET(self) -> None:
                courier.asked += 1
                self._answer({"owed": courier.owed})

            def _answer(self, body: dict[str, Any]) -> None:
                data = json.dumps(body).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                return

        return Handler

    def deliver(self) -> None:
        with httpx2.Client(trust_env=False, timeout=20) as client:
            for order in self.orders:
                hook = {
                    "id": str(uuid5(SPACE, order)),
                    "definition": "Order",
                    "key": order,
                    "name": "parcel.fetched",
                    "data": {"order_id": order},
                }
                for _ in range(2):
                    self._until_taken(client, hook)
                self.owed -= 1

    def _until_taken(self, client: httpx2.Client, hook: dict[str, Any]) -> None:
        pause = threading.Event()
        for _ in range(200):
            answer = client.post(f"{self.hooks}/v1/signals", json=hook)
            if answer.is_success:
                return
            self.refused.append(answer.status_code)
            pause.wait(0.05)
        raise AssertionError(f"nobody took {hook}")

    @contextmanager
    def open(self) -> Iterator["Courier"]:
        serving = threading.Thread(target=self._server.serve_forever, daemon=True)
        serving.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            serving.join()


def test_a_run_is_over_when_nobody_outside_owes_anything(shop: Shop) -> None:
    with Courier([order["order_id"] for order in ORDERS], silent=frozenset({"o3"})).open() as courier:
        said = shop.run("Order", *ORDERS, more=("--outside", courier.url))
    assert said.code == 0
    assert (said.numbers["committed"], said.numbers["waiting"]) == ("19", "1")
    assert courier.owed == 0
    # It comes before the order is started, is refused as unknown, and is sent again.
    assert set(courier.refused) <= {404}
    story = [json.loads(line) for line in shop.says("log", "o1", "--raw").lines]
    assert [line["kind"] for line in story].count("signalled") == 1
    assert "parcel.fetched" in shop.says("show", "o3").out


def test_an_outside_service_that_does_not_answer_is_named(shop: Shop) -> None:
    courier = Courier([])
    url = courier.url
    courier._server.server_close()
    said = shop.run("Order", *ORDERS, more=("--outside", url))
    assert said.code == 8
    assert url in said.err
    assert "is it started?" in said.err
    assert shop.says("list", "-o", "ids").lines == []


def test_an_outside_address_that_is_none_is_a_usage_error(shop: Shop) -> None:
    assert shop.run("Order", *ORDERS, more=("--outside", "courier:80")).code == 2


def test_several_workers_need_postgresql(shop: Shop) -> None:
    said = shop.run("Order", *ORDERS, more=("--workers", "2"))
    assert said.code == 2
    assert "--store postgres" in said.err


def test_a_schema_that_is_behind_is_refused_with_the_command_that_mends_it(shop: Shop, pg_url: str) -> None:
    said = shop.says("list", "--store", pg_url, "--i-accept-loss")
    assert said.code == 6
    assert "sagacity migrate" in said.err
    assert shop.says("migrate", "--store", pg_url).code == 0
    assert shop.says("list", "--store", pg_url, "--i-accept-loss").code == 0


def test_a_database_that_may_lose_commits_is_refused(shop: Shop, pg_url: str) -> None:
    assert shop.says("migrate", "--store", pg_url).code == 0
    said = shop.says("list", "--store", pg_url)
    assert said.code == 6
    assert "--i-accept-loss" in said.err


def test_worker_processes_that_die_are_started_again(shop: Shop, pg_url: str) -> None:
    assert shop.says("migrate", "--store", pg_url).code == 0
    lines = [{"sale_id": f"s{n}", "amount": "1"} for n in range(1_200)]
    command = [sys.executable, "-m", "sagacity", "run", shop.flow("Sale"), "--workers", "2"]
    command += ["--input", str(shop.file("sales.jsonl", *lines)), "--store", pg_url, "--i-accept-loss"]
    environment = {**os.environ, "SAGACITY_LEASE": "2"}
    with subprocess.Popen(
        command, cwd=shop.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stderr is not None
        assert running.stdout is not None
        _until_something_is_committed(shop, pg_url)
        os.kill(_children(running.pid)[0], signal.SIGKILL)
        told = running.stderr.read()
        summary = dict(line.split(" ", 1) for line in running.stdout.read().splitlines())
        assert running.wait(60) == 0
    assert "started again" in told
    assert summary["committed"] == "1200"
    assert summary["locks_held"] == "0"
    assert shop.says("verify", "--store", pg_url, "--i-accept-loss").code == 0


def _until_something_is_committed(shop: Shop, url: str) -> None:
    for _ in range(500):
        if shop.says("list", "-s", "committed", "--store", url, "--i-accept-loss", "-o", "ids").lines:
            return
    raise AssertionError("nothing was ever committed")


def _children(parent: int) -> list[int]:
    told = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(child) for child in told]


@pytest.mark.parametrize("given", ["postgres"])
def test_a_private_server_is_made_migrated_and_found_again(
    shop: Shop, given: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    request.applymarker(pytest.mark.postgres)
    said = shop.run("Sale", {"sale_id": "s1", "amount": "1"}, more=("--store", given))
    assert said.code == 0
    assert said.numbers["committed"] == "1"
    again = shop.says("show", "s1", "--store", given)
    assert again.code == 0
    assert "--store postgres" in again.out
