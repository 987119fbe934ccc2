"""The world outside, in memory: it remembers every call, and fails when a test has asked it to."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from sagacity import Compensation, External, effect, read
from sagacity.definition.external import Landed, NotLanded


class Receipt(BaseModel):
    """What every service of the town answers."""

    number: str


class LostAnswer(Exception):
    """The call arrived, and its answer did not."""


@dataclass(frozen=True, slots=True)
class Call:
    service: str
    what: str
    arg: str
    key: str
    undoes: str | None = None


@dataclass(slots=True)
class Town:
    """All services of one test.

    Attributes:
        calls: every effect that came in, in order, repeats included.
        landed: key → the first call that had effect under it.
        undone: keys that were taken back.
        script: service.what → what its next calls meet: an error before it lands, a `LostAnswer` after
            it landed, or None for nothing.
        gates: service.what → an event that its calls wait for.
    """

    calls: list[Call] = field(default_factory=list)
    landed: dict[str, Call] = field(default_factory=dict)
    undone: list[str] = field(default_factory=list)
    script: defaultdict[str, deque[Exception | None]] = field(default_factory=lambda: defaultdict(deque))
    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    barred: set[str] = field(default_factory=set)
    probed: list[str] = field(default_factory=list)
    knows: bool = True

    def meets(self, call: str, *what: Exception | None) -> None:
        """The next calls of `call` meet these, one each."""
        self.script[call].extend(what)

    def gate(self, call: str) -> asyncio.Event:
        """Calls of `call` wait until the returned event is set."""
        return self.gates.setdefault(call, asyncio.Event())

    async def come(self, call: Call) -> Receipt:
        self.calls.append(call)
        name = f"{call.service}.{call.what}"
        if name in self.gates:
            await self.gates[name].wait()
        fault = self.script[name].popleft() if self.script[name] else None
        if fault is not None and not isinstance(fault, LostAnswer):
            raise fault
        if call.undoes is not None:
            if call.undoes in self.landed and call.undoes not in self.undone:
                self.undone.append(call.undoes)
            self.barred.add(call.undoes)
        if call.key not in self.barred:
            self.landed.setdefault(call.key, call)
        if fault is not None:
            raise fault
        return Receipt(number=f"{call.what}-{call.arg}")

    def count(self, call: str) -> int:
        """How often `call` came in."""
        return sum(f"{c.service}.{c.what}" == call for c in self.calls)

    def keys(self, call: str) -> list[str]:
        return [c.key for c in self.calls if f"{c.service}.{c.what}" == call]

    @property
    def standing(self) -> list[str]:
        """Effects that happened, are no undoing themselves, and were not taken back; as service.what(arg)."""
        return [
            f"{c.service}.{c.what}({c.arg})"
            for key, c in self.landed.items()
            if c.undoes is None and key not in self.undone
        ]

    @property
    def story(self) -> list[str]:
        return [f"{c.what}({c.arg})" for c in self.calls]


class _Service(External):
    def __init__(self, town: Town) -> None:
        self.town = town

    async def _come(self, what: str, arg: str, key: str, undoes: str | None = None) -> Receipt:
        return await self.town.come(Call(self.name, what, arg, key, undoes))


class Depot(_Service):
    """Lends things. It has no probe, and its undo needs to know what was lent."""

    @effect(inverse="take_back")
    async def lend(self, what: str, *, key: str) -> Receipt:
        return await self._come("lend", what, key)

    @effect
    async def take_back(self, receipt: Receipt, *, key: str, undoes: str) -> None:
        await self._come("take_back", receipt.number, key, undoes)

    @read
    async def stock(self) -> int:
        return 7

    class Mock:
        async def lend(self, what: str) -> Receipt:
            return Receipt(number=f"mock-{what}")

        async def take_back(self, receipt: Receipt) -> None:
            return None

        async def stock(self) -> int:
            return 1


class Vault(_Service):
    """Takes money. It has a probe."""

    @effect(inverse="refund")
    async def charge(self, what: str, *, key: str) -> Receipt:
        return await self._come("charge", what, key)

    @effect
    async def refund(self, receipt: Receipt, *, key: str, undoes: str) -> None:
        await self._come("refund", receipt.number, key, undoes)

    async def probe(self, key: str) -> Landed | NotLanded | None:
        self.town.probed.append(key)
        if not self.town.knows:
            return None
        call = self.town.landed.get(key)
        return Landed(answer=Receipt(number=f"{call.what}-{call.arg}")) if call else NotLanded()

    class Mock:
        async def charge(self, what: str) -> Receipt:
            return Receipt(number=f"mock-{what}")

        async def refund(self, receipt: Receipt) -> None:
            return None


class Porter(_Service):
    """Carries things. Calling him off is safe although he may never have been sent."""

    @effect(inverse="call_off")
    async def send(self, what: str, *, key: str) -> Receipt:
        return await self._come("send", what, key)

    @effect(safe_on_nothing=True)
    async def call_off(self, receipt: Receipt | None, *, key: str, undoes: str) -> None:
        await self._come("call_off", receipt.number if receipt else "?", key, undoes)

    class Mock:
        async def send(self, what: str) -> Receipt:
            return Receipt(number=f"mock-{what}")

        async def call_off(self, receipt: Receipt | None) -> None:
            return None


class Post(_Service):
    """Sends letters. What is sent is sent."""

    @effect
    async def write(self, what: str, *, key: str) -> Receipt:
        return await self._come("write", what, key)

    class Mock:
        async def write(self, what: str) -> Receipt:
            return Receipt(number=f"mock-{what}")


class Named(BaseModel):
    """The part of every input that compensations need."""

    name: str


class BringBack(Compensation):
    """Brings a thing back by hand: a compensation of several attempts, written as a class."""

    async def run(self, asked: Named, receipt: Receipt, depot: Depot) -> None:
        await depot.take_back(receipt)


SERVICES: tuple[Callable[[Town], External], ...] = (Depot, Vault, Porter, Post)


def services(town: Town) -> dict[str, External]:
    """One instance of each, all of this town."""
    made: list[Any] = [service(town) for service in SERVICES]
    return {service.name: service for service in made}
