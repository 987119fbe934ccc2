"""Simulated outside services: their mocks answer, a ledger remembers, and a network lies between.

The ledger is the judge of what happened outside: key → the effect that landed under it, and which
effects were taken back. A service keeps its promises: a repeated key gets the first answer and has no
second effect, a refusal for good stays one, and what a probe calls not landed does not land by itself.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from sagacity.definition.external import Call, External, Landed, NotLanded
from sagacity.errors import Refused, Unavailable
from sagacity.testing.faults import NETWORK
from sagacity.testing.stores import World

_PATIENCE = 5.0
"""Seconds after which a client gives a lost call up."""


class Disconnected(ConnectionError):
    """The line went dead under a call; whether it arrived nobody here knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Landing:
    """One effect that happened outside.

    Attributes:
        at: virtual seconds.
        undoes: the key of the effect that it takes back, for an undo.
        empty: it took nothing back, for there was nothing; what it names is barred from now on.
    """

    at: float
    external: str
    call: str
    key: str
    args: tuple[Any, ...]
    undoes: str | None = None
    empty: bool = False
    answer: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One call of an effect that came in, in the ledger's own order.

    Attributes:
        outcome: landed: it changed something; refused: a definite no; void: there was nothing left to change.
    """

    at: float
    external: str
    call: str
    key: str
    undoes: str | None
    outcome: Literal["landed", "refused", "void"]


@dataclass(slots=True)
class Ledger:
    """What all outside services together know.

    Attributes:
        entries: every call of an effect, as it came in.
        landed: key → what happened under it, in order.
        undone: key of an effect → key of what took it back.
        barred: keys that may not land any more: their undo came first.
        refused: key → the definite no that it got.
        doubled: what should never be: keys that had a second effect.
        repeats: calls that came again under a known key.
    """

    entries: list[Entry] = field(default_factory=list)
    landed: dict[str, Landing] = field(default_factory=dict)
    undone: dict[str, str] = field(default_factory=dict)
    barred: set[str] = field(default_factory=set)
    refused: dict[str, str] = field(default_factory=dict)
    doubled: list[str] = field(default_factory=list)
    repeats: int = 0

    @property
    def standing(self) -> dict[str, Landing]:
        """Effects that happened, take nothing back themselves, and were not taken back."""
        return {
            key: landing
            for key, landing in self.landed.items()
            if landing.undoes is None and key not in self.undone
        }


class Services:
    """All outside services of one simulation.

    Args:
        world: the simulation.
        classes: externals by name; each is answered by its `Mock`.
        instead: name → what answers in place of that external's `Mock`.

    Attributes:
        watch: told of each call of an effect in the moment in which it comes in.
    """

    def __init__(
        self,
        world: World,
        classes: Mapping[str, type[External]],
        *,
        instead: Mapping[str, Any] | None = None,
    ) -> None:
        self.ledger = Ledger()
        self.watch: Callable[[Entry], None] = lambda entry: None
        self._world = world
        self._sent = 0
        self._fenced: dict[str, int] = {}
        self._keyless = 0
        self._minds = {name: (instead or {}).get(name) or _mind(cls) for name, cls in classes.items()}
        self._classes = dict(classes)

    def connected(self) -> dict[str, External]:
        """One instance of each, as one process has them."""
        return {name: self._instance(name, cls) for name, cls in self._classes.items()}

    def _instance(self, name: str, cls: type[External]) -> External:
        # Not made by `connect` and not by `__init__`: those would open connections.
        instance = object.__new__(cls)
        answers: dict[str, Any] = vars(instance)
        for call in (*cls.effects.values(), *cls.reads.values()):
            answers[call.name] = self._sender(name, call)
        if cls.has_probe:
            answers["probe"] = self._prober(name)
        answers["close"] = _closed
        return instance

    # --- the way there and back -------------------------------------------------------------------------

    def _sender(self, name: str, call: Call) -> Any:
        async def send(*args: Any, **named: Any) -> Any:
            key, undoes = named.pop("key", None), named.pop("undoes", None)
            return await self._send(_Request(self, name, call, key, undoes, args, named))

        return send

    async def _send(self, request: "_Request") -> Any:
        world, name, point = self._world, request.name, request.point
        await world.reach(f"{point}.before")
        kind = "unreachable" if world.cut_off() else world.faults.at(point, NETWORK, world.loop.time())
        self._sent += 1
        request.number = self._sent
        # A service that promised to take an effect back, or that made it already, does not refuse.
        request.refuse = kind == "no" and request.is_new
        out, back = world.chance.between(0.001, 0.2), world.chance.between(0.001, 0.2)
        match kind:
            case "unreachable":
                raise Unavailable(f"{name} cannot be reached (simulated)")
            case "lost":
                await _wait(world, _PATIENCE)
                raise Disconnected(f"{name}: no answer (simulated)")
            case "late":
                request.leave(world.chance.between(1.0, 60.0))
                await _wait(world, back)
                raise Disconnected(f"{name}: the line went dead (simulated)")
            case "twice":
                request.leave(world.chance.between(0.0, 30.0))
            case "slow":
                out = world.chance.between(1.0, 30.0)
        done, value = await request.leave(out, back)
        await world.reach(f"{point}.after")
        if kind == "unanswered":
            raise Disconnected(f"{name}: the answer was lost (simulated)")
        if done:
            return value
        raise value

    def _prober(self, name: str) -> Any:
        async def probe(key: str) -> Landed | NotLanded | None:
            world, point = self._world, f"{name}.probe"
            await world.reach(f"{point}.before")
            kind = world.faults.at(point, ("lost", "unknown"), world.loop.time())
            await _wait(world, world.chance.between(0.001, 0.2))
            if kind == "lost" or world.cut_off():
                raise Disconnected(f"{name}: the probe was not answered (simulated)")
            if kind == "unknown":
                return None
            landing = self.ledger.landed.get(key)
            if landing is None:
                # It says that the effect will not land by itself, so what is still on its way must not.
                self._fenced[key] = self._sent
            await world.reach(f"{point}.after")
            return NotLanded() if landing is None else Landed(answer=landing.answer)

        return probe

    # --- at the service -----------------------------------------------------------------------------------

    async def arrive(self, request: "_Request") -> Any:
        """A request has come in: do it, unless it was done, barred, fenced or refused.

        Raises:
            Refused: it is not done, and never will be.
        """
        ledger, key = self.ledger, request.key
        if request.call.kind == "read":
            return await self._answer(request)
        if key is None:
            self._keyless += 1
            key = f"{request.name}.{request.call.name} without a key, {self._keyless}"
        if key in ledger.landed:
            ledger.repeats += 1
            self._note(request, key, "void")
            return ledger.landed[key].answer
        try:
            if key in ledger.barred or request.number <= self._fenced.get(key, 0):
                raise Refused(f"{request.name} does not take {key} any more")
            if key in ledger.refused or request.refuse:
                raise Refused(ledger.refused.setdefault(key, f"{request.name} says no"))
            answer = await self._answer(request)
        except Refused as no:
            ledger.refused.setdefault(key, str(no))
            self._note(request, key, "refused")
            raise
        self._enter(request, key, answer)
        return answer

    def _note(self, request: "_Request", key: str, outcome: Literal["landed", "refused", "void"]) -> None:
        entry = Entry(
            at=self._world.loop.time(),
            external=request.name,
            call=request.call.name,
            key=key,
            undoes=request.undoes or None,
            outcome=outcome,
        )
        self.ledger.entries.append(entry)
        self.watch(entry)

    def _enter(self, request: "_Request", key: str, answer: Any) -> None:
        ledger, undoes = self.ledger, request.undoes or None
        if key in ledger.landed:
            ledger.doubled.append(key)
        empty = undoes is not None and undoes not in ledger.landed
        self._note(request, key, "void" if empty else "landed")
        if undoes is not None and empty:
            ledger.barred.add(undoes)
        elif undoes is not None:
            if undoes in ledger.undone:
                ledger.doubled.append(undoes)
            ledger.undone[undoes] = key
        ledger.landed[key] = Landing(
            at=self._world.loop.time(),
            external=request.name,
            call=request.call.name,
            key=key,
            args=request.args,
            undoes=undoes,
            empty=empty,
            answer=answer,
        )

    async def _answer(self, request: "_Request") -> Any:
        method = getattr(self._minds[request.name], request.call.name)
        takes = inspect.signature(method).parameters
        given = {"key": request.key, "undoes": request.undoes}
        extra = {name: value for name, value in given.items() if name in takes}
        value = method(*request.args, **request.named, **extra)
        return await value if inspect.isawaitable(value) else value


@dataclass(slots=True)
class _Request:
    """One call on its way."""

    services: Services
    name: str
    call: Call
    key: str | None
    undoes: str | None
    args: tuple[Any, ...]
    named: dict[str, Any]
    number: int = 0
    refuse: bool = False

    @property
    def point(self) -> str:
        """Its name among the fault points."""
        return f"{self.name}.{self.call.name}"

    @property
    def is_new(self) -> bool:
        """An effect, no undo, that has not happened yet."""
        return self.call.kind == "effect" and not self.undoes and self.key not in self.services.ledger.landed

    def leave(self, out: float, back: float = 0.0) -> Any:
        """Arrive after `out` seconds; the returned future has the answer `back` seconds later."""
        loop = self.services._world.loop
        answer: Any = loop.create_future()
        loop.in_world(out, lambda: loop.create_task(self._arrive(answer, back)))
        return answer

    async def _arrive(self, answer: Any, back: float) -> None:
        try:
            said = True, await self.services.arrive(self)
        except Exception as error:
            said = False, error
        self.services._world.loop.in_world(back, _give, answer, said)


def _give(answer: Any, said: Any) -> None:
    if not answer.done():
        answer.set_result(said)


async def _wait(world: World, seconds: float) -> None:
    over: Any = world.loop.create_future()
    world.loop.in_world(seconds, _give, over, None)
    await over


async def _closed() -> None:
    return None


def _mind(cls: type[External]) -> Any:
    if cls.Mock is None:
        raise TypeError(f"{cls.__name__} has no mock: declare `class Mock:` in it")
    return cls.Mock()
