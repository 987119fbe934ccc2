"""Operators of a simulated town: they act by hand on what they see, truthfully, and know no better.

They say that an effect happened only where the outside's own ledger has it, for what they say is written
down as true. What they pause they resume, so what lives when the calm comes still ends.
"""

from functools import partial
from typing import Any

from sagacity.decide.orders import ordered
from sagacity.decide.permitting import failing, standing
from sagacity.model.operating import Verb
from sagacity.model.record import Phase, Record, Status
from sagacity.model.unit import Message
from sagacity.orchestrator import Orchestrator
from sagacity.testing.chance import Chance
from sagacity.testing.simulation import Simulation


class Hands:
    """The operators of one simulation.

    Args:
        chance: decides what they do; of their own, so that everybody else does what they would do anyway.
    """

    def __init__(self, sim: Simulation, app: Orchestrator, chance: Chance) -> None:
        self._sim = sim
        self._app = app
        self._chance = chance

    async def look_at(self, record: Record, *, calm: bool) -> bool:
        """Act on a saga, or leave it to others. True: they did something."""
        if record.status.final:
            return False
        if record.paused:
            return await self._let_go_on(record, calm=calm)
        if failing(record) and (said := self._knows(record)) is not None and self._chance.hit(0.3):
            return await self._act(record, Verb.SKIP, said)
        if calm:
            return False
        if self._chance.hit(0.03):
            return await self._act(record, Verb.PAUSE)
        return await self._give_up(record)

    async def _let_go_on(self, record: Record, *, calm: bool) -> bool:
        hit = self._chance.hit
        if calm or hit(0.3):
            return await self._act(record, Verb.RESUME)
        if record.locks and hit(0.5):
            return await self._take_lock(record)
        return await self._give_up(record)

    async def _give_up(self, record: Record) -> bool:
        """Sometimes nobody wants it any more. Parents count on their children, so those are left alone."""
        resting = record.paused or record.status in (Status.STUCK, Status.WAITING)
        whole = record.parent is None and record.rolls_back is None
        if resting and whole and self._chance.hit(0.01):
            return await self._act(record, Verb.ABANDON)
        if record.status is Status.STUCK and record.locks and self._chance.hit(0.2):
            return await self._take_lock(record)
        return False

    async def _take_lock(self, record: Record) -> bool:
        """One of its locks, as somebody sees it who has looked a moment ago."""
        views = await self._sim.insist(partial(self._app.locks, saga=record.id))
        if not views:
            return False
        view = self._chance.pick(tuple(views))
        args = {"object": view.object, "fence": view.fence, "holder": str(record.id)}
        return await self._act(record, Verb.RELEASE_LOCK, args)

    def _knows(self, record: Record) -> dict[str, Any] | None:
        """What the ledger tells of the step, or of the undo, that is held up; None: nothing for sure."""
        ledger = self._sim.services.ledger
        if record.backward:
            effect = standing(record)
            return {"landed": "yes"} if effect is not None and effect.key in ledger.undone else None
        for run in record.runs:
            made = record.effect_of(run.step, run.visit)
            if run.phase not in (Phase.RETRY, Phase.GAVE_UP) or made is None:
                continue
            landing = ledger.landed.get(made.key)
            if landing is not None and made.key not in ledger.undone:
                return {"landed": "yes", "step": run.step, "result": landing.answer}
        return None

    async def _act(self, record: Record, verb: Verb, args: Any = None) -> bool:
        # Half of the pauses are for whatever it is by then; all else is for what was seen.
        blind = verb is Verb.PAUSE and self._chance.hit(0.5)
        message = Message(
            id=self._chance.id(),
            kind="act",
            saga=record.id,
            name=verb.value,
            data=ordered(verb, args, revision=None if blind else record.seq, reason="seen on the screen"),
            actor="local:operator",
            arrived_at=record.updated_at,
        )
        await self._sim.insist(partial(self._app.store.put, [message]))
        return True
