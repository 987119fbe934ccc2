"""A tiny project for the tests of the edges: a till that can refuse, and a shop that sells over it.

Each test gets it under a module name of its own, because a process imports a module once.
"""

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from sagacity.cli import main

_numbers = itertools.count(1)

FLOWS = '''
"""Sell something over the counter."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal

from pydantic import AwareDatetime, BaseModel
from tenacity import stop_after_attempt

from sagacity import (
    Compensation, External, Participant, Refused, Saga, Stage, State,
    awaits, cancel, effect, exclusive, operation, step,
)


class Slip(BaseModel):
    number: str


class Till(External):
    @effect(inverse="give_back")
    async def take(self, amount: Decimal, *, key: str) -> Slip:
        if amount > 1000:
            raise Refused("the customer has not got so much")
        return Slip(number=key[:8])

    @effect(safe_on_nothing=True)
    async def give_back(self, slip: Slip | None, *, key: str, undoes: str) -> None:
        return None

    class Mock:
        async def take(self, amount: Decimal, *, key: str) -> Slip:
            return Slip(number="mock")

        async def give_back(self, slip: Slip | None, *, key: str, undoes: str) -> None:
            return None


class Far(External):
    """A service whose address somebody must set."""

    @classmethod
    async def connect(cls, settings):
        if settings.url is None:
            raise ValueError("no address")
        return cls()

    @effect
    async def call(self, *, key: str) -> None:
        return None

    class Mock:
        async def call(self, *, key: str) -> None:
            return None


class Books(Participant, type="books"):
    class State(BaseModel):
        takings: Decimal = Decimal(0)
        big: int = 0

    @operation(inverse="strike_out")
    def enter(self, state: State, amount: Decimal) -> State:
        return Books.State(takings=state.takings + amount, big=9007199254740993)

    @operation(inverse="enter")
    def strike_out(self, state: State, amount: Decimal) -> State:
        return Books.State(takings=state.takings - amount, big=9007199254740993)


class Sale(Saga, version=1, key="sale_id"):
    """Take the money, then enter it in the books."""

    class Input(BaseModel):
        sale_id: str
        amount: Decimal
        at: AwareDatetime | None = None
        note: str = ""

    placed = State(initial=True)
    paid = State()
    done = State(final=True)

    pay = placed.to(paid)
    close = paid.to(done)

    def participants(self, sale: Input) -> Iterable:
        yield exclusive("books", sale.sale_id)

    @step(pay, undo=Till.give_back, retry=stop_after_attempt(2))
    async def take_money(self, sale: Input, till: Till) -> Slip:
        return await till.take(sale.amount)

    @step(close)
    def enter_sale(self, sale: Input, stage: Stage) -> None:
        stage(Books, sale.sale_id).enter(sale.amount)


class Order(Saga, version=1, key="order_id"):
    """Take the money, then wait for the parcel to be fetched."""

    class Input(BaseModel):
        order_id: str
        amount: Decimal

    placed = State(initial=True)
    paid = State()
    fetched = State(final=True)

    pay = placed.to(paid)
    fetch = paid.to(fetched)

    def participants(self, order: Input) -> Iterable:
        yield exclusive("shelf", order.order_id)

    @step(pay, undo=Till.give_back)
    async def take_money(self, order: Input, till: Till) -> Slip:
        return await till.take(order.amount)

    fetching = awaits(fetch, signal="parcel.fetched", within=timedelta(days=9), otherwise=cancel)


class Jam(Compensation, safe_on_nothing=True, retry=stop_after_attempt(1)):
    async def run(self, sale: BaseModel, slip: Slip | None, till: Till) -> None:
        raise RuntimeError("the drawer is jammed")


class Jammed(Saga, version=1, key="sale_id"):
    """Its undo gives up."""

    class Input(BaseModel):
        sale_id: str

    placed = State(initial=True)
    paid = State()
    done = State(final=True)

    pay = placed.to(paid)
    close = paid.to(done)

    @step(pay, undo=Jam)
    async def take_money(self, sale: Input, till: Till) -> Slip:
        return await till.take(Decimal(1))

    @step(close, retry=stop_after_attempt(1))
    def fail(self, sale: Input) -> None:
        raise Refused("closed for today")


class NoKey(Saga, version=1):
    """Declares no key."""

    class Input(BaseModel):
        name: str

    first = State(initial=True)
    last = State(final=True)
    go = first.to(last)

    @step(go)
    def nothing(self, given: Input) -> None:
        return None


class Distant(Saga, version=1, key="name"):
    """Needs a service that has no address."""

    class Input(BaseModel):
        name: str

    first = State(initial=True)
    last = State(final=True)
    go = first.to(last)

    @step(go, final=True, pivot=True)
    async def call_far(self, given: Input, far: Far) -> None:
        await far.call()
'''


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What one command line answered."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def numbers(self) -> dict[str, str]:
        """A summary's `label number` lines."""
        return dict(line.split(" ", 1) for line in self.lines)


class Shop:
    """The project of one test, in a folder of its own."""

    def __init__(self, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.module = f"counter_{next(_numbers)}"
        self._capture = capture
        (folder / f"{self.module}.py").write_text(FLOWS)
        (folder / "pyproject.toml").write_text(f'[tool.sagacity]\nmodules = ["{self.module}.py"]\n')

    def flow(self, name: str) -> str:
        return f"{self.module}.py:{name}"

    def file(self, name: str, *lines: object) -> Path:
        """A file of JSON lines; texts stand as they are."""
        path = self.folder / name
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        path.write_text("".join(f"{text}\n" for text in texts))
        return path

    def says(self, *arguments: object) -> Said:
        """What `sagacity ARGUMENTS` answers, in this process."""
        self._capture.readouterr()
        code = main([str(argument) for argument in arguments])
        told = self._capture.readouterr()
        return Said(code=code, out=told.out, err=told.err)

    def run(self, name: str, *lines: object, more: tuple[object, ...] = ()) -> Said:
        """`sagacity run` of a flow over these lines."""
        return self.says("run", self.flow(name), "--input", self.file(f"{name}.jsonl", *lines), *more)


Says = Callable[..., Said]
