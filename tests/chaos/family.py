"""The family of sagas that simulations play: 3 to 8 steps each, and together every thing a flow can do."""

from collections.abc import Iterable
from datetime import timedelta

from pydantic import BaseModel
from tenacity import stop_after_attempt, stop_never, wait_fixed, wait_none

from sagacity import Refused, Saga, Stage, State, Unavailable, awaits, cancel, exclusive, shared, spawns, step
from sagacity.definition.compile import ChildEnd
from sagacity.model.record import Lock
from tests.chaos.town import MeltDown, Mint, Pot, Purse, Rider, Token

AT_ONCE = dict(stop=stop_after_attempt(3), wait=wait_none())
SLOWLY = dict(stop=stop_after_attempt(6), wait=wait_fixed(20))
ALWAYS = dict(stop=stop_never, wait=wait_fixed(15))
LIMIT = timedelta(seconds=10)
MINUTE = timedelta(minutes=1)


class Asked(BaseModel):
    """What every flow of the family is asked: a name, two pots, and how much."""

    name: str
    pot: str
    other: str
    amount: int


class Trip(Saga, version=1, key="name"):
    """Three effects in a row, and a pot that is filled at the end."""

    Input = Asked
    asked = State(initial=True)
    struck = State()
    sent = State()
    twice = State()
    done = State(final=True)
    strike = asked.to(struck)
    ride = struck.to(sent)
    again = sent.to(twice)
    fill = twice.to(done)

    def participants(self, asked: Asked) -> Iterable[Lock]:
        yield exclusive("chaos_pot", asked.pot)

    @step(strike, undo=MeltDown, retry=AT_ONCE, timeout=LIMIT)
    async def strike_it(self, asked: Asked, mint: Mint) -> Token:
        return await mint.strike(asked.name)

    @step(ride, undo=Rider.call_off, retry=SLOWLY, timeout=LIMIT)
    async def send_it(self, asked: Asked, rider: Rider) -> Token:
        return await rider.send(asked.name)

    @step(again, undo=Mint.melt, retry=AT_ONCE, timeout=LIMIT)
    async def strike_again(self, asked: Asked, mint: Mint) -> Token:
        return await mint.strike(f"{asked.name} again")

    @step(fill)
    def fill_pot(self, asked: Asked, stage: Stage) -> None:
        stage(Pot, asked.pot).put(asked.amount)


class Long(Saga, version=1, key="name"):
    """Eight steps: a point of no return in the middle, and what is final behind it."""

    Input = Asked
    s0 = State(initial=True)
    s1 = State()
    s2 = State()
    s3 = State()
    s4 = State()
    s5 = State()
    s6 = State()
    s7 = State()
    done = State(final=True)
    e1 = s0.to(s1)
    e2 = s1.to(s2)
    e3 = s2.to(s3)
    e4 = s3.to(s4)
    e5 = s4.to(s5)
    e6 = s5.to(s6)
    e7 = s6.to(s7)
    e8 = s7.to(done)

    def participants(self, asked: Asked) -> Iterable[Lock]:
        yield exclusive("chaos_pot", asked.pot)
        yield exclusive("chaos_pot", asked.other)

    @step(e1)
    def take_out(self, asked: Asked, stage: Stage) -> None:
        stage(Pot, asked.pot).take(asked.amount)

    @step(e2, undo=Mint.melt, retry=SLOWLY, timeout=LIMIT)
    async def strike_it(self, asked: Asked, mint: Mint) -> Token:
        return await mint.strike(asked.name)

    @step(e3)
    def think(self, asked: Asked) -> int:
        if asked.amount == 13:
            raise Refused("thirteen")
        return asked.amount * 2

    @step(e4, undo=Rider.call_off, retry=AT_ONCE, timeout=LIMIT)
    async def send_it(self, asked: Asked, rider: Rider) -> Token:
        return await rider.send(asked.name)

    @step(e5, undo=Mint.melt, pivot=True, retry=SLOWLY, timeout=LIMIT)
    async def cross(self, asked: Asked, mint: Mint) -> Token:
        return await mint.strike(f"{asked.name} crosses")

    @step(e6, final=True, retry=ALWAYS, timeout=LIMIT)
    async def shout_it(self, asked: Asked, rider: Rider) -> Token:
        return await rider.shout(asked.name)

    @step(e7)
    def put_in(self, asked: Asked, stage: Stage) -> None:
        stage(Pot, asked.other).put(asked.amount)

    @step(e8)
    def look_back(self, asked: Asked) -> None:
        return None


