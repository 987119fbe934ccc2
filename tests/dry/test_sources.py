"""Where answers come from: recorded ones, generated ones, and reads that are made for real."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import httpx2
import pytest
from pydantic import BaseModel, Field

from sagacity import External, ExternalSettings, Saga, State, effect, read, step
from sagacity.definition.project import Project
from sagacity.dry import Script, dry_run
from sagacity.errors import ConfigError
from sagacity.orchestrator import Orchestrator
from sagacity.runtime.worker import Worker
from sagacity.testing import mocked, running, settled
from sagacity.web.api import create_app


class Card(BaseModel):
    number: str
    holder: str
    left: Annotated[int, Field(ge=1, le=9)]
    kind: Literal["debit", "credit"]


class Vault(External, record=True, secrets=("number",)):
    @effect(inverse="shred")
    async def issue(self, name: str, *, key: str) -> Card:
        raise AssertionError("a dry run called the real vault")

    @effect(safe_on_nothing=True)
    async def shred(self, card: Card | None, *, undoes: str) -> None:
        raise AssertionError("a dry run called the real vault")

    class Mock:
        def issue(self, name: str) -> Card:
            return Card(number="4000-never-shown", holder=f"mock {name}", left=3, kind="debit")

        def shred(self, card: Card | None) -> None:
            return None


class Rates(External):
    """Answers a line that it gets from a server; asking is safe."""

    def __init__(self, port: int) -> None:
        self.port = port

    @classmethod
    async def connect(cls, settings: ExternalSettings) -> Self:
        return cls(int((settings.url or "").rpartition(":")[2]))

    @read(safe=True)
    async def rate(self) -> Decimal:
        reader, writer = await asyncio.open_connection("localhost", self.port)
        said = await reader.readline()
        writer.close()
        return Decimal(said.decode())

    @read
    async def costly(self) -> Decimal:
        raise AssertionError("a dry run asked what is not said to be safe")

    class Mock:
        def rate(self) -> Decimal:
            return Decimal("1.5")

        def costly(self) -> Decimal:
            return Decimal(2)


class Named(BaseModel):
    name: str


class Issue(Saga, version=1, key="name"):
    class Input(Named):
        pass

    asked = State(initial=True)
    priced = State()
    issued = State(final=True)
    price = asked.to(priced)
    give = priced.to(issued)

    @step(price)
    async def ask(self, given: Input, rates: Rates) -> Decimal:
        return await rates.rate() * await rates.costly()

    @step(give, undo=Vault.shred)
    async def issue(self, given: Input, vault: Vault) -> Card:
        return await vault.issue(given.name)


class HalfAVault:
    """A mock that lacks `issue`."""

    def shred(self, card: Card | None) -> None:
        return None


ANNA = {"name": "anna"}


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[Orchestrator]:
    url = f"sqlite:///{tmp_path}/live.db"
    async with await Orchestrator.open(url, project=Project.of(Issue), accept_loss=True) as app:
        yield app


async def _over_http(app: Orchestrator, body: dict[str, Any]) -> Any:
    """The answer of `POST /v1/dry-runs`."""
    transport = httpx2.ASGITransport(app=create_app(app))
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=100) as client:
        answer = await client.post("/v1/dry-runs", json={"definition": "Issue", **body})
        assert answer.status_code == 201, answer.text
        return answer.json()


def _provenances(told: Any) -> tuple[set[str], set[str]]:
    """Where the answers of reads and of effects came from."""
    reads = {call["provenance"] for call in told["calls"] if call["kind"] == "read"}
    return reads, {call["provenance"] for call in told["calls"] if call["kind"] == "effect"}


async def _issued_for_real(app: Orchestrator) -> None:
    worker = Worker(app.store, app.project.flows, app.project.participants, externals=mocked(Vault, Rates))
    async with running(worker):
        handle = await app.start(Issue, {"name": "berta"})
        await settled(app, handle.id)


async def test_the_newest_real_answer_answers_where_it_is_asked_for_with_its_secrets_blotted_out(
    app: Orchestrator,
) -> None:
    await _issued_for_real(app)
    plain = await dry_run(Issue, ANNA, app=app, here=True)
    assert [c.provenance for c in plain.calls if c.call == "issue"] == ["declared"]
    report = await dry_run(Issue, ANNA, app=app, here=True, recorded=True)
    (call,) = [call for call in report.calls if call.call == "issue"]
    assert call.provenance == "recorded"
    assert call.answer is not None
    assert Card.model_validate_json(call.answer).holder == "mock berta"
    assert "4000-never-shown" not in report.json()
    assert call.age is not None
    assert call.age >= 0
    assert "recorded answer, " in report.text()


async def test_a_recorded_answer_is_asked_for_over_http_too(app: Orchestrator) -> None:
    await _issued_for_real(app)
    told = await _over_http(app, {"input": ANNA, "recorded": True, "generate": True})
    assert _provenances(told) == ({"declared"}, {"recorded"})
    assert "4000-never-shown" not in str(told)


async def test_nothing_is_recorded_of_an_external_that_does_not_say_so(
    app: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _issued_for_real(app)
    monkeypatch.setattr(Vault, "record", False)
    report = await dry_run(Issue, ANNA, app=app, here=True, recorded=True)
    assert [c.provenance for c in report.calls if c.call == "issue"] == ["declared"]


async def _generated(seed: int, **more: Any) -> Any:
    script = Script(seed=seed)
    return await dry_run(Issue, ANNA, mocks={Vault: HalfAVault()}, script=script, here=True, **more)


async def test_what_nobody_mocks_is_refused_unless_it_is_to_be_generated() -> None:
    assert (await _generated(1)).verdict == "refused"
    report = await _generated(1, generate=True)
    assert report.verdict == "would commit"
    (call,) = [call for call in report.calls if call.call == "issue"]
    assert call.provenance == "generated"
    Card.model_validate_json(call.answer)
    assert "GENERATED answer" in report.text()


async def test_a_generated_answer_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    answers = [
        [c.answer for c in (await _generated(seed, generate=True)).calls if c.call == "issue"]
        for seed in (1, 1, 2)
    ]
    assert answers[0] == answers[1] != answers[2]


async def test_a_safe_read_is_made_for_real_only_where_the_run_asks(
    app: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0

    async def tell(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        writer.write(b"7.25\n")
        writer.close()

    async with await asyncio.start_server(tell, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setenv("SAGACITY_RATES_URL", f"http://localhost:{port}")
        plain = await dry_run(Issue, ANNA, app=app)
        assert (plain.verdict, asked) == ("would commit", 0)
        report = await dry_run(Issue, ANNA, app=app, real_reads=True)
        over_http = await _over_http(app, {"input": ANNA, "real_reads": True})
    assert _provenances(over_http) == ({"real", "declared"}, {"declared"}), "as from Python"
    assert asked == 2
    assert (report.verdict, report.refusals) == ("would commit", ())
    told = {call.call: (call.provenance, call.answer) for call in report.calls}
    assert told["rate"] == ("real", '"7.25"')
    assert told["costly"] == ("declared", '"2"')
    assert told["issue"][0] == "declared"


async def test_reads_are_not_made_for_real_in_the_callers_own_process() -> None:
    with pytest.raises(ConfigError, match="process of its own"):
        await dry_run(Issue, ANNA, here=True, real_reads=True)
