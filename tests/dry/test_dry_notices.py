"""What a dry run would have told goes out stamped DRY, to the dry outlet and to nobody else."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from sagacity.definition.project import Project
from sagacity.dry import dry_run
from sagacity.dry.telling import tell_outlets
from sagacity.errors import ConfigError, Refused
from sagacity.model.unit import Notice
from sagacity.orchestrator import Orchestrator
from sagacity.runtime.outlets import Outlets
from sagacity.runtime.webhook import HookSettings, signature
from sagacity.runtime.worker import Worker
from sagacity.testing import PATIENCE, mocked, running, until
from tests.dry.flows import Prices, Sale, Theatre
from tests.dry.test_dry_cli import Desk, desk
from tests.runtime.receiver import Receiver

__all__ = ["desk"]

LIVE, DRY = "the secret of the live hook", "the secret of the dry hook"
HAMLET = {"show": "hamlet"}
STUCK = ("effect take_seat: lost", "wait consent: missing", "undo take_seat: refused")


class Ears:
    """A listener, which notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []

    def __call__(self, notice: Notice) -> None:
        self.told.append((notice.kind, json.loads(notice.data)))


class Closed(Theatre.Mock):
    """It sells, and takes nothing back."""

    async def free(self, show: str) -> None:
        raise Refused(f"no seat of {show} is taken back")


@pytest.fixture
def live() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def dry() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[Orchestrator]:
    url = f"sqlite:///{tmp_path}/live.db"
    async with await Orchestrator.open(url, project=Project.of(Sale), accept_loss=True) as app:
        yield app


def hook(receiver: Receiver, secret: str, **more: Any) -> HookSettings:
    return HookSettings(url=f"{receiver.url}/hook", secret=secret, **more)


async def waiting(app: Orchestrator) -> int:
    return (await app.store.beside("dry").gauges()).unsent


async def none_waits(app: Orchestrator) -> bool:
    return await waiting(app) == 0


async def test_a_worker_tells_the_dry_outlet_of_dry_runs_and_the_live_one_of_none(
    app: Orchestrator, live: Receiver, dry: Receiver
) -> None:
    ended = await dry_run(Sale, HAMLET, app=app, here=True, notices=True)
    stuck = await dry_run(Sale, {"show": "faust"}, app=app, here=True, notices=True, faults=STUCK)
    assert (ended.verdict, stuck.verdict) == ("would commit", "would be stuck")
    heard, dryly = Ears(), Ears()
    worker = Worker(
        app.store,
        app.project.flows,
        app.project.participants,
        externals=mocked(Theatre, Prices),
        listeners=(heard,),
        hook=hook(live, LIVE),
        dry=Outlets(listeners=(dryly,), hook=hook(dry, DRY, lane="dry")),
    )
    async with running(worker):
        handle = await app.start(Sale, {"show": "lear"})
        await app.signal(handle.id, "manager", {"approved": True})
        await handle.outcome(timeout=PATIENCE)
        await until(lambda: none_waits(app))
        await until(lambda: heard.told)
    assert {(kind, said["key"]) for kind, said in heard.told} == {("committed", "lear")}
    assert live.got == [], "the stuck one was only rehearsed"
    assert {(kind, said["key"]) for kind, said in dryly.told} == {
        ("dry.committed", "hamlet"),
        ("dry.stuck", "faust"),
    }
    assert {(said["lane"], said["stamp"]) for _, said in dryly.told} == {("dry", "DRY")}
    assert {said["run"] for _, said in dryly.told} == {str(ended.run), str(stuck.run)}
    assert {m["kind"] for m in dry.messages} == {"dry.committed", "dry.stuck"}
    for (headers, body), message in zip(dry.got, dry.messages, strict=True):
        assert (message["lane"], message["stamp"]) == ("dry", "DRY")
        signed = signature(DRY, headers["sagacity-timestamp"], body)
        assert headers["sagacity-signature"] == signed


async def test_a_live_message_says_its_lane_and_has_no_stamp(app: Orchestrator, live: Receiver) -> None:
    worker = Worker(
        app.store,
        app.project.flows,
        app.project.participants,
        externals=mocked(Theatre, Prices, instead={Theatre: Closed()}),
        hook=hook(live, LIVE),
    )
    async with running(worker):
        handle = await app.start(Sale, {"show": "lear"})
        await app.signal(handle.id, "manager", {"approved": False})
        await until(lambda: live.got)
    assert (live.messages[0]["lane"], live.messages[0]["stamp"]) == ("live", None)