class Fork(Saga, version=1, key="name"):
    """Two ways, by what is asked; one of them waits, for the world says that it is too early."""

    Input = Asked
    asked = State(initial=True)
    heavy = State()
    light = State()
    paid = State()
    done = State(final=True)
    choose = asked.to(heavy, cond="is_heavy") | asked.to(light)
    pay = heavy.to(paid)
    carry = light.to(paid)
    close = paid.to(done)

    def participants(self, asked: Asked) -> Iterable[Lock]:
        yield shared("chaos_pot", asked.other)
        yield exclusive("chaos_pot", asked.pot)

    def is_heavy(self, asked: Asked) -> bool:
        return asked.amount % 2 == 0

    @step(choose)
    def weigh(self, asked: Asked) -> int:
        return asked.amount

    @step(pay, undo=Mint.melt, retry=SLOWLY, timeout=LIMIT)
    async def strike_it(self, asked: Asked, mint: Mint) -> Token:
        return await mint.strike(asked.name)

    @step(carry, undo=Rider.call_off, retry=SLOWLY, timeout=LIMIT)
    async def send_it(self, asked: Asked, rider: Rider) -> Token:
        return await rider.send(asked.name)

    @step(close)
    def fill_pot(self, asked: Asked, stage: Stage) -> None:
        stage(Pot, asked.pot).put(asked.amount)


class Party(Saga, version=1, key="name"):
    """Three things at once, then one more."""

    Input = Asked
    asked = State(initial=True)

    class work(State.Parallel):
        class striking(State.Compound):
            out = State(initial=True)
            struck = State(final=True)

        class riding(State.Compound):
            here = State(initial=True)
            gone = State()
            there = State(final=True)

        class waiting(State.Compound):
            open = State(initial=True)
            heard = State(final=True)

    joined = State()
    done = State(final=True)
    begin = asked.to(work)
    strike = work.striking.out.to(work.striking.struck)
    ride = work.riding.here.to(work.riding.gone)
    land = work.riding.gone.to(work.riding.there)
    hear = work.waiting.open.to(work.waiting.heard)
    done_state_work = work.to(joined)
    close = joined.to(done)

    def participants(self, asked: Asked) -> Iterable[Lock]:
        yield exclusive("chaos_pot", asked.pot)

    @step(begin)
    def note(self, asked: Asked, stage: Stage) -> None:
        stage(Pot, asked.pot).put(1)

    @step(strike, undo=MeltDown, retry=SLOWLY, timeout=LIMIT)
    async def strike_it(self, asked: Asked, mint: Mint) -> Token:
        return await mint.strike(asked.name)

    @step(ride, undo=Rider.call_off, retry=AT_ONCE, timeout=LIMIT)
    async def send_it(self, asked: Asked, rider: Rider) -> Token:
        return await rider.send(asked.name)

    @step(land)
    def note_landing(self, asked: Asked, stage: Stage) -> None:
        stage(Pot, asked.pot).put(asked.amount)

    word = awaits(hear, signal="word", within=12 * MINUTE, otherwise=cancel)

    @step(close, undo=Mint.melt, retry=AT_ONCE, timeout=LIMIT)
    async def pay_all(self, asked: Asked, mint: Mint) -> Token:
        return await mint.strike(f"{asked.name} all")


class Household(Saga, version=1, key="name"):
    """Has trips made by child sagas, then sends word."""

    class Input(Asked):
        trips: int = 2

    asked = State(initial=True)
    running = State()
    done = State(final=True)
    run_them = asked.to(running)
    carry = running.to(done)

    @spawns(run_them, Trip)
    def all_trips(self, asked: Input) -> list[Asked]:
        pots = (asked.pot, asked.other)
        return [
            Asked(name=f"{asked.name}/{n}", pot=pots[n % 2], other=asked.other, amount=asked.amount)
            for n in range(asked.trips)
        ]

    @step(carry, undo=Rider.call_off, retry=AT_ONCE, timeout=LIMIT)
    async def send_word(self, asked: Input, ends: list[ChildEnd], rider: Rider) -> Token:
        return await rider.send(f"{asked.name}: {len(ends)}")


