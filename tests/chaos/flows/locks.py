"""Flows that lock: sets of objects at once, one by one late, and lists that are read and appended to."""

from collections.abc import Iterable

from pydantic import BaseModel

from sagacity import Participant, Refused, Saga, Stage, State, exclusive, operation, step
from sagacity.model.record import Lock
from tests.chaos.flows.chain import LIMIT, RETRY
from tests.chaos.flows.town import Receipt, Till


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


class Notes(Participant, type="notes"):
    """A list to which values are appended."""

    class State(BaseModel):
        values: list[str] = []

    @operation(inverse="drop")
    def append(self, state: State, value: str) -> State:
        return Notes.State(values=[*state.values, value])

    @operation(inverse="append")
    def drop(self, state: State, value: str) -> State:
        return Notes.State(values=[one for one in state.values if one != value])


class Seen(BaseModel):
    """What stood in the lists when they were looked at."""

    lists: dict[str, list[str]]


class Append(Saga, version=1, key="name"):
    """Reads some lists, takes its time, and appends to some of them; or goes back after all of that."""

    class Input(BaseModel):
        name: str
        reads: list[str]
        appends: dict[str, list[str]]
        refused: bool = False

    begun = State(initial=True)
    looked = State()
    waited = State()
    written = State()
    closed = State(final=True)

    look = begun.to(looked)
    wait = looked.to(waited)
    write = waited.to(written)
    close = written.to(closed)

    def participants(self, wish: Input) -> Iterable[Lock]:
        for name in {*wish.reads, *wish.appends}:
            yield exclusive("notes", name)

    @step(look)
    def read_all(self, wish: Input, stage: Stage) -> Seen:
        return Seen(lists={name: stage(Notes, name).state.values for name in wish.reads})

    @step(wait, undo=Till.give_back, retry=RETRY, timeout=LIMIT)
    async def take_time(self, wish: Input, till: Till) -> Receipt:
        return await till.take(wish.name, "1")

    @step(write)
    def append_all(self, wish: Input, stage: Stage) -> None:
        for name, values in wish.appends.items():
            for value in values:
                stage(Notes, name).append(value)

    @step(close)
    def decide(self, wish: Input) -> None:
        if wish.refused:
            raise Refused("it goes back, with everything staged")
