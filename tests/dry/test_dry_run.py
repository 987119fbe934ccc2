"""One dry run: the real engine on live data, and nothing happens."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from sagacity.audit import verify
from sagacity.definition.project import Project
from sagacity.dry import Arrival, Report, Script, dry_run
from sagacity.dry.shelf import stored_report
from sagacity.errors import InputError, NotFound
from sagacity.ids import new_id
from sagacity.model.record import Status
from sagacity.orchestrator import Orchestrator
from sagacity.runtime.worker import Worker
from sagacity.testing import mocked, running, settled
from tests.dry.flows import PlainSale, Prices, Sale, Theatre

HAMLET = {"show": "hamlet"}


@pytest.fixture
async def app(tmp_path: Path) -> Any:
    async with await Orchestrator.open(
        f"sqlite:///{tmp_path}/live.db", project=Project.of(Sale, PlainSale), accept_loss=True
    ) as app:
        yield app


def moves(report: Report) -> list[tuple[str, str]]:
    return [(move.kind, move.name) for move in report.path]


def _worker(app: Orchestrator) -> Worker:
    return Worker(app.store, app.project.flows, app.project.participants, externals=mocked(Theatre, Prices))


async def dump(app: Orchestrator) -> list[Any]:
    """Every row of the live lane."""
    store = app.store
    heads = await store.heads()
    return [
        heads,
        [row async for row in store.rows_by_saga(heads)],
        [row async for row in store.sagas_whole()],
        [state async for state in store.objects_whole()],
        await store.notices(limit=100),
        await store.workers(),
    ]


async def test_a_dry_run_takes_the_path_and_calls_nobody() -> None:
    report = await dry_run(Sale, HAMLET, here=True)
    assert (report.verdict, report.ok) == ("would commit", True)
    assert moves(report) == [
        ("started", "Sale"),
        ("completed", "take_seat"),
        ("signalled", "consent"),
        ("completed", "enter"),
        ("committed", ""),
    ]
    assert [(c.external, c.call, c.outcome, c.provenance) for c in report.calls] == [
        ("theatre", "book", "done", "declared"),
        ("prices", "price", "read", "declared"),
    ]
    assert report.calls[0].key == f"main:dry:{report.run}:take_seat"
    [changed] = report.objects
    assert (changed.object, changed.before, changed.after) == ("till:main", "null", '{"takings":"12.50"}')


async def test_plain_steps_wait_in_their_threads_and_time_stands_still() -> None:
    report = await dry_run(PlainSale, HAMLET, here=True)
    assert report.verdict == "would commit"
    assert [c.call for c in report.calls] == ["book", "price", "price"]
    late = await dry_run(PlainSale, HAMLET, faults=["effect take_seat: late"], here=True)
    assert (late.verdict, late.standing, late.seconds > 5) == ("would commit", (), True)


async def test_two_runs_of_one_script_are_the_same(app: Orchestrator) -> None:
    first, second = [
        await dry_run(Sale, HAMLET, faults=["effect take_seat: silent"], here=True) for _ in range(2)
    ]
    assert moves(first) == moves(second)
    assert first.run != second.run
    assert [move.at for move in first.path] == [move.at for move in second.path]


async def test_the_live_lane_is_read_and_stays_as_it_is(app: Orchestrator) -> None:
    async with running(_worker(app)):
        real = await app.start(Sale, HAMLET)
        await settled(app, real.id)
        await app.signal(real.id, "manager", {"approved": True})
        await settled(app, real.id)
    holder = await app.start(Sale, {"show": "lear"})
    async with running(
        Worker(app.store, app.project.flows, app.project.participants, externals=mocked(Theatre))
    ):
        await settled(app, holder.id)
    before = await dump(app)

    report = await dry_run("Sale", HAMLET, app=app, here=True)

    assert await dump(app) == before
    assert report.objects[0].before == '{"takings":"12.50"}'
    assert report.objects[0].after == '{"takings":"25.00"}'
    [lock] = report.locks
    [place] = lock.waits_for
    assert (lock.object, place.saga, place.key, place.held) == ("till:main", holder.id, "lear", True)
    assert "would wait for 1 saga" in report.text()


async def test_what_is_stored_is_in_its_own_lane_and_verifies(app: Orchestrator) -> None:
    scenes: list[list[str]] = [
        [],
        ["effect take_seat: refused"],
        ["wait consent: missing", "undo take_seat: refused"],
    ]
    reports = [await dry_run(Sale, HAMLET, app=app, faults=faults, here=True) for faults in (*scenes, [])]
    assert [r.verdict for r in reports] == [
        "would commit",
        "would roll back",
        "would be stuck",
        "would commit",
    ]
    for report in reports:
        assert await stored_report(app.store, report.run) == report
    dry = app.store.beside("dry")
    assert await dry.counts() == {Status.COMMITTED: 2, Status.ROLLED_BACK: 1, Status.STUCK: 1}
    verdict = await verify(dry)
    assert (verdict.sagas, verdict.findings) == (4, ())
    assert await app.counts() == {}
    assert await app.store.workers() == []
    assert (await verify(app.store)).lines == 0
    with pytest.raises(NotFound):
        await stored_report(app.store, new_id())


async def test_a_changed_line_of_a_dry_run_is_found(app: Orchestrator, tmp_path: Path) -> None:
    await dry_run(Sale, HAMLET, app=app, here=True)
    with sqlite3.connect(tmp_path / "live.db") as other:
        triggers = other.execute("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'log'")
        for (name,) in triggers.fetchall():
            other.execute(f"DROP TRIGGER {name}")
        other.execute("UPDATE log SET data = replace(data, 'would commit', 'would roll back')")
    other.close()
    found = (await verify(app.store.beside("dry"))).findings
    assert found
    assert {f.check for f in found} == {"chain"}


async def test_a_mock_that_lacks_a_call_is_refused_with_the_line_that_called() -> None:
    class Half:
        def free(self, show: str) -> None:
            return None

    report = await dry_run(Sale, HAMLET, mocks={Theatre: Half}, here=True)
    assert (report.verdict, report.objects) == ("refused", ())
    [refusal] = report.refusals
    assert refusal.what == "nothing answers theatre.book: Half has no such method"
    assert "tests/dry/flows.py:" in refusal.where
    assert refusal.where.endswith("in take_seat")


async def test_in_a_plain_step_the_line_is_that_of_its_thread() -> None:
    class Half:
        def free(self, show: str) -> None:
            return None

    report = await dry_run(PlainSale, HAMLET, mocks={"theatre": Half()}, here=True)
    assert report.refusals[0].where.endswith("in take_seat")


async def test_an_answer_of_another_type_is_refused_with_the_line_of_the_mock() -> None:
    class Wrong(Theatre.Mock):
        def book(self, show: str) -> Any:
            return {"number": "the best"}

    report = await dry_run(Sale, HAMLET, mocks={Theatre: Wrong}, here=True)
    assert report.verdict == "refused"
    [refusal] = report.refusals
    assert "theatre.book does not fit: number" in refusal.what
    assert refusal.where.startswith("tests/dry/test_dry_run.py:")
    assert refusal.where.endswith("in book")


async def test_a_mapping_that_fits_is_made_the_declared_type() -> None:
    class Mapped(Theatre.Mock):
        def book(self, show: str) -> Any:
            return {"number": 3}

    report = await dry_run(Sale, HAMLET, mocks={Theatre: Mapped}, here=True)
    assert (report.verdict, report.calls[0].provenance, report.calls[0].answer) == (
        "would commit", "given", '{"number":3}',
    )  # fmt: skip


async def test_a_script_says_what_comes_and_when() -> None:
    no = Script(signals={"consent": Arrival(data={"approved": False, "comment": "too dear"})})
    refused = await dry_run(Sale, HAMLET, script=no, here=True)
    assert (refused.verdict, refused.why) == ("would roll back", "manager was refused: too dear")
    silent = await dry_run(Sale, HAMLET, script=Script(signals={"consent": Arrival(never=True)}), here=True)
    assert silent.verdict == "would roll back"
    assert silent.seconds == pytest.approx(2 * 86400, abs=10)
    assert [c.call for c in silent.calls] == ["book", "free"]


async def test_a_fault_that_never_came_up_is_told() -> None:
    report = await dry_run(Sale, HAMLET, faults=["undo take_seat: lost"], here=True)
    assert report.missed == ("undo take_seat: lost",)
    assert "never came up" in report.text()


async def test_a_worker_that_dies_is_followed_by_another() -> None:
    report = await dry_run(Sale, HAMLET, faults=["crash completed take_seat: before"], here=True)
    assert report.verdict == "would commit"
    assert report.standing == ()
    assert ("interrupted", "") in moves(report)
    assert [c.outcome for c in report.calls] == ["done", "repeat", "read"]


async def test_the_report_fits_the_screen_and_says_what_was_not_taken() -> None:
    text = (await dry_run(Sale, HAMLET, faults=["wait consent: missing"], here=True)).text()
    assert max(len(line) for line in text.splitlines()) <= 80
    for said in (
        "DRY RUN  Sale version 1",
        "would roll back",
        "takes take_seat back",
        "Nothing has been changed",
    ):
        assert said in text
    assert "manager comes (consent) → approved" in text


async def test_what_no_fault_is_called_is_refused() -> None:
    for text in ("effect take_seat", "effect take_seat: explodes", "nonsense x: lost", "effect a: lost #x"):
        with pytest.raises(InputError):
            await dry_run(Sale, HAMLET, faults=[text], here=True)
