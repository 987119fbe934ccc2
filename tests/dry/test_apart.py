"""A process of its own: what a step tries past its externals is refused, with the line of its code."""

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pydantic import BaseModel

from sagacity import Saga, State, step
from sagacity.audit import verify
from sagacity.definition.project import Project
from sagacity.dry import Script, dry_run
from sagacity.dry.apart import Apart
from sagacity.dry.orders import Asked, Place
from sagacity.dry.shelf import stored_report
from sagacity.errors import ConfigError, InputError, UnknownDefinition
from sagacity.orchestrator import Orchestrator
from tests.dry.flows import Sale, Theatre
from tests.dry.leaky import Harmless, Leaky

WAYS = sorted(name.removeprefix("by_") for name in vars(Leaky) if name.startswith("by_"))


class Listener:
    """A service that counts who comes."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.port: int = self.socket.getsockname()[1]
        self.udp.bind(("127.0.0.1", self.port))
        self.udp.settimeout(0.05)
        self.came = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                one, _ = self.socket.accept()
                self.came += 1
                one.close()

    def datagrams(self) -> int:
        with contextlib.suppress(TimeoutError):
            self.udp.recv(10)
            return 1
        return 0

    def close(self) -> None:
        self.socket.close()
        self.udp.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    one = Listener()
    yield one
    one.close()


async def test_every_way_past_the_externals_is_refused_with_its_line(
    listener: Listener, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("here")
    told: dict[str, Any] = {}
    async with Apart.started() as stage:
        for way in WAYS:
            path = str(victim if way in ("removing", "changing") else tmp_path / "new")
            answer = await stage.ask(
                Asked(flow="tests.dry.leaky:Leaky", input={"way": way, "port": listener.port, "path": path})
            )
            assert not answer.ok, way
            told[way] = answer.text
    for way, text in told.items():
        assert "REFUSED" in text, way
        assert "tests/dry/leaky.py:" in text, way
        assert "code of yours tried to" in text, way
    assert (listener.came, listener.datagrams()) == (0, 0)
    assert victim.read_text() == "here"
    assert os.listdir(tmp_path) == ["victim"]
    assert len(WAYS) >= 15


async def test_a_client_that_a_module_opens_at_import_is_refused_there(
    listener: Listener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "warm_client.py").write_text(
        "import http.client\n"
        f"CLIENT = http.client.HTTPConnection('127.0.0.1', {listener.port})\n"
        "CLIENT.connect()\n"
        "from tests.dry.flows import Sale\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    async with Apart.started() as stage:
        with pytest.raises(ConfigError, match=r"warm_client.py:3 in <module>"):
            await stage.ask(Asked(flow="warm_client:Sale", input={"show": "lear"}))
    assert listener.came == 0


async def test_in_a_shared_process_the_thread_that_plays_is_watched(
    listener: Listener, tmp_path: Path
) -> None:
    path = str(tmp_path / "new")
    for way in ("socket", "asyncio", "to_thread", "httpx", "process", "file", "database"):
        report = await dry_run(Leaky, {"way": way, "port": listener.port, "path": path}, here=True)
        assert report.verdict == "refused", way
        assert report.refusals[0].where.startswith("tests/dry/leaky.py:"), way
    assert listener.came == 0
    assert os.listdir(tmp_path) == []
    with socket.create_connection(("127.0.0.1", listener.port)):
        (tmp_path / "ours").write_text("everybody else may go on")


async def test_what_stays_inside_is_not_refused() -> None:
    report = await dry_run(Harmless, {"name": "x"})
    assert (report.verdict, report.refusals) == ("would commit", ())


async def test_a_step_that_hangs_in_real_time_is_ended_with_its_process() -> None:
    async with Apart.started() as stage:
        with pytest.raises(TimeoutError, match="does a step hang"):
            await stage.ask(
                Asked(flow="tests.dry.leaky:Hangs", input={"name": "x"}), within=timedelta(seconds=3)
            )
        assert await asyncio.wait_for(stage._process.wait(), 30) != 0


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
async def app(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Orchestrator]:
    url = f"sqlite:///{tmp_path}/live.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("pg_url")
        from sagacity.store.migrate import upgrade_at

        await upgrade_at(url)
    async with await Orchestrator.open(url, project=Project.of(Sale), accept_loss=True) as opened:
        yield opened


def remote_ports(pid: int) -> set[int] | None:
    """The ports that a process's internet sockets are connected to; None where the system does not tell."""
    folder = f"/proc/{pid}"
    if not os.path.isdir(f"{folder}/fd"):
        return None
    links = [os.readlink(f"{folder}/fd/{name}") for name in os.listdir(f"{folder}/fd")]
    ours = {link[8:-1] for link in links if link.startswith("socket:[")}
    found: set[int] = set()
    for kind in ("tcp", "tcp6", "udp", "udp6"):
        with open(f"{folder}/net/{kind}", encoding="ascii") as table:
            rows = [line.split() for line in table.readlines()[1:]]
        found |= {int(row[2].rpartition(":")[2], 16) for row in rows if row[9] in ours}
    return found


async def test_the_only_open_socket_is_the_stores(app: Orchestrator) -> None:
    assert app.opened is not None
    url = app.opened[0]
    async with Apart.started(Place(url=url, accept_loss=True)) as stage:
        await stage.ask(Asked(flow="tests.dry.flows:Sale", input={"show": "lear"}))
        connected = await asyncio.to_thread(remote_ports, stage._process.pid)
    port = urlsplit(url).port
    assert connected is None or connected == ({port} if port else set())


async def test_a_run_from_a_process_of_its_own_is_stored_and_verifies(app: Orchestrator) -> None:
    script = Script(faults=("effect take_seat: lost",))
    report = await dry_run("Sale", {"show": "lear"}, app=app, script=script)
    assert report.verdict == "would commit"
    assert await stored_report(app.store, report.run) == report
    verdict = await verify(app.store.beside("dry"))
    assert (verdict.sagas, verdict.findings) == (1, ())
    assert await app.counts() == {}
    assert await app.store.workers() == []


async def test_a_module_of_mocks_answers_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_mocks.py").write_text(
        "class Theatre:\n    def book(self, show):\n        return {'number': 99}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    report = await dry_run(Sale, {"show": "lear"}, mocks="my_mocks")
    assert (report.calls[0].provenance, report.calls[0].answer) == ("given", '{"number":99}')
    with pytest.raises(ConfigError, match="no module"):
        await dry_run(Sale, {"show": "lear"}, mocks="not_there")


async def test_what_cannot_be_handed_over_is_refused_before_a_process_is_started() -> None:
    class Local(Saga, version=1):
        class Input(BaseModel):
            show: str

        asked = State(initial=True)
        done = State(final=True)
        go = asked.to(done)

        @step(go)
        def nothing(self, asked: Input) -> None:
            return None

    with pytest.raises(ConfigError, match="here=True"):
        await dry_run(Local, {"show": "lear"})
    with pytest.raises(ConfigError, match="module's name"):
        await dry_run(Sale, {"show": "lear"}, mocks={Theatre: Theatre.Mock})
    with pytest.raises(InputError):
        await dry_run(Sale, {"shoe": "lear"})
    async with Apart.started() as stage:
        with pytest.raises(UnknownDefinition):
            await stage.ask(Asked(flow="tests.dry.flows:Nothing", input={}))
