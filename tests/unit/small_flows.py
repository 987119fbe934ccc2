"""A few small flows that between them have everything that decisions are made about."""

from collections.abc import Iterable
from datetime import timedelta

from pydantic import BaseModel
from tenacity import stop_after_attempt, stop_never, wait_fixed

from sagacity import (
    External,
    Participant,
    Refused,
    Saga,
    Stage,
    State,
    awaits,
    cancel,
    effect,
    exclusive,
    operation,
    shared,
    spawns,
    step,
)
from sagacity.definition.compile import ChildEnd
from sagacity.definition.external import Landed, NotLanded
from sagacity.model.record import Lock

TWICE = (stop_after_attempt(2), wait_fixed(10))
FOR_EVER = (stop_never, wait_fixed(10))


class Taken(BaseModel):
    """What `Depot.take` answers."""

    id: str


class Kept(BaseModel):
    """What `Depot.keep` answers."""

    id: str


class Depot(External):
    """An outside service that gives back in two ways."""

    @effect(inverse="give_back")
    async def take(self, n: int, *, key: str) -> Taken:
        return Taken(id=key)

    @effect
    async def give_back(self, taken: Taken, *, key: str) -> None:
        """Only what was really taken can be given back."""

    @effect(inverse="drop")
    async def keep(self, n: int, *, key: str) -> Kept:
        return Kept(id=key)

    @effect(safe_on_nothing=True)
    async def drop(self, kept: Kept | None, *, key: str, undoes: str) -> None:
        """May be called although nothing is kept."""

    @effect
    async def tell(self, n: int, *, key: str) -> None:
        """Cannot be taken back."""

    class Mock:
        async def take(self, n: int) -> Taken:
            return Taken(id="mock")

        async def give_back(self, taken: Taken) -> None:
            """Nothing."""

        async def keep(self, n: int) -> Kept:
            return Kept(id="mock")

        async def drop(self, kept: Kept | None) -> None:
            """Nothing."""

        async def tell(self, n: int) -> None:
            """Nothing."""


class Desk(External):
    """An outside service that can tell what it did."""

    @effect(inverse="unfile")
    async def file(self, n: int, *, key: str) -> Kept:
        return Kept(id=key)

    @effect
    async def unfile(self, kept: Kept, *, key: str) -> None:
        """Only what was filed can be unfiled."""

    async def probe(self, key: str) -> Landed | NotLanded | None:
        return None

    class Mock:
        async def file(self, n: int) -> Kept:
            return Kept(id="mock")

        async def unfile(self, kept: Kept) -> None:
            """Nothing."""


class Box(Participant, type="box"):
    """An engine-owned object with one operation that has an inverse and one that has none."""

    class State(BaseModel):
        n: int = 0

    @operation(inverse="out")
    def into(self, state: State, n: int) -> State:
        return Box.State(n=state.n + n)

    @operation(inverse="into")
    def out(self, state: State, n: int) -> State:
        if n > state.n:
            raise Refused(f"only {state.n} are in the box")
        return Box.State(n=state.n - n)

    @operation()
    def empty(self, state: State) -> State:
        return Box.State()


class Numbered(BaseModel):
    """The input of most flows."""

    n: int = 1


class Flat(Saga, version=1):
    """Two effects, a point of no return, and one effect behind it."""

    Input = Numbered

    begun = State(initial=True)
    taken = State()
    kept = State()
    told = State()
    thanked = State(final=True)

    do_take = begun.to(taken)
    do_keep = taken.to(kept)
    do_tell = kept.to(told)
    do_thank = told.to(thanked)

    def participants(self, given: Numbered) -> Iterable[Lock]:
        yield shared("box", 2)
        yield exclusive("box", given.n)
        yield shared("box", given.n)

    @step(do_take, undo=Depot.give_back, retry=TWICE)
    async def take(self, given: Numbered, depot: Depot) -> Taken:
        return await depot.take(given.n)

    @step(do_keep, undo=Depot.drop, retry=TWICE)
    async def keep(self, given: Numbered, depot: Depot) -> Kept:
        return await depot.keep(given.n)

    @step(do_tell, final=True, pivot=True, retry=TWICE)
    async def tell(self, given: Numbered, depot: Depot) -> None:
        await depot.tell(given.n)

    @step(do_thank, final=True, retry=FOR_EVER)
    async def thank(self, given: Numbered, depot: Depot) -> None:
        await depot.tell(given.n)


