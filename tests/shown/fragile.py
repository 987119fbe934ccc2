"""A flow whose undo fails for as long as the file `mended` is absent: what a stuck saga is shown with."""

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel
from tenacity import stop_after_attempt, wait_fixed

from sagacity import Compensation, External, Refused, Saga, State, effect, exclusive, step
from sagacity.model.record import Lock

MENDED = Path("mended")
DONE = Path("done")


class Receipt(BaseModel):
    """What was done."""

    text: str


def _mark(key: str) -> None:
    DONE.write_text(f"{key}\n")


def _unmark() -> None:
    if not MENDED.exists():
        raise RuntimeError("the machine is broken")
    DONE.unlink(missing_ok=True)


class Machine(External):
    """Does things, and undoes them only when it is mended."""

    @effect
    async def run(self, text: str, *, key: str) -> Receipt:
        _mark(key)
        return Receipt(text=text)

    @effect
    async def undo(self, *, key: str) -> None:
        _unmark()

    @effect
    async def refuse(self, *, key: str) -> None:
        raise Refused("the second part cannot be done")

    class Mock:
        async def run(self, text: str) -> Receipt:
            return Receipt(text=text)

        async def undo(self) -> None:
            return None

        async def refuse(self) -> None:
            return None


class Repair(
    Compensation, safe_on_nothing=True, retry=(stop_after_attempt(2), wait_fixed(timedelta(milliseconds=50)))
):
    """Undo what the machine did."""

    async def run(self, receipt: Receipt | None, machine: Machine) -> None:
        await machine.undo()


class Fragile(Saga, version=1, key="part"):
    """Its second step is refused, so the first has to be undone."""

    class Input(BaseModel):
        part: str

    new = State(initial=True)
    half = State()
    whole = State(final=True)

    first = new.to(half)
    second = half.to(whole)

    def participants(self, part: Input) -> Iterable[Lock]:
        yield exclusive("part", part.part)

    @step(first, undo=Repair)
    async def do_first(self, part: Input, machine: Machine) -> Receipt:
        return await machine.run(part.part)

    @step(second, undo=Repair)
    async def do_second(self, part: Input, machine: Machine) -> None:
        await machine.refuse()
