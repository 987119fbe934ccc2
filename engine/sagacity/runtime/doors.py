"""Doors: what a step gets in place of an external, and the only way through which it reaches the world.

A door lets one effect out per step, hands it the idempotency key, and remembers what became
of it, so that the outcome is judged by what happened at the door and not by what the step's
code made of it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, get_type_hints

from pydantic import TypeAdapter

from sagacity.definition.external import Call, External, Landed, NotLanded
from sagacity.errors import Refused, SagacityError, Unavailable


class SecondEffect(SagacityError):
    """A step tried a second effect; it was refused before it left. Put it into a step of its own."""


class TooLate(SagacityError):
    """The attempt was judged already, or the saga may be another's: what is tried does not leave."""


class Passage:
    """What went through the doors of one attempt of one step.

    Args:
        step: the step's name, for messages.
        key: the effect's idempotency key.
        undoes: for a compensation, the key of the effect that it makes good.
        settle, back, ask: as in `RunStep`.
        sure: asked right before an effect leaves: is the saga still this worker's? None: it is.

    Attributes:
        late: an effect was about to leave, and it was not sure whose the saga is: it did not leave.
        over: the attempt was judged: nothing passes any more.
        tried: an effect left.
        landed: an effect's answer came back.
        refused: the outside gave a definite no, or nothing was sent.
        denied: it gave a no for good, which also speaks for earlier attempts under the key.
    """

    __slots__ = (
        *("ask", "back", "denied", "key", "landed", "late", "over", "refused", "settle", "step", "sure"),
        *("tried", "undoes"),
    )

    def __init__(
        self,
        *,
        step: str,
        key: str,
        undoes: str | None = None,
        settle: bool = False,
        back: bool = False,
        ask: bool = False,
        sure: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        self.step = step
        self.key = key
        self.undoes = undoes
        self.settle = settle
        self.back = back
        self.ask = ask
        self.sure = sure
        self.late = False
        self.tried = False
        self.landed = False
        self.refused = False
        self.denied = False
        self.over = False

    @property
    def unknown(self) -> bool:
        """An effect left and what became of it is not known, or the code broke after it landed."""
        return self.tried and not self.refused


class Door:
    """Stands for one external in one attempt of one step. Effects and reads are its methods."""

    def __init__(
        self, external: External, passage: Passage, *, loop: asyncio.AbstractEventLoop | None
    ) -> None:
        self._external = external
        self._passage = passage
        self._loop = loop

    def __getattr__(self, name: str) -> Callable[..., Any]:
        external = self._external
        effect, read = external.effects.get(name), external.reads.get(name)
        if effect is None and read is None:
            raise AttributeError(f"{external.name} declares no effect or read {name!r}")

        async def call(*args: Any, **named: Any) -> Any:
            if effect is not None:
                return await self._effect(effect, args, named)
            return await getattr(external, name)(*args, **named)

        if self._loop is None:
            return call
        loop = self._loop
        # A plain function runs in a thread: it calls, and blocks, while the loop does the work.
        return lambda *args, **named: asyncio.run_coroutine_threadsafe(call(*args, **named), loop).result()

    async def _effect(self, call: Call, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        passage = self._passage
        self._check_open(call)
        if passage.tried or passage.landed:
            raise SecondEffect(
                f"{passage.step} tried a second effect, {self._external.name}.{call.name}: "
                "a step makes at most one; put it into a step of its own"
            )
        if passage.settle and self._external.has_probe:
            found = await self._external.probe(passage.key)
            if isinstance(found, Landed):
                passage.tried = passage.landed = True
                return self._typed(call, found.answer)
            if isinstance(found, NotLanded) and passage.back:
                passage.tried = passage.refused = passage.denied = True
                raise Refused("it had not landed, and the saga goes back")
            self._check_open(call)
        if passage.ask:
            passage.tried = True
            raise SagacityError(f"{self._external.name} cannot tell whether {call.name} landed")
        if call.takes_key:
            named["key"] = passage.key
        if call.takes_undoes:
            named["undoes"] = passage.undoes or ""
        await self._check_whose(call)
        passage.tried = True
        try:
            answer = await getattr(self._external, call.name)(*args, **named)
        except (Refused, Unavailable) as no:
            passage.refused = True
            passage.denied = isinstance(no, Refused)
            raise
        passage.landed = True
        return answer

    def _typed(self, call: Call, answer: Any) -> Any:
        """A probe's answer as what the effect itself would have returned."""
        returns = get_type_hints(getattr(type(self._external), call.name)).get("return", Any)
        return TypeAdapter(returns).validate_python(answer)

    async def _check_whose(self, call: Call) -> None:
        """A process that was frozen between its intent and its call must not make the call its heir makes."""
        passage = self._passage
        if passage.sure is not None and not await passage.sure():
            passage.late = True
            raise TooLate(f"{self._external.name}.{call.name} was not called: the lease may have run out")
        self._check_open(call)

    def _check_open(self, call: Call) -> None:
        if self._passage.over:
            raise TooLate(f"{self._passage.step} is over: {self._external.name}.{call.name} was not called")
