"""Who starts the simulated sagas and speaks to them: people who do not know better, and remember answers."""

from collections.abc import Coroutine
from datetime import timedelta
from functools import partial
from typing import Any

from sagacity.errors import Conflict, NotFound, RefusedAct, StoreUnavailable
from sagacity.invariants import Op
from sagacity.model.record import Record, Status, Wait, WaitsFor
from sagacity.orchestrator import Orchestrator
from sagacity.testing.chance import Chance
from sagacity.testing.simulation import Simulation
from tests.chaos.family import FAMILY
from tests.chaos.hands import Hands
from tests.chaos.town import POTS


class People:
    """Clients of one simulation.

    Args:
        chance: decides what they do.
        calm: virtual second from which on they only answer what is awaited, and cancel nothing any more.
        by_hand: decides what operators do; None: there are none.

    Attributes:
        history: what they were told; what was acknowledged must be there for ever (I7).
    """

    def __init__(
        self, sim: Simulation, chance: Chance, *, calm: float, by_hand: Chance | None = None
    ) -> None:
        self.history: list[Op] = []
        self._sim = sim
        self._app: Orchestrator = sim.client()
        self._chance = chance
        self._calm = calm
        self._hands = Hands(sim, self._app, by_hand) if by_hand is not None else None

    async def start(self, sagas: int) -> None:
        """Start so many, some at once and some later."""
        for n in range(sagas):
            flow = self._chance.pick(FAMILY)
            pot, other = self._two_pots()
            asked = {"name": f"s{n}", "pot": pot, "other": other, "amount": 1 + self._chance.below(20)}
            handle = await self._sim.insist(partial(self._app.start, flow, asked))
            name = handle.definition
            self.history.append(Op(op="start", id=handle.id, key=handle.key, definition=name, result="ok"))
            if self._chance.hit(0.4):
                await self._sim.sleep(timedelta(seconds=self._chance.between(0, 400)))

    def _two_pots(self) -> tuple[str, str]:
        # Half of them on the first two pots, so that there is something to wait for.
        among = POTS if self._chance.hit(0.5) else POTS[:2]
        first = self._chance.below(len(among))
        second = (first + 1 + self._chance.below(len(among) - 1)) % len(among)
        return among[first], among[second]

    async def look_at(self, record: Record) -> None:
        """Signal, approve, cancel, retry or roll back, or leave it alone."""
        try:
            calm = self._sim.seconds >= self._calm
            if self._hands is not None and await self._hands.look_at(record, calm=calm):
                return
            await self._act_on(record)
            for wait in record.waits:
                await self._answer(record, wait)
        except (RefusedAct, NotFound, Conflict, StoreUnavailable):
            return  # it has moved on since they looked, or the line is down

    async def _act_on(self, record: Record) -> None:
        app, saga, hit = self._app, record.id, self._chance.hit
        calm = self._sim.seconds >= self._calm
        whole = not record.rolls_back and record.parent is None
        if record.status is Status.STUCK:
            await self._sim.insist(partial(app.retry, saga, reason="try again"))
        elif calm:
            return
        elif record.status is Status.COMMITTED and whole and hit(0.02):
            back = partial(app.rollback, saga, reason="take it back", accept_remaining=True)
            await self._sim.insist(back)
        elif not record.status.final and hit(0.01):
            await self._sim.insist(partial(app.cancel, saga, reason="not wanted"))

    async def _answer(self, record: Record, wait: Wait) -> None:
        hit = self._chance.hit
        if wait.signal is None or not (self._sim.seconds >= self._calm or hit(0.5)):
            return
        if wait.signal == "called_off" and not hit(0.1):
            return
        data: Any = {"approved": hit(0.7)} if wait.kind is WaitsFor.APPROVAL else {"count": 3}
        id = self._chance.id()  # their own, so that saying it again is a repeat
        call: partial[Coroutine[Any, Any, Any]] = partial(
            self._app.signal, record.id, wait.signal, data, id=id
        )
        await self._sim.insist(call)
        self.history.append(Op(op="signal", id=id, result="ok"))
