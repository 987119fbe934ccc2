"""Flows that lock: sets of objects at once, one by one late, and lists that are read and appended to."""

from collections.abc import Iterable

from pydantic import BaseModel

from sagacity import Participant, Saga, Stage, State, exclusive, operation, step
from sagacity.model.record import Lock


class Count(Participant, type="count"):
    """How often it was counted up, and by whom last."""

    class State(BaseModel):
        total: int = 0

    @operation(inverse="down")
    def up(self, state: State) -> State:
        return Count.State(total=state.total + 1)

    @operation(inverse="up")
    def down(self, state: State) -> State:
        return Count.State(total=state.total - 1)


class Grab(Saga, version=1, key="name"):
    """Locks some objects at once and counts each up."""

    class Input(BaseModel):
        name: str
        objects: list[str]

    wanting = State(initial=True)
    having = State(final=True)

    have = wanting.to(having)

    def participants(self, grab: Input) -> Iterable[Lock]:
        for name in grab.objects:
            yield exclusive("count", name)

    @step(have)
    def count_up(self, grab: Input, stage: Stage) -> None:
        for name in grab.objects:
            stage(Count, name).up()


class Reach(Saga, version=1, key="name"):
    """Locks its first object at once and the others late, in the order in which they were given."""

    class Input(BaseModel):
        name: str
        objects: list[str]

    wanting = State(initial=True)
    near = State()
    having = State(final=True)

    begin = wanting.to(near)
    have = near.to(having)

    def participants(self, reach: Input) -> Iterable[Lock]:
        yield exclusive("count", reach.objects[0])

    def the_others(self, reach: Input) -> Iterable[Lock]:
        for name in reach.objects[1:]:
            yield exclusive("count", name)

    @step(begin)
    def stretch(self, reach: Input) -> None:
        """Nothing yet: the others are locked before the next step."""

    @step(have, locks=the_others)
    def count_up(self, reach: Input, stage: Stage) -> None:
        for name in reach.objects:
            stage(Count, name).up()
