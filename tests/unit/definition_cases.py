"""A small shop that the tests of the definition sell from, and how they look at what was refused."""

from typing import Any

import pytest
from pydantic import BaseModel

from sagacity import Compensation, External, Saga, State, effect, read, step
from sagacity.errors import DefinitionError, Fault

Error = DefinitionError | pytest.ExceptionInfo[DefinitionError]

SAGAS: Any = type(Saga)
"""Makes a flow from a class body, as a `class` statement does."""


class Given(BaseModel):
    """What every flow here is given."""

    id: str


class Receipt(BaseModel):
    """What the shop's effects return."""

    number: str


class Shop(External):
    """Has effects, one of which takes the other back."""

    @effect(inverse="give_back")
    async def sell(self, id: str, *, key: str) -> Receipt:
        return Receipt(number=f"{id}{key}")

    @effect
    async def give_back(self, receipt: Receipt, *, key: str) -> None:
        """Take the goods back."""

    @effect
    async def advertise(self) -> None:
        """Tell everybody."""

    class Mock:
        """Sells nothing."""

        async def sell(self, id: str) -> Receipt:
            return Receipt(number=id)

        async def give_back(self, receipt: Receipt) -> None: ...
        async def advertise(self) -> None: ...


class Post(External):
    """Another one with an effect."""

    @effect
    async def send(self, id: str) -> None:
        """Send a letter."""

    @read
    async def price(self) -> int:
        return 1

    class Mock:
        """Sends nothing."""

        async def send(self, id: str) -> None: ...
        async def price(self) -> int:
            return 0


class GiveBack(Compensation):
    """Takes the goods back."""

    async def run(self, given: Given, receipt: Receipt, shop: Shop) -> None:
        await shop.give_back(receipt)


def told(error: Error) -> list[str]:
    """Every fault of the class as `name: what fix`."""
    return [f"{fault.name}: {fault.what} {fault.fix}" for fault in faults(error)]


def faults(error: Error) -> tuple[Fault, ...]:
    """The faults of a refused class."""
    return (error if isinstance(error, DefinitionError) else error.value).faults


def only(error: Error, name: str, words: str) -> None:
    """The class has this fault and no other, and its text says how to mend it."""
    assert len(faults(error)) == 1, told(error)
    has(error, name, words)


def has(error: Error, name: str, words: str) -> None:
    """The class has this fault, maybe among others that it brings along; each has a fix."""
    assert any(text.startswith(f"{name}: ") and words in text for text in told(error)), told(error)
    assert all(fault.fix for fault in faults(error))


def made(body: dict[str, Any], event: str | None = None, **options: Any) -> Any:
    """A flow from a class body; `event` gets a step that does nothing."""

    def act(self: Any) -> None: ...

    if event is not None:
        body["act"] = step(body[event])(act)
    return SAGAS("Made", (Saga,), {"Input": Given, **body}, **{"version": 1, **options})


def refused(body: dict[str, Any], event: str | None = None, **options: Any) -> DefinitionError:
    """Why a flow with this class body is refused."""
    with pytest.raises(DefinitionError) as error:
        made(body, event, **options)
    return error.value


def yes(self: Any) -> bool:
    return True


def one_step(act: Any, **said: Any) -> Any:
    a, b = State(initial=True), State(final=True)
    go = a.to(b)
    return SAGAS(
        "Made", (Saga,), {"Input": Given, "a": a, "b": b, "go": go, "act": step(go, **said)(act)}, version=1
    )


class SimpleStates:
    """States by attribute."""

    def __init__(self, states: dict[str, Any]) -> None:
        self.__dict__.update(states)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)
