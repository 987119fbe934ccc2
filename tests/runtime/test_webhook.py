"""The signed web hook: at least once, in one message for all that looks alike, to nobody else."""

import asyncio
import hashlib
import hmac
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from sagacity.decide.attention import fingerprint
from sagacity.errors import ConfigError, Refused
from sagacity.model.record import Status
from sagacity.runtime.webhook import HookSettings
from sagacity.testing import PATIENCE, running, until
from tests.runtime.conftest import House
from tests.runtime.flows import Errand
from tests.runtime.receiver import Receiver

SECRET = "a secret of some length"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def hook(receiver: Receiver, **more: Any) -> HookSettings:
    return HookSettings(url=f"{receiver.url}/hook", secret=SECRET, **more)


async def stick(house: House, *names: str) -> list[Any]:
    """Sagas whose refund is refused: each is stuck."""
    handles = []
    for name in names:
        house.town.meets("porter.send", Refused("no van"))
        house.town.meets("vault.refund", Refused("closed"))
        handle = await house.app.start(Errand, {"name": name})
        assert (await handle.outcome(timeout=PATIENCE)).status is Status.STUCK
        handles.append(handle)
    return handles


async def unsent(house: House) -> int:
    return (await house.app.store.gauges()).unsent


async def test_a_stuck_saga_is_told_signed_and_what_ended_well_is_not(
    house: House, receiver: Receiver
) -> None:
    app = await house.open(Errand)
    async with running(house.worker(hook=hook(receiver, console="https://ops.example"))):
        await (await app.start(Errand, {"name": "well"})).outcome(timeout=PATIENCE)
        [handle] = await stick(house, "a")
        await until(lambda: receiver.got)
    assert len({one["id"] for one in receiver.messages}) == 1, receiver.messages
    headers, body = receiver.got[0]
    signed = hmac.new(SECRET.encode(), headers["sagacity-timestamp"].encode() + b"." + body, hashlib.sha256)
    assert headers["sagacity-signature"] == f"v1={signed.hexdigest()}"
    message = receiver.messages[0]
    assert message["kind"] == "undo_failed"
    assert message["definition"] == "Errand"
    assert message["count"] == 1
    assert message["sagas"] == [{"id": str(handle.id), "key": "a", "seq": message["sagas"][0]["seq"]}]
    assert "closed" in message["why"]
    assert message["url"] == "https://ops.example/"
    assert message["fingerprint"] == fingerprint(
        "undo_failed", "Errand", message["state"], (await handle.outcome()).reason
    )
    assert await unsent(house) == 0


async def test_a_burst_of_the_same_becomes_one_message_with_a_count(house: House, receiver: Receiver) -> None:
    await house.open(Errand)
    async with running(house.worker(notices=True)):
        await stick(house, *(f"n{n}" for n in range(25)))
    async with running(house.worker(hook=hook(receiver))):
        await until(lambda: none_left(house))
    [message] = receiver.messages
    assert message["count"] == 25
    assert len(message["sagas"]) == 20, "so many are named"
    assert await unsent(house) == 0


async def test_after_a_message_more_of_its_kind_are_gathered_for_a_while(
    house: House, receiver: Receiver
) -> None:
    await house.open(Errand)
    async with running(house.worker(hook=hook(receiver, every=timedelta(seconds=4)))):
        await stick(house, "a")
        await until(lambda: receiver.got)
        await stick(house, "b", "c")
        assert len(receiver.got) == 1
        assert await unsent(house) == 2, "they lie in the outbox, not in memory"
        await until(lambda: len(receiver.got) == 2)
        await until(lambda: none_left(house))
    counts = {message["id"]: message["count"] for message in receiver.messages}
    assert list(counts.values()) == [1, 2], "a repeat has the same id"


async def test_what_the_receiver_does_not_take_is_sent_again_under_the_same_id(
    house: House, receiver: Receiver
) -> None:
    await house.open(Errand)
    receiver.answers = [500, 503, 429]
    async with running(house.worker(hook=hook(receiver))):
        await stick(house, "a")
        await until(lambda: len(receiver.got) == 4)
        await until(lambda: none_left(house))
    assert len({message["id"] for message in receiver.messages}) == 1


async def none_left(house: House) -> bool:
    return await unsent(house) == 0


async def test_a_listener_is_not_told_again_while_the_hook_is_away(house: House, receiver: Receiver) -> None:
    await house.open(Errand)
    receiver.answers = [500] * 4
    told: list[str] = []
    listener = lambda notice: told.append(notice.kind)  # noqa: E731
    async with running(house.worker(hook=hook(receiver), listeners=(listener,))):
        await stick(house, "a")
        await until(lambda: none_left(house))
    assert told == ["stuck"]


async def test_an_answer_that_leads_elsewhere_is_not_followed(house: House, receiver: Receiver) -> None:
    await house.open(Errand)
    receiver.answers = [302, 302]
    async with running(house.worker(hook=hook(receiver))):
        await stick(house, "a")
        await until(lambda: len(receiver.got) == 3)
    assert len({message["id"] for message in receiver.messages}) == 1, "a POST each time, to the same place"


async def test_of_two_workers_one_sends(house: House, receiver: Receiver) -> None:
    await house.open(Errand)
    other = await house.another()
    async with running(house.worker(hook=hook(receiver))), running(house.worker(other, hook=hook(receiver))):
        await stick(house, "a")
        await until(lambda: receiver.got)
        await until(lambda: none_left(house))
        await asyncio.sleep(0.5)
    assert len(receiver.got) == 1


_PROGRAM = """
import asyncio, sys
from sagacity.orchestrator import Orchestrator
from sagacity.runtime.webhook import HookSettings
from sagacity.runtime.worker import Worker
async def main():
    sagas = await Orchestrator.open(sys.argv[1], tenant=sys.argv[2], accept_loss=True)
    await Worker(sagas.store, {}, {}, hook=HookSettings(url=sys.argv[3], secret=sys.argv[4])).run()
asyncio.run(main())
"""


async def test_a_worker_killed_between_the_sending_and_the_answer_loses_no_message(
    house: House, receiver: Receiver
) -> None:
    """The receiver has it and its answer finds nobody: it is delivered again, under the same id."""
    await house.open(Errand)
    async with running(house.worker(notices=True)):
        await stick(house, "a")
    command = [sys.executable, "-c", _PROGRAM, house.url, house.tenant, f"{receiver.url}/hook", SECRET]
    with subprocess.Popen(command) as process:  # noqa: ASYNC220 - what matters is that it can be killed

        def kill() -> int:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            return 204

        receiver.answers = [kill]
        await until(lambda: receiver.got, within=timedelta(seconds=60))
        await asyncio.to_thread(process.wait)
    assert await unsent(house) == 1
    async with running(house.worker(hook=hook(receiver))):
        await until(lambda: len(receiver.got) == 2, within=timedelta(seconds=60))
        await until(lambda: none_left(house))
    assert len({message["id"] for message in receiver.messages}) == 1


@pytest.mark.parametrize(
    ("url", "secret", "words"),
    [
        ("alerts.example/hook", SECRET, "https://alerts.example"),
        ("ftp://alerts.example/hook", SECRET, "https://alerts.example"),
        ("https://user:pass@alerts.example/", SECRET, "https://alerts.example"),
        ("http://alerts.example/hook", SECRET, "must be https"),
        ("http://169.254.169.254/latest", SECRET, "must be https"),
        ("https://alerts.example/hook", "short", "16 characters"),
    ],
)
def test_an_address_or_a_secret_that_cannot_be_used_is_refused_with_the_fix(
    url: str, secret: str, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        HookSettings(url=url, secret=secret)
