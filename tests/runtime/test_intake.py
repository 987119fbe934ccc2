"""Messages that come at the same time share a transaction, and each sender is answered for its own."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from sagacity.definition.project import Project
from sagacity.errors import KeyTaken, NotFound, StoreUnavailable
from sagacity.ids import new_id
from sagacity.model.unit import Message
from sagacity.orchestrator import Orchestrator
from sagacity.runtime.intake import MOST
from sagacity.store.base import Receipt
from tests.runtime.flows import Onward


class Gate:
    """Stands before a store's `put`: notes how many messages come together, and can hold them back."""

    def __init__(self, app: Orchestrator) -> None:
        self.sizes: list[int] = []
        self.called = asyncio.Event()
        self.open = asyncio.Event()
        self.open.set()
        self.fault: Exception | None = None
        self._put = app.store.put
        app.store.put = self.put  # type: ignore[method-assign]

    async def put(self, messages: Sequence[Message], *, session: Any = None) -> list[Receipt]:
        self.sizes.append(len(messages))
        self.called.set()
        await self.open.wait()
        if self.fault is not None:
            raise self.fault
        return await self._put(messages, session=session)


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[Orchestrator]:
    url = f"sqlite:///{tmp_path}/test.db"
    async with await Orchestrator.open(url, project=Project.of(Onward), accept_loss=True) as opened:
        yield opened


async def begun(app: Orchestrator, *names: str) -> Gate:
    for name in names:
        await app.start(Onward, Onward.Input(name=name))
    return Gate(app)


async def test_signals_that_come_at_once_are_stored_in_one_transaction(app: Orchestrator) -> None:
    gate = await begun(app, "a", "b", "c")
    sagas = [await app.resolve(name) for name in "abc"]
    receipts = await asyncio.gather(*(app.signal(saga, "go") for saga in sagas))
    assert gate.sizes == [3]
    assert [receipt.saga for receipt in receipts] == sagas
    assert [len(await app.store.messages(saga)) for saga in sagas] == [2, 2, 2]


async def test_those_who_come_during_a_flush_go_together_with_the_next(app: Orchestrator) -> None:
    gate = await begun(app, "a")
    saga = await app.resolve("a")
    gate.open.clear()
    senders = [asyncio.create_task(app.signal(saga, "first"))]
    await gate.called.wait()
    senders += [asyncio.create_task(app.signal(saga, f"later {n}")) for n in range(MOST + 1)]
    for _ in range(5):
        await asyncio.sleep(0)
    assert not any(sender.done() for sender in senders), "nobody is answered before it is stored"
    gate.open.set()
    await asyncio.gather(*senders)
    assert gate.sizes == [1, MOST, 1]
    assert len(await app.store.messages(saga)) == MOST + 3


async def test_one_message_that_is_refused_harms_no_other(app: Orchestrator) -> None:
    gate = await begun(app, "a", "taken")
    saga, nobody = await app.resolve("a"), new_id()
    answers = await asyncio.gather(
        *(app.signal(saga, f"s{n}") for n in range(5)),
        app.signal(nobody, "x"),
        app.start(Onward, Onward.Input(name="b")),
        app.start(Onward, {"name": "c"}, key="taken"),
        return_exceptions=True,
    )
    assert all(isinstance(answer, Receipt) and answer.new for answer in answers[:5])
    assert isinstance(answers[5], NotFound)
    assert str(nobody) in str(answers[5])
    assert not isinstance(answers[6], BaseException)
    assert isinstance(answers[7], KeyTaken)
    assert len(await app.store.messages(saga)) == 6
    assert gate.sizes[0] == 8
    assert len(gate.sizes) < 12, "halves are tried, not every message by itself"


async def test_the_same_delivery_twice_at_once_counts_once(app: Orchestrator) -> None:
    await begun(app, "a")
    saga, delivery = await app.resolve("a"), new_id()
    twice = await asyncio.gather(*(app.signal(saga, "go", id=delivery) for _ in range(2)))
    assert sorted(receipt.new for receipt in twice) == [False, True]


async def test_a_database_that_is_gone_is_told_to_everybody_and_the_next_is_tried(app: Orchestrator) -> None:
    gate = await begun(app, "a")
    saga = await app.resolve("a")
    gate.fault = StoreUnavailable("gone")
    answers = await asyncio.gather(*(app.signal(saga, "go") for _ in range(3)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [StoreUnavailable] * 3
    gate.fault = None
    assert (await app.signal(saga, "go")).new


async def test_a_sender_that_goes_away_takes_nobody_along(app: Orchestrator) -> None:
    gate = await begun(app, "a")
    saga = await app.resolve("a")
    gate.open.clear()
    first, gone, stays = (asyncio.create_task(app.signal(saga, name)) for name in ("first", "gone", "stays"))
    await gate.called.wait()
    late = asyncio.create_task(app.signal(saga, "late, and gone"))
    await asyncio.sleep(0)
    gone.cancel()
    late.cancel()
    gate.open.set()
    await asyncio.gather(first, stays)
    assert gone.cancelled()
    await app.signal(saga, "after")
    names = {message.name for message in await app.store.messages(saga)}
    assert {"first", "stays", "after"} <= names
    assert "late, and gone" not in names


async def test_closing_waits_for_what_is_under_way(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/test.db"
    app = await Orchestrator.open(url, project=Project.of(Onward), accept_loss=True)
    gate = await begun(app, "a")
    saga = await app.resolve("a")
    sender = asyncio.create_task(app.signal(saga, "go"))
    await gate.called.wait()
    await app.close()
    assert (await sender).new