class Probed(Saga, version=1):
    """One effect that can be asked for."""

    Input = Numbered

    begun = State(initial=True)
    filed = State(final=True)

    do_file = begun.to(filed)

    def participants(self, given: Numbered) -> Iterable[Lock]:
        return ()

    @step(do_file, undo=Desk.unfile, retry=TWICE)
    async def file_it(self, given: Numbered, desk: Desk) -> Kept:
        return await desk.file(given.n)


class Looked(BaseModel):
    """What `look` found."""

    big: bool


class Answer(BaseModel):
    """What the approval carries."""

    approved: bool
    reason: str | None = None


class Waiter(Saga, version=1):
    """Guards, an approval with a deadline, a signal, a signal that cancels, and a timer."""

    Input = Numbered

    begun = State(initial=True)
    looked = State()
    asked = State()
    allowed = State()
    rested = State()
    ended = State(final=True)

    do_look = begun.to(looked)
    do_ask = looked.to(asked, cond="is_big") | looked.to(allowed)
    allow = asked.to(allowed)
    rest = allowed.to(rested)
    go = rested.to(ended, cond="is_small") | rested.to(allowed, cond="is_twelve")

    def participants(self, given: Numbered) -> Iterable[Lock]:
        yield exclusive("box", given.n)

    def is_big(self, looked: Looked) -> bool:
        return looked.big

    def is_small(self, given: Numbered) -> bool:
        return given.n < 10

    def is_twelve(self, given: Numbered) -> bool:
        return given.n == 12

    @step(do_look, undo=Depot.drop, retry=TWICE)
    async def look(self, given: Numbered, depot: Depot) -> Kept:
        return await depot.keep(given.n)

    @step(do_ask, retry=TWICE)
    def ask(self, given: Numbered) -> Looked:
        return Looked(big=given.n > 5)

    allowance = awaits(allow, approval="boss", within=timedelta(hours=1), otherwise=cancel, data=Answer)
    rested_enough = awaits(rest, after=timedelta(minutes=5))
    called_off = awaits(cancel, signal="called_off", during=(asked, allowed))
    gone = awaits(go, signal="go", within=timedelta(hours=2), otherwise=cancel)


class Side(Saga, version=1):
    """Three regions side by side, and a choice at their end."""

    Input = Numbered

    begun = State(initial=True)

    class work(State.Parallel):
        class left(State.Compound):
            l0 = State(initial=True)
            l1 = State()
            l2 = State(final=True)

        class right(State.Compound):
            r0 = State(initial=True)
            r1 = State(final=True)

        class heard(State.Compound):
            h0 = State(initial=True)
            h1 = State(final=True)

    few = State()
    many = State()
    ended = State(final=True)

    do_enter = begun.to(work)
    do_left = work.left.l0.to(work.left.l1)
    do_more = work.left.l1.to(work.left.l2)
    do_right = work.right.r0.to(work.right.r1)
    do_hear = work.heard.h0.to(work.heard.h1)
    done_state_work = work.to(many, cond="is_many") | work.to(few)  # type: ignore[operator]
    do_few = few.to(ended)
    do_many = many.to(ended)

    def participants(self, given: Numbered) -> Iterable[Lock]:
        yield exclusive("box", given.n)

    def is_many(self, given: Numbered) -> bool:
        return given.n > 5

    @step(do_enter)
    def enter(self, given: Numbered, stage: Stage) -> None:
        stage(Box, given.n).into(given.n)

    @step(do_left, undo=Depot.give_back, retry=TWICE)
    async def left_one(self, given: Numbered, depot: Depot) -> Taken:
        return await depot.take(given.n)

    @step(do_more, undo=Depot.drop, retry=TWICE)
    async def left_two(self, given: Numbered, depot: Depot) -> Kept:
        return await depot.keep(given.n)

    @step(do_right, undo=Depot.give_back, retry=TWICE)
    async def right_one(self, given: Numbered, depot: Depot) -> Taken:
        return await depot.take(given.n)

    hearing = awaits(do_hear, signal="heard", within=timedelta(hours=1), otherwise=cancel)

    @step(do_few)
    def count_few(self) -> None:
        """Nothing to do."""

    @step(do_many)
    def count_many(self) -> None:
        """Nothing to do."""


class Parent(Saga, version=1):
    """An effect, then child sagas, then another effect."""

    Input = Numbered

    begun = State(initial=True)
    ready = State()
    raised = State()
    ended = State(final=True)

    do_ready = begun.to(ready)
    do_raise = ready.to(raised)
    do_end = raised.to(ended)

    def participants(self, given: Numbered) -> Iterable[Lock]:
        return ()

    @step(do_ready, undo=Depot.give_back, retry=TWICE)
    async def make_ready(self, given: Numbered, depot: Depot) -> Taken:
        return await depot.take(given.n)

    @spawns(do_raise, Flat)
    def children(self, given: Numbered) -> list[Numbered]:
        return [Numbered(n=n) for n in range(given.n)]

    @step(do_end, undo=Depot.drop, retry=TWICE)
    async def settle_down(self, given: Numbered, ends: list[ChildEnd], depot: Depot) -> Kept:
        return await depot.keep(given.n)


