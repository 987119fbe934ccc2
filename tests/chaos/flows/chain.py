"""Five effects in a row under a lock, then one change of an object: the flow that is killed over and over."""

from collections.abc import Iterable
from datetime import timedelta

from pydantic import BaseModel
from tenacity import stop_after_attempt, wait_fixed

from sagacity import Participant, Saga, Stage, State, exclusive, operation, step
from sagacity.model.record import Lock
from tests.chaos.flows.town import Receipt, Till

RETRY = (stop_after_attempt(100), wait_fixed(timedelta(milliseconds=200)))
LIMIT = timedelta(seconds=10)


class Seat(Participant, type="seat"):
    """Who has sat here, in order."""

    class State(BaseModel):
        names: list[str] = []

    @operation(inverse="leave")
    def sit(self, state: State, name: str) -> State:
        return Seat.State(names=[*state.names, name])

    @operation(inverse="sit")
    def leave(self, state: State, name: str) -> State:
        return Seat.State(names=[n for n in state.names if n != name])


class Chain(Saga, version=1, key="name"):
    """Takes five things; where the `refused` one is refused, gives the ones before it back."""

    class Input(BaseModel):
        name: str
        seat: str
        refused: int = 0

    at0 = State(initial=True)
    at1 = State()
    at2 = State()
    at3 = State()
    at4 = State()
    at5 = State()
    seated = State(final=True)

    go1 = at0.to(at1)
    go2 = at1.to(at2)
    go3 = at2.to(at3)
    go4 = at3.to(at4)
    go5 = at4.to(at5)
    close = at5.to(seated)

    def participants(self, chain: Input) -> Iterable[Lock]:
        yield exclusive("seat", chain.seat)

    @step(go1, undo=Till.give_back, retry=RETRY, timeout=LIMIT)
    async def take_first(self, chain: Input, till: Till) -> Receipt:
        return await till.take(chain.name, "1", refuse=chain.refused == 1)

    @step(go2, undo=Till.give_back, retry=RETRY, timeout=LIMIT)
    async def take_second(self, chain: Input, till: Till) -> Receipt:
        return await till.take(chain.name, "2", refuse=chain.refused == 2)

    @step(go3, undo=Till.give_back, retry=RETRY, timeout=LIMIT)
    async def take_third(self, chain: Input, till: Till) -> Receipt:
        return await till.take(chain.name, "3", refuse=chain.refused == 3)

    @step(go4, undo=Till.give_back, retry=RETRY, timeout=LIMIT)
    async def take_fourth(self, chain: Input, till: Till) -> Receipt:
        return await till.take(chain.name, "4", refuse=chain.refused == 4)

    @step(go5, undo=Till.give_back, retry=RETRY, timeout=LIMIT)
    async def take_fifth(self, chain: Input, till: Till) -> Receipt:
        return await till.take(chain.name, "5", refuse=chain.refused == 5)

    @step(close)
    def sit_down(self, chain: Input, stage: Stage) -> None:
        stage(Seat, chain.seat).sit(chain.name)
