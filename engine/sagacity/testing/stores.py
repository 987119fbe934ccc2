"""The store as a simulated process sees it: a network lies between, and calls get lost on it.

A request that was sent arrives whether or not its sender still lives, and perhaps after the sender
gave it up. So what is reported as unknown may be done, not done, or done later: exactly what the
contract allows, and what the engine must stand.
"""

from collections.abc import Callable, Coroutine
from typing import Any, Protocol, cast

from sagacity.errors import StoreUnavailable
from sagacity.model.unit import OutcomeUnknown
from sagacity.store.base import Store
from sagacity.testing.chance import Chance
from sagacity.testing.faults import STORE, Faults
from sagacity.testing.loop import SimulatedLoop

_UNKNOWABLE = frozenset({"write", "write_with_rows", "erase"})
"""Calls that tell an unknown outcome from a refusal; all others only say that the store is away."""

_STRAIGHT = frozenset({"chain_rows", "rows_by_saga", "sagas_whole", "objects_whole", "put_sync"})
"""Not one request each: for checkers, which do not go through the network."""

_SLOWEST = 8.0
"""Seconds after which a driver would have given up by itself."""


class World(Protocol):
    """What a port needs of the simulation."""

    loop: SimulatedLoop
    chance: Chance
    faults: Faults

    async def reach(self, point: str) -> None:
        """A point at which the process may die or freeze; a dead process never passes."""

    def cut_off(self) -> bool:
        """The network is down for the process that asks."""

    def hint_all(self) -> None:
        """Tell all stores that there may be something to do."""

    def hinted(self, port: object) -> Coroutine[Any, Any, None]:
        """Wait for a hint to this port."""


def simulated_store(world: World, inner: Store) -> Store:
    """`inner` behind a network of `world`. `inner` must answer at once, as a `MemoryStore` does."""
    return cast(Store, _Port(world, inner))


class _Port:
    """See the module. Every coroutine method of the store is one request."""

    def __init__(self, world: World, inner: Store) -> None:
        self._world = world
        self._inner = inner
        self.tenant = inner.tenant
        self.lane = inner.lane

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        if name in _STRAIGHT or name.startswith("_"):
            return method

        async def request(*args: Any, **named: Any) -> Any:
            return await self._request(name, method, args, named)

        setattr(self, name, request)
        return request

    async def hint(self) -> None:
        """Tell the others, unless the hint is lost, which it may be."""
        await self._world.reach("store.hint.before")
        if self._world.faults.at("store.hint", ("lost",), self._world.loop.time()) is None:
            self._world.hint_all()

    async def hinted(self) -> None:
        """Wait until somebody hints."""
        await self._world.hinted(self)

    async def _request(self, name: str, method: Callable[..., Any], args: Any, named: Any) -> Any:
        world, call = self._world, f"store.{name}"
        await world.reach(f"{call}.before")
        kind = "refused" if world.cut_off() else world.faults.at(call, STORE, world.loop.time())
        out, back = world.chance.between(0.0002, 0.003), world.chance.between(0.0002, 0.003)
        match kind:
            case "refused":
                await _pass(world.loop, back)
                raise StoreUnavailable(f"{call}: the database cannot be reached (simulated)")
            case "slow":
                out = world.chance.between(0.01, _SLOWEST)
            case "lost":
                await _pass(world.loop, world.chance.between(0.0, _SLOWEST))
                raise _nobody_knows(name)
            case "late":
                world.loop.in_world(world.chance.between(0.0, 2 * _SLOWEST), _served, method, args, named)
                await _pass(world.loop, back)
                raise _nobody_knows(name)
        answer: Any = world.loop.create_future()
        world.loop.in_world(out, self._serve, method, args, named, answer, back)
        done, value = await answer
        await world.reach(f"{call}.after")
        if kind == "unanswered":
            raise _nobody_knows(name)
        if done:
            return value
        raise value

    def _serve(self, method: Callable[..., Any], args: Any, named: Any, answer: Any, back: float) -> None:
        said = _served(method, args, named)
        self._world.loop.in_world(back, _give, answer, said)


def _served(method: Callable[..., Any], args: Any, named: Any) -> tuple[bool, Any]:
    """Do it now, whole. (True, its answer) or (False, its error)."""
    work = method(*args, **named)
    try:
        work.send(None)
    except StopIteration as end:
        return True, end.value
    except Exception as error:
        return False, error
    work.close()
    raise RuntimeError(f"{method!r} waits: a simulated store must answer at once")


def _give(answer: Any, said: tuple[bool, Any]) -> None:
    if not answer.done():
        answer.set_result(said)


def _nobody_knows(name: str) -> Exception:
    if name in _UNKNOWABLE:
        return OutcomeUnknown(f"store.{name}: the connection broke (simulated)")
    return StoreUnavailable(f"store.{name}: the connection broke (simulated)")


async def _pass(loop: SimulatedLoop, seconds: float) -> None:
    over: Any = loop.create_future()
    loop.in_world(seconds, _give, over, (True, None))
    await over
