"""Anchors: sent away at least once and in order, resumed by anybody, and held against the store."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import orjson
import pytest

from benchmarks.fill import fill
from sagacity.anchor import Anchor, anchor_of, read_anchors
from sagacity.errors import ConfigError, HistoryLost, SinkUnavailable
from sagacity.model.unit import ChainHead
from sagacity.runtime.anchoring import Anchoring
from sagacity.runtime.keys import read_key, write_key
from sagacity.runtime.sinks import FileSink, HttpSink, Sink, sink_of
from sagacity.store.base import Store
from sagacity.store.open import open_store
from sagacity.testing import running
from tests.runtime.conftest import House
from tests.runtime.flows import Errand

KEY = b"k" * 32


@asynccontextmanager
async def filled(path: Path, sagas: int = 2, *, chains: int = 2) -> AsyncIterator[Store]:
    url = f"sqlite:///{path}"
    await fill(url, sagas, chains=chains)
    store = open_store(url, accept_loss=True)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


class Address(ThreadingHTTPServer):
    """A far side that keeps what it is sent."""

    def __init__(self) -> None:
        self.kept: list[bytes] = []
        self.refuses = False
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/anchors"


class _Handler(BaseHTTPRequestHandler):
    server: Address

    def do_GET(self) -> None:
        self.send_response(200 if self.server.kept else 404)
        self.end_headers()
        self.wfile.write(b"".join(self.server.kept))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not self.server.refuses:
            self.server.kept.append(body)
        self.send_response(503 if self.server.refuses else 204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def address() -> Iterator[Address]:
    server = Address()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


class Watched(FileSink):
    """A file that says when something was kept."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.kept = asyncio.Event()

    async def append(self, lines: bytes) -> None:
        await super().append(lines)
        self.kept.set()


def lines_in(content: bytes, kind: str) -> list[tuple[int, int]]:
    told = [orjson.loads(line) for line in content.splitlines()]
    return [(line["chain"], line["position"]) for line in told if line["kind"] == kind]


async def test_every_line_goes_along_in_order_and_only_what_is_new_goes_again(tmp_path: Path) -> None:
    place = tmp_path / "sink.jsonl"
    async with filled(tmp_path / "store.db") as store:
        heads = await store.heads()
        expected = [(head.id, n) for head in heads for n in range(1, head.position + 1)]
        first = await Anchoring(store, FileSink(place), KEY, lines=True).send()
        assert first.lines == len(expected)
        assert lines_in(place.read_bytes(), "line") == expected
        again = await Anchoring(store, FileSink(place), KEY, lines=True).send()
        assert again.lines == 0
    assert place.stat().st_mode & 0o777 == 0o600


async def test_whoever_died_in_the_middle_is_continued_and_repeats_are_the_same_lines(tmp_path: Path) -> None:
    place = tmp_path / "sink.jsonl"
    async with filled(tmp_path / "store.db") as store:
        await Anchoring(store, FileSink(place), KEY, lines=True).send()
        whole = place.read_bytes()
        place.write_bytes(whole[: len(whole) // 2])  # no anchor yet, and its last line is torn
        await Anchoring(store, FileSink(place), KEY, lines=True).send()
    content = place.read_bytes()
    told = {line for line in whole.splitlines() if b'"kind":"line"' in line}
    kept = [line for line in content.splitlines() if line in told]
    assert set(kept) == told
    assert len(kept) > len(told)  # at least once
    assert len(read_anchors(content.splitlines(), tenant="main", lane="live")) == 1


async def test_an_address_is_as_good_as_a_file(tmp_path: Path, address: Address) -> None:
    async with filled(tmp_path / "store.db") as store:
        sending = Anchoring(store, HttpSink(address.url), KEY, lines=True)
        heads = await store.heads()
        assert (await sending.send()).lines == sum(head.position for head in heads)
        assert (await sending.send()).lines == 0
        await sending.check()
        address.refuses = True
        with pytest.raises(SinkUnavailable):
            await sending.send()


async def test_two_that_send_at_once_do_not_send_twice(tmp_path: Path) -> None:
    place = tmp_path / "sink.jsonl"
    async with filled(tmp_path / "store.db") as store:
        async with FileSink(place).held() as ours:
            assert ours
            assert (await Anchoring(store, FileSink(place), KEY).send()).anchor is None
        assert (await Anchoring(store, FileSink(place), KEY).send()).anchor is not None


async def test_a_store_that_is_behind_its_anchor_is_refused(tmp_path: Path) -> None:
    sink: Sink = sink_of(str(tmp_path / "sink.jsonl"))
    async with filled(tmp_path / "long.db", 4, chains=1) as store:
        await Anchoring(store, sink, KEY).send()
    async with filled(tmp_path / "short.db", 2, chains=1) as store:
        with pytest.raises(HistoryLost, match="lines were lost by a restore or failover"):
            await Anchoring(store, sink, KEY).check()
        with pytest.raises(HistoryLost):
            await Anchoring(store, sink, KEY).send()
        await Anchoring(store, sink, KEY, strict=False).check()
    async with filled(tmp_path / "other.db", 6, chains=1) as store:
        with pytest.raises(HistoryLost, match="another line at"):
            await Anchoring(store, sink, KEY).check()
        with pytest.raises(ConfigError, match="another key"):
            await Anchoring(store, sink, b"x" * 32).check()


async def test_a_worker_sends_anchors_and_does_not_start_behind_them(house: House, tmp_path: Path) -> None:
    app = await house.open(Errand)
    sink = Watched(tmp_path / "sink.jsonl")

    async def anchors() -> list[Anchor]:
        return read_anchors(await sink.anchors(), tenant=app.store.tenant, lane="live")

    sending = Anchoring(app.store, sink, KEY)
    async with running(house.worker(anchoring=sending, anchor_every=timedelta(milliseconds=10))):
        async with asyncio.timeout(30):
            await sink.kept.wait()
    assert (await anchors())[-1].fault(KEY) is None

    lost = ChainHead(id=1, epoch=1, position=1_000_000, hash=b"x" * 32)
    made = anchor_of([lost], tenant=app.store.tenant, lane="live", at=await app.store.now(), key=KEY)
    await sink.append(made.line())
    with pytest.raises(HistoryLost, match="lines were lost"):
        await house.worker(anchoring=sending).run()


def test_a_key_is_made_once_and_read_by_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "anchor.key"
    write_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(read_key(path)) == 32
    with pytest.raises(ConfigError, match="is there already"):
        write_key(path)
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_key(path)
    path.write_text("no key\n")
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="holds no key"):
        read_key(path)
    with pytest.raises(ConfigError, match="--new-key"):
        read_key(tmp_path / "missing.key")