async def test_without_a_dry_outlet_the_report_tells_and_nothing_is_put_into_the_outbox(
    app: Orchestrator,
) -> None:
    report = await dry_run(Sale, HAMLET, app=app, here=True)
    assert [(told.kind, told.stamp) for told in report.notices] == [("committed", "DRY")]
    assert await waiting(app) == 0


async def test_what_the_dry_outlet_does_not_take_is_sent_again_under_the_same_id(
    app: Orchestrator, dry: Receiver
) -> None:
    await dry_run(Sale, HAMLET, app=app, here=True, notices=True)
    outlets = Outlets(hook=hook(dry, DRY, lane="dry"))
    dry.answers = [500, 503]
    assert await tell_outlets(app.store, outlets) == 1
    assert await tell_outlets(app.store, outlets) == 0
    assert len(dry.got) == 3
    assert len({message["id"] for message in dry.messages}) == 1


async def test_a_hook_of_one_lane_takes_no_notice_of_the_other(app: Orchestrator, dry: Receiver) -> None:
    """Even one that were handed to it."""
    await dry_run(Sale, HAMLET, app=app, here=True, notices=True, faults=STUCK)
    outlets = Outlets(hook=hook(dry, LIVE))
    await tell_outlets(app.store, outlets)
    assert dry.got == []


# --- from the command line ----------------------------------------------------------------------------------


def _settings(dry: Receiver, **more: str) -> dict[str, str]:
    return {"SAGACITY_DRY_NOTIFY_URL": f"{dry.url}/dry", "SAGACITY_DRY_NOTIFY_SECRET": DRY, **more}


def test_the_command_sends_what_its_runs_would_tell_and_keeps_what_cannot_be_sent(
    desk: Desk, live: Receiver, dry: Receiver
) -> None:
    store = ("--store", "sqlite:///live.db")
    assert desk.says("migrate", *store).returncode == 0
    told = {"SAGACITY_NOTIFY_URL": f"{live.url}/hook", "SAGACITY_NOTIFY_SECRET": LIVE}
    dry.answers = [500, 500]
    away = desk.rehearses("Sale", "-i", "sale.json", *store, **_settings(dry, **told))
    assert away.returncode == 0, away.stderr
    assert "1 notices of dry runs could not be sent yet" in away.stderr
    dry.got.clear()
    again = desk.rehearses("Sale", "-i", "sale.json", *store, **_settings(dry, **told))
    assert "could not be sent" not in again.stderr
    [message] = dry.messages
    assert (message["kind"], message["count"], message["stamp"]) == ("dry.committed", 2, "DRY")
    shown = desk.says(*message["command"].split()[1:], *store)
    assert "Sale version 1" in shown.stdout
    assert live.got == []


def test_a_function_that_the_project_names_is_told_of_dry_runs(desk: Desk) -> None:
    store = ("--store", "sqlite:///live.db")
    assert desk.says("migrate", *store).returncode == 0
    (desk.folder / "dryly.py").write_text(
        "def told(notice):\n    open('told', 'a').write(f'{notice.kind} {notice.data}\\n')\n"
    )
    (desk.folder / "pyproject.toml").write_text('[tool.sagacity]\ndry_listeners = ["dryly:told"]\n')
    said = desk.rehearses("Sale", "-i", "sale.json", *store)
    assert said.returncode == 0, said.stderr
    [line] = (desk.folder / "told").read_text().splitlines()
    kind, _, data = line.partition(" ")
    assert kind == "dry.committed"
    assert json.loads(data)["stamp"] == "DRY"


def test_an_outlet_of_the_live_lane_is_refused_for_dry_runs(desk: Desk, live: Receiver) -> None:
    same = {"SAGACITY_NOTIFY_URL": f"{live.url}/dry", "SAGACITY_NOTIFY_SECRET": LIVE}
    said = desk.rehearses("Sale", "-i", "sale.json", **_settings(live, **same))
    assert (said.returncode, "web hook of the live lane" in said.stderr) == (2, True), said.stderr
    (desk.folder / "hook.py").write_text("def told(notice):\n    pass\n")
    (desk.folder / "pyproject.toml").write_text(
        '[tool.sagacity]\nlisteners = ["hook:told"]\ndry_listeners = ["hook:told"]\n'
    )
    said = desk.rehearses("Sale", "-i", "sale.json")
    assert (said.returncode, "told is told of live sagas" in said.stderr) == (2, True), said.stderr


def test_the_dry_hook_needs_a_secret_of_its_own() -> None:
    with pytest.raises(ConfigError, match="SAGACITY_DRY_NOTIFY_SECRET"):
        HookSettings(url="https://alerts.example/dry", secret="", lane="dry")