class Late(Saga, version=1):
    """A second lock is taken on the way, in one of two regions."""

    Input = Numbered

    begun = State(initial=True)

    class work(State.Parallel):
        class left(State.Compound):
            l0 = State(initial=True)
            l1 = State(final=True)

        class right(State.Compound):
            r0 = State(initial=True)
            r1 = State(final=True)

    ended = State(final=True)

    do_enter = begun.to(work)
    do_left = work.left.l0.to(work.left.l1)
    do_right = work.right.r0.to(work.right.r1)
    done_state_work = work.to(ended)

    def participants(self, given: Numbered) -> Iterable[Lock]:
        yield exclusive("box", given.n)
        yield shared("box", 100)

    def more(self, given: Numbered) -> Iterable[Lock]:
        yield shared("box", given.n + 1)
        yield exclusive("box", given.n + 1)
        yield exclusive("box", given.n)
        if given.n == 99:
            yield exclusive("box", 100)

    @step(do_enter)
    def enter(self) -> None:
        """Nothing to do."""

    @step(do_left, undo=Depot.give_back, retry=TWICE)
    async def left_one(self, given: Numbered, depot: Depot) -> Taken:
        return await depot.take(given.n)

    @step(do_right, undo=Depot.drop, retry=TWICE, locks=more)
    async def right_one(self, given: Numbered, depot: Depot) -> Kept:
        return await depot.keep(given.n)


class Behind(Saga, version=1):
    """A second lock is taken behind an effect."""

    Input = Numbered

    begun = State(initial=True)
    taken = State()
    ended = State(final=True)

    do_take = begun.to(taken)
    do_keep = taken.to(ended)

    def participants(self, given: Numbered) -> Iterable[Lock]:
        yield exclusive("box", given.n)

    def more(self, given: Numbered) -> Iterable[Lock]:
        yield exclusive("box", given.n + 1)

    @step(do_take, undo=Depot.give_back, retry=TWICE)
    async def take(self, given: Numbered, depot: Depot) -> Taken:
        return await depot.take(given.n)

    @step(do_keep, undo=Depot.drop, retry=TWICE, locks=more)
    async def keep(self, given: Numbered, depot: Depot) -> Kept:
        return await depot.keep(given.n)


class Picky(Saga, version=1):
    """Guards that may let nothing pass, and participants that may not be told."""

    Input = Numbered

    begun = State(initial=True)
    small = State()
    ended = State(final=True)

    do_begin = begun.to(small, cond="is_small")
    do_one = small.to(ended, cond="is_one")
    do_two = small.to(ended, cond="is_two")

    def participants(self, given: Numbered) -> Iterable[Lock]:
        if given.n == 0:
            raise ValueError("nobody is nought")
        yield exclusive("box", given.n)

    def is_small(self, given: Numbered) -> bool:
        return given.n < 10

    def is_one(self, given: Numbered) -> bool:
        return given.n == 1

    def is_two(self, given: Numbered) -> bool:
        return given.n == 2

    @step(do_begin)
    def begin_it(self) -> None:
        """Nothing to do."""

    @step(do_one)
    def one(self) -> None:
        """Nothing to do."""

    @step(do_two)
    def two(self) -> None:
        """Nothing to do."""


class Distracted(Saga, version=1):
    """One region takes a lock late, the other waits for word, an hour at the most."""

    Input = Numbered

    begun = State(initial=True)

    class work(State.Parallel):
        class left(State.Compound):
            l0 = State(initial=True)
            l1 = State(final=True)

        class right(State.Compound):
            r0 = State(initial=True)
            r1 = State(final=True)

    ended = State(final=True)

    do_enter = begun.to(work)
    do_left = work.left.l0.to(work.left.l1)
    do_hear = work.right.r0.to(work.right.r1)
    done_state_work = work.to(ended)

    def more(self, given: Numbered) -> Iterable[Lock]:
        yield exclusive("box", given.n)

    @step(do_enter)
    def enter(self) -> None:
        """Nothing to do."""

    @step(do_left, undo=Depot.give_back, retry=TWICE, locks=more)
    async def left_one(self, given: Numbered, depot: Depot) -> Taken:
        return await depot.take(given.n)

    word = awaits(do_hear, signal="word", within=timedelta(hours=1), otherwise=cancel)
