"""A start that the store will not have ends at once and says why; it is not claimed again for ever."""

from collections.abc import Iterable

import pytest
import sqlalchemy as sa
from pydantic import BaseModel

from sagacity import Participant, Saga, Stage, State, exclusive, operation, step
from sagacity.model.record import Lock, Status
from sagacity.model.unit import HeadMoved
from sagacity.testing import PATIENCE
from tests.runtime.conftest import House

numbered = sa.Table("runtime_numbered", sa.MetaData(), sa.Column("no", sa.Integer, primary_key=True))


class Numbered(Participant, type="numbered", table=numbered, key="no", guarded=True):
    """A row whose key is a number."""

    @operation()
    def drop(self, id: str) -> sa.Executable:
        return sa.delete(numbered).where(numbered.c.no == int(id))


class Drop(Saga, version=1, key="number"):
    """It locks a row by what may be no number."""

    class Input(BaseModel):
        number: str

    asked = State(initial=True)
    done = State(final=True)
    drop = asked.to(done)

    def participants(self, asked: Input) -> Iterable[Lock]:
        yield exclusive("numbered", asked.number)

    @step(drop)
    def drop_it(self, asked: Input, stage: Stage) -> None:
        stage(Numbered, asked.number).drop()


async def test_a_lock_on_what_cannot_be_a_key_ends_the_saga_and_is_named(house: House) -> None:
    app = await house.open(Drop)
    await house.work()
    handle = await app.start(Drop, {"number": "three"})
    outcome = await handle.outcome(timeout=PATIENCE)
    assert outcome.status is Status.ROLLED_BACK
    assert "cannot be stored" in (outcome.reason or "")
    assert "'three' cannot be a key" in (outcome.reason or "")
    assert [line.kind for line in await handle.history()] == ["started", "rolled_back"]


async def test_a_chain_is_fenced_by_its_owner_only(house: House) -> None:
    app = await house.open(Drop)
    worker, other = await house.work(), house.worker()
    head = worker.committer.head
    with pytest.raises(HeadMoved, match="no longer"):
        await app.store.fence(head.id, owner=other.id)
    assert worker.committer.head == next(h for h in await app.store.heads() if h.id == head.id)
