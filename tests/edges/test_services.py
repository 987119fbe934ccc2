"""The outside services, as processes: once per key, never after their own undo, hooks until acknowledged."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest

from sagas.services.app import bank_refuses
from sagas.services.ledger import SERVICES, doubled, moved, read_ledger, read_ledgers, standing

ROOT = Path(__file__).parents[2]
PATIENCE = 15.0
ORDERS = [
    {"order_id": "good", "status": "delivered", "approved_at": "2025-03-01T10:00:00Z"},
    {
        "order_id": "early",
        "status": "delivered",
        "approved_at": "2025-03-01T10:00:00Z",
        "carrier_at": "2025-03-01T09:00:00Z",
        "delivered_at": "2025-03-02T09:00:00Z",
    },
    {"order_id": "gone", "status": "unavailable", "approved_at": "2025-03-01T10:00:00Z"},
    {"order_id": "declined", "status": "canceled"},
    {"order_id": "off", "status": "canceled", "approved_at": "2025-03-01T10:00:00Z"},
    {"order_id": "still", "status": "created"},
]


class Running:
    """The services of one test: addresses, and calls with the headers that an effect carries."""

    def __init__(self, process: subprocess.Popen[str], urls: dict[str, str], client: httpx2.Client) -> None:
        self.process = process
        self.urls = urls
        self._client = client

    def post(
        self, service: str, path: str, key: str, body: dict[str, Any], *, undoes: str | None = None
    ) -> httpx2.Response:
        headers = {"Idempotency-Key": key} | ({"Undoes": undoes} if undoes else {})
        return self._client.post(f"{self.urls[service]}{path}", json=body, headers=headers)

    def get(self, service: str, path: str) -> Any:
        return self._client.get(f"{self.urls[service]}{path}").raise_for_status().json()

    def point_hooks_at(self, url: str | None) -> None:
        for address in self.urls.values():
            self._client.put(f"{address}/hooks", json={"url": url}).raise_for_status()

    def owed(self) -> int:
        return sum(self.get(service, "/pending")["owed"] for service in self.urls)


class Receiver:
    """A small HTTP server that answers hooks as `answer` says and keeps what it was sent."""

    def __init__(self, answer: Callable[[dict[str, Any], int], int]) -> None:
        self.seen: list[dict[str, Any]] = []
        self.accepted: list[dict[str, Any]] = []
        self._answer = answer
        self._lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                status = receiver.take(self.path, json.loads(body))
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Keep the test's output clean."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def take(self, path: str, signal_: dict[str, Any]) -> int:
        with self._lock:
            assert path == "/v1/signals"
            self.seen.append(signal_)
            status = self._answer(signal_, len(self.seen))
            if status < 300:
                self.accepted.append(signal_)
            return status

    def names(self, order_id: str) -> list[str]:
        return [taken["name"] for taken in self.accepted if taken["key"] == order_id]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def receiving(answer: Callable[[dict[str, Any], int], int] = lambda *_: 202) -> Iterator[Receiver]:
    receiver = Receiver(answer)
    try:
        yield receiver
    finally:
        receiver.close()


@contextmanager
def services(ledger: Path, *options: str) -> Iterator[Running]:
    orders = ledger.parent / "orders.jsonl"
    orders.write_text("".join(json.dumps(order) + "\n" for order in ORDERS))
    command = [
        sys.executable,
        "-m",
        "sagas.services",
        "--input",
        str(orders),
        "--ledger",
        str(ledger),
        *options,
    ]
    with (
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process,
        httpx2.Client(trust_env=False, timeout=PATIENCE) as client,
    ):
        assert process.stdout is not None
        try:
            yield Running(process, json.loads(process.stdout.readline()), client)
        finally:
            process.terminate()
            process.wait(PATIENCE)


def until(holds: Callable[[], bool]) -> None:
    """Wait for a fact about another process, at most `PATIENCE` seconds."""
    pause = threading.Event()
    for _ in range(int(PATIENCE / 0.02)):
        if holds():
            return
        pause.wait(0.02)
    raise AssertionError("it never came true")


def is_listening(url: str) -> bool:
    host, port = url.removeprefix("http://").split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Path]]:
    """Services for tests that only need keys and orders of their own."""
    ledger = tmp_path_factory.mktemp("world") / "ledger"
    with services(ledger, "--bank-refuses", "0.5", "--slow", "0.5") as running:
        yield running, ledger


CHARGE = {"order_id": "good", "customer_id": "c-1", "amount": "12.50"}


def test_a_repeated_key_gets_the_same_answer_and_lands_once(shared: tuple[Running, Path]) -> None:
    running, ledger = shared

    first = running.post("payments", "/charges", "repeat-1", CHARGE)
    again = running.post("payments", "/charges", "repeat-1", CHARGE)

    assert first.status_code == again.status_code == 201
    assert first.json() == again.json() == {"charge_id": first.json()["charge_id"], "amount": "12.50"}
    lines = [line for line in read_ledger(ledger / "payments.jsonl") if line.key == "repeat-1"]
    assert [(line.kind, line.amount) for line in lines] == [("done", "12.50"), ("repeat", "12.50")]
    assert running.get("payments", "/effects/repeat-1") == {"landed": True, "answer": first.json()}
    assert running.get("payments", "/effects/never-seen") == {"landed": False}


def test_a_key_used_for_something_else_is_refused_and_nothing_lands(shared: tuple[Running, Path]) -> None:
    running, ledger = shared
    running.post("payments", "/charges", "other-1", CHARGE)

    answer = running.post("payments", "/charges", "other-1", CHARGE | {"amount": "99.00"})

    assert answer.status_code == 422
    assert "already stands for another call" in answer.json()["detail"]
    assert [line.amount for line in read_ledger(ledger / "payments.jsonl") if line.key == "other-1"] == [
        "12.50"
    ]


def test_an_undo_lands_once_under_whatever_key(shared: tuple[Running, Path]) -> None:
    running, ledger = shared
    running.post("carrier", "/bookings", "undo-1", {"order_id": "still"})

    for key in ("undo-1-u", "undo-1-u", "undo-1-v"):
        answer = running.post("carrier", "/cancellations", key, {"order_id": "still"}, undoes="undo-1")
        assert (answer.status_code, answer.json()) == (200, {"undone": True})

    lines = read_ledger(ledger / "carrier.jsonl")
    assert [line.kind for line in lines if line.undoes == "undo-1"] == ["undone", "repeat", "repeat"]
    assert "still" not in standing(lines)
    assert doubled(lines) == []


def test_an_undo_of_nothing_bars_the_call_that_comes_late(shared: tuple[Running, Path]) -> None:
    running, ledger = shared

    undo = running.post("warehouse", "/releases", "late-u", {"order_id": "good"}, undoes="late-1")
    late = running.post("warehouse", "/reservations", "late-1", {"order_id": "good"})
    again = running.post("warehouse", "/reservations", "late-1", {"order_id": "good"})

    assert (undo.status_code, undo.json()) == (200, {"undone": False})
    assert late.status_code == again.status_code == 409
    assert "came before it" in late.json()["detail"]
    assert running.get("warehouse", "/effects/late-1") == {"landed": False}
    kinds = [line.kind for line in read_ledger(ledger / "warehouse.jsonl") if "late" in line.key]
    assert kinds == ["empty", "late", "repeat"]


def test_an_undo_that_overtakes_a_slow_call_bars_it(shared: tuple[Running, Path]) -> None:
    running, ledger = shared
    answers: list[httpx2.Response] = []
    deprovision = threading.Thread(
        target=lambda: answers.append(
            running.post("clusters", "/deprovisions", "slow-1", {"cluster_id": "slow"})
        )
    )

    deprovision.start()
    until(lambda: running.get("clusters", "/pending")["owed"] == 1)
    undo = running.post("clusters", "/provisions", "slow-u", {"cluster_id": "slow"}, undoes="slow-1")
    deprovision.join()

    assert undo.json() == {"cluster_id": "slow", "undone": False}
    assert answers[0].status_code == 409
    assert "slow" not in standing(read_ledger(ledger / "clusters.jsonl"))


def test_the_status_of_the_order_decides_who_refuses(shared: tuple[Running, Path]) -> None:
    running, ledger = shared

    gone = running.post("warehouse", "/reservations", "status-1", {"order_id": "gone"})
    declined = running.post("payments", "/charges", "status-2", CHARGE | {"order_id": "declined"})
    undo = running.post(
        "payments", "/refunds", "status-2-u", {"order_id": "declined", "amount": "12.50"}, undoes="status-2"
    )

    assert gone.status_code == declined.status_code == 409
    assert gone.headers["content-type"] == "application/problem+json"
    assert "not available" in gone.json()["detail"]
    assert "not approved" in declined.json()["detail"]
    assert undo.json() == {"undone": False}
    assert running.post("carrier", "/bookings", "status-3", {"order_id": "off"}).status_code == 201
    assert (
        running.post("warehouse", "/reservations", "status-4", {"order_id": "unheard of"}).status_code == 201
    )
    assert {"gone", "declined"}.isdisjoint(standing(read_ledgers(ledger)))


def test_the_bank_refuses_the_same_transfers_each_time_but_never_a_transfer_back(
    shared: tuple[Running, Path],
) -> None:
    running, ledger = shared
    ids = [f"t-{number}" for number in range(40)]
    for transfer_id in ids:
        body = {"transfer_id": transfer_id, "source": "a", "target": "b", "amount": "0.10"}
        answer = running.post("bank", "/transfers", f"{transfer_id}-k", body)
        assert answer.status_code == (409 if bank_refuses(transfer_id, fraction=0.5) else 201)
    refused = sum(bank_refuses(transfer_id, fraction=0.5) for transfer_id in ids)
    assert 5 < refused < 35

    for transfer_id in ids:
        body = {"transfer_id": transfer_id, "source": "b", "target": "a", "amount": "0.10"}
        back = running.post("bank", "/transfers", f"{transfer_id}-b", body, undoes=f"{transfer_id}-k")
        landed = not bank_refuses(transfer_id, fraction=0.5)
        assert (back.status_code, back.json()["undone"]) == ((201, True) if landed else (200, False))

    lines = read_ledger(ledger / "bank.jsonl")
    assert set(moved(lines).values()) == {0}
    assert standing(lines) == {}
    assert doubled(lines) == []


@pytest.mark.parametrize(
    ("path", "headers", "body", "refusal"),
    [
        ("/charges", {}, "{}", (400, "Idempotency-Key")),
        ("/refunds", {"Idempotency-Key": "bad"}, "{}", (400, "Undoes")),
        ("/charges", {"Idempotency-Key": "bad", "Undoes": "x"}, "{}", (400, "Undoes")),
        ("/charges", {"Idempotency-Key": "bad"}, "{", (422, "not JSON")),
        ("/charges", {"Idempotency-Key": "bad"}, "[]", (422, "JSON object")),
        ("/charges", {"Idempotency-Key": "bad"}, '{"order_id": "o"}', (422, "customer_id")),
        ("/charges", {"Idempotency-Key": "bad"}, json.dumps(CHARGE | {"order_id": 7}), (422, "not a string")),
    ],
)
def test_a_call_that_cannot_be_taken_says_what_to_mend(
    shared: tuple[Running, Path], path: str, headers: dict[str, str], body: str, refusal: tuple[int, str]
) -> None:
    running, _ = shared
    url = f"{running.urls['payments']}{path}"

    answer = httpx2.post(url, headers=headers, content=body, trust_env=False)

    status, said = refusal
    assert answer.status_code == status
    assert said in answer.json()["detail"]
    assert running.get("payments", "/effects/bad") == {"landed": False}


@pytest.mark.parametrize("amount", [12.5, "NaN", "Infinity", "-1", "0", "much", True, "1e99"])
def test_an_amount_that_is_not_exact_money_is_refused(shared: tuple[Running, Path], amount: object) -> None:
    running, _ = shared
    answer = running.post("payments", "/charges", "money", CHARGE | {"amount": amount})
    assert answer.status_code == 422
    assert "amount" in answer.json()["detail"]


def test_hooks_are_sent_again_until_acknowledged_and_in_order(tmp_path: Path) -> None:
    def answer(signal_: dict[str, Any], count: int) -> int:
        return 202 if count > 5 else 503

    with services(tmp_path / "ledger") as running:
        for order_id in ("good", "early", "off", "still"):
            body = CHARGE | {"order_id": order_id}
            assert running.post("payments", "/charges", f"{order_id}-c", body).status_code == 201
        assert running.owed() == 4

        with receiving(answer) as receiver:
            running.point_hooks_at(receiver.url)
            until(lambda: running.owed() == 0)
            for order_id in ("good", "early", "off", "still"):
                running.post("carrier", "/bookings", f"{order_id}-b", {"order_id": order_id})
            until(lambda: running.owed() == 0)

    assert receiver.names("good") == ["payments.approved", "carrier.handed_over", "carrier.delivered"]
    assert receiver.names("early") == ["carrier.handed_over", "payments.approved", "carrier.delivered"]
    assert receiver.names("off") == ["payments.approved", "carrier.called_off"]
    assert receiver.names("still") == []
    assert len(receiver.seen) == len(receiver.accepted) + 5
    assert {told["definition"] for told in receiver.seen} == {"Order"}
    ids = {(told["key"], told["name"]): told["id"] for told in receiver.seen}
    assert all(ids[told["key"], told["name"]] == told["id"] for told in receiver.seen)
    assert len(set(ids.values())) == len(ids) == 8


def test_a_restart_after_a_kill_keeps_keys_hooks_and_the_address(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    refund = {"order_id": "good", "amount": "12.50"}
    with receiving(lambda *_: 500) as deaf, services(ledger) as running:
        running.point_hooks_at(deaf.url)
        charge = running.post("payments", "/charges", "k", CHARGE)
        running.post("payments", "/refunds", "k-u", refund, undoes="k")
        running.post("payments", "/refunds", "x-u", refund, undoes="x")
        until(lambda: len(deaf.seen) > 1)
        os.kill(running.process.pid, signal.SIGKILL)
        running.process.wait(PATIENCE)
        until(lambda: not any(is_listening(url) for url in running.urls.values()))

    with receiving() as receiver, services(ledger) as running:
        assert running.owed() == 1
        assert running.post("payments", "/charges", "k", CHARGE).json() == charge.json()
        assert running.post("payments", "/refunds", "k-u", refund, undoes="k").json() == {"undone": True}
        assert running.post("payments", "/charges", "x", CHARGE).status_code == 409
        running.point_hooks_at(receiver.url)
        until(lambda: running.owed() == 0)
        assert [told["id"] for told in receiver.seen] == [deaf.seen[0]["id"]]

        with services(tmp_path / "other", "--hooks", receiver.url) as elsewhere:
            elsewhere.post("payments", "/charges", "k2", CHARGE)
            until(lambda: len(receiver.seen) == 2)

    entries = read_ledger(ledger / "payments.jsonl")
    assert [line.n for line in entries] == list(range(1, len(entries) + 1))
    assert [line.kind for line in entries] == ["done", "undone", "empty", "repeat", "repeat", "late"]
    assert standing(entries) == {}


def test_hooks_lost_between_the_effect_and_their_file_are_owed_again(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    with services(ledger) as running:
        running.post("payments", "/charges", "k", CHARGE)
        assert running.owed() == 1
    (ledger / "payments.hooks.jsonl").write_bytes(b"")

    with services(ledger) as running:
        assert running.owed() == 1


def test_the_services_end_cleanly_when_told_to(tmp_path: Path) -> None:
    with services(tmp_path / "ledger") as running:
        assert set(running.urls) == set(SERVICES)
        assert running.get("bank", "/health") == {"service": "bank", "healthy": True}
        body = {"transfer_id": "t", "source": "a", "target": "b", "amount": "1"}
        running.post("bank", "/transfers", "k", body)
        lines = httpx2.get(f"{running.urls['bank']}/ledger", trust_env=False).text.splitlines()
        assert [json.loads(line)["kind"] for line in lines] == ["done"]
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(PATIENCE) == 0
        assert not any(is_listening(url) for url in running.urls.values())


def test_when_one_service_is_killed_the_others_end_and_it_is_named(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sagas.services", "--ledger", str(tmp_path / "ledger")]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        urls: dict[str, str] = json.loads(process.stdout.readline())
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        bank = next(pid for pid in children if b"\0bank\0" in Path(f"/proc/{pid}/cmdline").read_bytes())
        os.kill(int(bank), signal.SIGKILL)
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert said == "sagas.services: bank ended unexpectedly: ended the other services too\n"
    assert not any(is_listening(url) for url in urls.values())


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_behind_when_the_start_is_broken_off(tmp_path: Path, told: signal.Signals) -> None:
    files = ["--ledger", str(tmp_path / "ledger")]
    command = [sys.executable, "-m", "sagas.services", *files]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        until(lambda: len(children.read_text().split()) == len(SERVICES))
        process.send_signal(told)
        # The services hold our end of stderr: this returns when the last of them has ended.
        said, complaint = process.communicate(timeout=PATIENCE)
    assert (said, complaint) == ("", "")
    assert process.returncode == (0 if told is signal.SIGTERM else -signal.SIGKILL)


def test_a_fixed_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [
            sys.executable,
            "-m",
            "sagas.services",
            "--ledger",
            str(tmp_path / "l"),
            "--ports",
            str(port),
        ]
        answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)
    assert answer.returncode == 1
    assert answer.stdout == ""
    assert f"port {port} cannot be used" in answer.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--input", "no/such/file"], "no such file"),
        (["--bank-refuses", "2"], "fraction from 0 to 1"),
        (["--slow", "-1"], "seconds"),
        (["--ports", "80"], "port from 1024"),
        (["--hooks", "somewhere"], "http://127.0.0.1:8000"),
    ],
)
def test_wrong_options_are_refused_with_the_right_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    from sagas.services.__main__ import main

    with pytest.raises(SystemExit) as ended:
        main(["--ledger", str(tmp_path), *options])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
