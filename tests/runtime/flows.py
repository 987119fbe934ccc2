"""Small flows that the runtime's tests share: each shows one thing."""

from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal

from pydantic import BaseModel
from tenacity import stop_after_attempt, wait_fixed, wait_none

from sagacity import (
    Participant,
    Refused,
    Saga,
    Stage,
    State,
    awaits,
    cancel,
    exclusive,
    operation,
    step,
)
from sagacity.model.record import Lock
from tests.runtime.outside import BringBack, Depot, Named, Porter, Post, Receipt, Vault

AT_ONCE = dict(stop=stop_after_attempt(3), wait=wait_none())
"""Three attempts, none waits."""


class Box(Participant, type="box"):
    """An object of the engine's: how much is in it, and who put it there."""

    class State(BaseModel):
        total: Decimal = Decimal(0)
        notes: list[str] = []

    @operation(inverse="take")
    def put(self, state: State, amount: Decimal) -> State:
        return Box.State(total=state.total + amount, notes=state.notes)

    @operation(inverse="put")
    def take(self, state: State, amount: Decimal) -> State:
        if state.total < amount:
            raise Refused(f"there is only {state.total}")
        return Box.State(total=state.total - amount, notes=state.notes)

    @operation()
    def note(self, state: State, text: str) -> State:
        return Box.State(total=state.total, notes=[*state.notes, text])


class Errand(Saga, version=1, key="name"):
    """Three effects, one after the other, and a box that is filled at the end."""

    class Input(BaseModel):
        name: str
        amount: Decimal = Decimal(5)

    asked = State(initial=True)
    lent = State()
    paid = State()
    sent = State()
    done = State(final=True)

    lend = asked.to(lent)
    pay = lent.to(paid)
    carry = paid.to(sent)
    fill = sent.to(done)

    def participants(self, asked: Input) -> Iterable[Lock]:
        yield exclusive("box", asked.name)

    @step(lend, undo=BringBack, retry=AT_ONCE)
    async def lend_it(self, asked: Input, depot: Depot) -> Receipt:
        return await depot.lend(asked.name)

    @step(pay, undo=Vault.refund, retry=AT_ONCE)
    async def pay_for_it(self, asked: Input, vault: Vault) -> Receipt:
        return await vault.charge(asked.name)

    @step(carry, undo=Porter.call_off, retry=AT_ONCE)
    async def send_it(self, asked: Input, porter: Porter) -> Receipt:
        return await porter.send(asked.name)

    @step(fill)
    def fill_box(self, asked: Input, stage: Stage) -> None:
        stage(Box, asked.name).put(asked.amount)
        stage(Box, asked.name).note("filled")


class Fill(Saga, version=1, key="name"):
    """No effect at all: only a box is changed. `hold` is how many boxes, `shop` whose they are."""

    class Input(BaseModel):
        name: str
        box: str
        amount: Decimal = Decimal(1)

    asked = State(initial=True)
    done = State(final=True)
    fill = asked.to(done)

    def participants(self, asked: Input) -> Iterable[Lock]:
        yield exclusive("box", asked.box)

    @step(fill)
    def fill_box(self, asked: Input, stage: Stage) -> None:
        if asked.amount >= 0:
            stage(Box, asked.box).put(asked.amount)
        else:
            stage(Box, asked.box).take(-asked.amount)


class Ask(Saga, version=1, key="name"):
    """Lends, then waits to hear; what it hears decides."""

    class Input(BaseModel):
        name: str

    class Answer(BaseModel):
        count: int

    asked = State(initial=True)
    lent = State()
    heard = State()
    done = State(final=True)

    lend = asked.to(lent)
    hear = lent.to(heard)
    write = heard.to(done)

    def participants(self, asked: Input) -> Iterable[Lock]:
        yield exclusive("box", asked.name)

    @step(lend, undo=BringBack)
    async def lend_it(self, asked: Input, depot: Depot) -> Receipt:
        return await depot.lend(asked.name)

    answer = awaits(hear, signal="answer", within=timedelta(days=3), otherwise=cancel, data=Answer)

    @step(write)
    def note(self, asked: Input, answer: Answer, stage: Stage) -> None:
        stage(Box, asked.name).put(Decimal(answer.count))


class Slow(Saga, version=1, key="name"):
    """Retries that outlast memory: ten seconds, and half a second."""

    class Input(BaseModel):
        name: str

    asked = State(initial=True)
    lent = State()
    done = State(final=True)
    lend = asked.to(lent)
    carry = lent.to(done)

    @step(lend, undo=BringBack, retry=dict(stop=stop_after_attempt(4), wait=wait_fixed(10)))
    async def lend_it(self, asked: Input, depot: Depot) -> Receipt:
        return await depot.lend(asked.name)

    @step(carry, undo=Porter.call_off, retry=dict(stop=stop_after_attempt(4), wait=wait_fixed(0.5)))
    async def send_it(self, asked: Input, porter: Porter) -> Receipt:
        return await porter.send(asked.name)


class Onward(Saga, version=1, key="name"):
    """A point of no return in the middle."""

    class Input(BaseModel):
        name: str

    asked = State(initial=True)
    lent = State()
    paid = State()
    done = State(final=True)

    lend = asked.to(lent)
    pay = lent.to(paid)
    tell = paid.to(done)

    @step(lend, undo=BringBack, retry=AT_ONCE)
    async def lend_it(self, asked: Input, depot: Depot) -> Receipt:
        return await depot.lend(asked.name)

    @step(pay, undo=Vault.refund, pivot=True, retry=AT_ONCE)
    async def pay_for_it(self, asked: Input, vault: Vault) -> Receipt:
        return await vault.charge(asked.name)

    @step(tell, final=True)
    async def tell_it(self, asked: Input, post: Post) -> Receipt:
        return await post.write(asked.name)


__all__ = ["AT_ONCE", "Ask", "Box", "Errand", "Fill", "Named", "Onward", "Slow"]
