"""Three effects at a service that cannot be trusted: short patience, many tries, an undo that never tires."""

from datetime import timedelta

from pydantic import BaseModel
from tenacity import stop_after_attempt, wait_fixed

from sagacity import Compensation, Saga, State, step
from tests.chaos.flows.town import Receipt, Till

RETRY = (stop_after_attempt(500), wait_fixed(timedelta(milliseconds=150)))
PATIENCE = timedelta(seconds=2)


class GiveBack(Compensation, safe_on_nothing=True, retry=RETRY, timeout=PATIENCE):
    """Gives a thing back, as often as it takes."""

    async def run(self, receipt: Receipt | None, till: Till) -> None:
        await till.give_back(receipt)


class Rough(Saga, version=1, key="name"):
    """Takes three things; where the `refused` one is refused, gives the ones before it back."""

    class Input(BaseModel):
        name: str
        seat: str
        refused: int = 0

    at0 = State(initial=True)
    at1 = State()
    at2 = State()
    done = State(final=True)

    go1 = at0.to(at1)
    go2 = at1.to(at2)
    go3 = at2.to(done)

    @step(go1, undo=GiveBack, retry=RETRY, timeout=PATIENCE)
    async def take_first(self, rough: Input, till: Till) -> Receipt:
        return await till.take(rough.name, "1", refuse=rough.refused == 1)

    @step(go2, undo=GiveBack, retry=RETRY, timeout=PATIENCE)
    async def take_second(self, rough: Input, till: Till) -> Receipt:
        return await till.take(rough.name, "2", refuse=rough.refused == 2)

    @step(go3, undo=GiveBack, retry=RETRY, timeout=PATIENCE)
    async def take_third(self, rough: Input, till: Till) -> Receipt:
        return await till.take(rough.name, "3", refuse=rough.refused >= 3)