class Late(Saga, version=1, key="name"):
    """Locks one pot at the start, and another on its way: such locks can close a cycle."""

    Input = Asked
    asked = State(initial=True)
    sent = State()
    struck = State()
    done = State(final=True)
    ride = asked.to(sent)
    strike = sent.to(struck)
    fill = struck.to(done)

    def participants(self, asked: Asked) -> Iterable[Lock]:
        yield exclusive("chaos_pot", asked.pot)

    def the_other(self, asked: Asked) -> Iterable[Lock]:
        yield exclusive("chaos_pot", asked.other)

    @step(ride, undo=Rider.call_off, retry=SLOWLY, timeout=LIMIT)
    async def send_it(self, asked: Asked, rider: Rider) -> Token:
        return await rider.send(asked.name)

    @step(strike, undo=Mint.melt, retry=SLOWLY, timeout=LIMIT, locks=the_other)
    async def strike_it(self, asked: Asked, mint: Mint) -> Token:
        return await mint.strike(asked.name)

    @step(fill)
    def fill_both(self, asked: Asked, stage: Stage) -> None:
        stage(Pot, asked.pot).take(asked.amount)
        stage(Pot, asked.other).put(asked.amount)


class Ask(Saga, version=1, key="name"):
    """Sends, hears an answer, rests a while, and may be called off meanwhile."""

    class Answer(BaseModel):
        count: int

    Input = Asked
    asked = State(initial=True)
    sent = State()
    heard = State()
    rested = State()
    done = State(final=True)
    ride = asked.to(sent)
    hear = sent.to(heard)
    rest = heard.to(rested)
    write = rested.to(done)

    def participants(self, asked: Asked) -> Iterable[Lock]:
        yield exclusive("chaos_pot", asked.pot)

    @step(ride, undo=Rider.call_off, retry=AT_ONCE, timeout=LIMIT)
    async def send_it(self, asked: Asked, rider: Rider) -> Token:
        return await rider.send(asked.name)

    answer = awaits(hear, signal="answer", within=10 * MINUTE, otherwise=cancel, data=Answer)
    nap = awaits(rest, after=2 * MINUTE)
    called_off = awaits(cancel, signal="called_off", during=(sent, heard))

    @step(write)
    def note(self, asked: Asked, answer: Answer, stage: Stage) -> None:
        stage(Pot, asked.pot).put(answer.count)


class Leave(Saga, version=1, key="name"):
    """Somebody has to approve it; a refusal, or nobody's answer, has a way of its own."""

    Input = Asked
    asked = State(initial=True)
    struck = State()
    granted = State()
    declined = State()
    done = State(final=True)
    over = State(final=True)
    ask = asked.to(struck)
    grant = struck.to(granted)
    decline = struck.to(declined)
    go = granted.to(done)
    stay = declined.to(over)

    @step(ask, undo=Mint.melt, retry=SLOWLY, timeout=LIMIT)
    async def hold_place(self, asked: Asked, mint: Mint) -> Token:
        return await mint.strike(f"place of {asked.name}")

    approval = awaits(grant, approval="boss", within=8 * MINUTE, otherwise=decline)

    @step(go, undo=Rider.call_off, retry=SLOWLY, timeout=LIMIT)
    async def send_it(self, asked: Asked, rider: Rider) -> Token:
        return await rider.send(asked.name)

    @step(stay, undo=Rider.call_off, retry=SLOWLY, timeout=LIMIT)
    async def send_back(self, asked: Asked, rider: Rider) -> Token:
        return await rider.send(f"{asked.name} stays")


class Buy(Saga, version=1, key="name"):
    """Coins go from one row of the user's own table to another, when something was struck."""

    Input = Asked
    asked = State(initial=True)
    struck = State()
    noted = State()
    done = State(final=True)
    strike = asked.to(struck)
    note = struck.to(noted)
    pay = noted.to(done)

    def participants(self, asked: Asked) -> Iterable[Lock]:
        yield exclusive("chaos_purse", asked.pot)
        yield exclusive("chaos_purse", asked.other)
        yield exclusive("chaos_pot", asked.pot)

    @step(strike, undo=MeltDown, retry=AT_ONCE, timeout=LIMIT)
    async def strike_it(self, asked: Asked, mint: Mint) -> Token:
        return await mint.strike(asked.name)

    @step(note, retry=AT_ONCE)
    async def refuse_seven(self, asked: Asked) -> None:
        if asked.amount == 7:
            raise Unavailable("never on the seventh")

    @step(pay)
    def move_coins(self, asked: Asked, stage: Stage) -> None:
        stage(Purse, asked.pot).spend(asked.amount)
        stage(Purse, asked.other).earn(asked.amount)
        stage(Pot, asked.pot).put(asked.amount)


FAMILY = (Trip, Long, Fork, Party, Household, Late, Late, Ask, Leave, Buy)
"""What a simulation picks from; late locks twice, for a cycle needs two."""
