"""T2: a rule machine that does the same to the engine, in the simulator, and to the small reference model."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule
from pydantic import BaseModel
from tenacity import stop_after_attempt, wait_none

from sagacity import Refused, Saga, Stage, State, Unavailable, awaits, cancel, exclusive, step
from sagacity.definition.project import Project
from sagacity.errors import RefusedAct
from sagacity.model.canonical import loaded
from sagacity.model.record import Lock, Status, WaitsFor
from sagacity.runtime.settings import WorkerSettings
from sagacity.store.memory import MemoryDatabase
from sagacity.testing.outside import Disconnected
from sagacity.testing.simulation import Simulation
from tests.chaos import reference
from tests.chaos.judged import JudgedStore
from tests.chaos.town import Mint, Pot, Rider, Token

TWICE = dict(stop=stop_after_attempt(reference.ATTEMPTS), wait=wait_none())
DAY = timedelta(minutes=40)
"""How long a deal waits for a word. Between two such days there are too few deaths to use it up."""

DEATHS = 6
QUIET = timedelta(minutes=10)
"""By when all is quiet that happens by itself: a lease, a sweep, and ten attempts of an undo."""

SETTINGS = WorkerSettings(
    lease=timedelta(minutes=1), poll=timedelta(minutes=1), sweep=timedelta(minutes=1), takeovers=1000
)
_MOVES = (
    "SELECT 1 FROM saga WHERE owner IS NOT NULL OR arrivals <> heard",
    "SELECT 1 FROM saga WHERE status IN ('running', 'compensating')",
    "SELECT 1 FROM inbox WHERE NOT done AND kind <> 'signal'",
)


class Deal(Saga, version=1, key="name"):
    """The flow that the reference model tells a second time."""

    class Input(BaseModel):
        name: str
        pot: str

    asked = State(initial=True)
    sent = State()
    going = State()
    struck = State()
    closing = State()
    done = State(final=True)
    ride = asked.to(sent)
    go = sent.to(going)
    strike = going.to(struck)
    close = struck.to(closing)
    fill = closing.to(done)

    def participants(self, asked: Input) -> Iterable[Lock]:
        yield exclusive("chaos_pot", asked.pot)

    @step(ride, undo=Rider.call_off, retry=TWICE)
    async def send_it(self, asked: Input, rider: Rider) -> Token:
        return await rider.send(asked.name)

    said_go = awaits(go, signal="go", within=DAY, otherwise=cancel)

    @step(strike, undo=Mint.melt, retry=TWICE)
    async def strike_it(self, asked: Input, mint: Mint) -> Token:
        return await mint.strike(asked.name)

    said_close = awaits(close, signal="close", within=DAY, otherwise=cancel)

    @step(fill)
    def fill_pot(self, asked: Input, stage: Stage) -> None:
        stage(Pot, asked.pot).put(1)


class Trouble:
    """The outside of one run: it meets each call with what was agreed for it."""

    def __init__(self) -> None:
        self.agreed: defaultdict[str, list[str]] = defaultdict(list)
        self.stubborn: set[str] = set()

    def meet(self, call: str, name: str) -> None:
        """The next trouble that was agreed for this call of this deal."""
        troubles = self.agreed[f"{call} {name}"]
        match troubles.pop(0) if troubles else None:
            case "no":
                raise Refused(f"{call}: no")
            case "busy":
                raise Unavailable(f"{call}: nobody there")
            case "lost":
                raise Disconnected(f"{call}: no answer")


class RiderMind(Rider.Mock):
    """Sends riders, with trouble."""

    def __init__(self, trouble: Trouble) -> None:
        self._trouble = trouble

    def send(self, what: str) -> Token:
        """Meet what was agreed, then send."""
        self._trouble.meet("ride", what)
        return super().send(what)


class MintMind(Mint.Mock):
    """Strikes tokens, with trouble; a stubborn one is not taken back."""

    def __init__(self, trouble: Trouble) -> None:
        self._trouble = trouble

    def strike(self, what: str) -> Token:
        """Meet what was agreed, then strike."""
        self._trouble.meet("strike", what)
        return super().strike(what)

    def melt(self, token: Token) -> None:
        """Take it back, unless it is stubborn."""
        if token.number.removeprefix("mint-") in self._trouble.stubborn:
            raise Unavailable("not now")


TROUBLES = st.sampled_from(
    [[], ["busy"], ["lost"], [], ["no"], ["lost", "no"], ["busy", "lost"], ["lost", "lost"], ["busy", "no"]]
)
DIES = st.one_of(st.just(0.0), st.floats(0.001, 1.0))
"""After how many seconds all workers die; 0: they do not."""

_DATABASE: list[MemoryDatabase] = []


class Machine(RuleBasedStateMachine):
    """Whatever is done to both, they agree once everything is quiet again."""

    names = Bundle("names")

    def __init__(self) -> None:
        super().__init__()
        if not _DATABASE:
            _DATABASE.append(MemoryDatabase())
        self.trouble, self.model = Trouble(), reference.Town()
        project = Project.of(Deal)
        participants = {Pot.type: Pot}
        self.sim = Simulation(
            Project(flows=project.flows, participants=participants, externals=project.externals),
            seed="model",
            settings=SETTINGS,
            instead={"chaos_rider": RiderMind(self.trouble), "chaos_mint": MintMind(self.trouble)},
            database=_DATABASE[0],
        )
        self.store = JudgedStore(_DATABASE[0], tenant="main", clock=self.sim.clock, flows=project.flows)
        self.sim.loop.run_until_complete(self.store.open())
        self.app = self.sim.client()
        self._go(self._come_up())
        self.numbers = self.deaths = 0

    async def _come_up(self) -> None:
        for name in ("one", "two"):
            self.sim.worker(name, inner=self.store)

    def _go(self, work: Any) -> Any:
        return self.sim.loop.run_until_complete(work)

    def _quiet(self) -> None:
        """Let everything happen that happens by itself."""
        until = self.sim.seconds + QUIET.total_seconds()
        while not self._is_quiet():
            assert self.sim.seconds < until, "it does not come to rest"
            self._go(self.sim.sleep(timedelta(seconds=2)))

    def _is_quiet(self) -> bool:
        raw = _DATABASE[0].raw
        if any(raw.execute(query).fetchone() is not None for query in _MOVES):
            return False
        ids = {row[0]: row[1:] for row in raw.execute("SELECT id, status, waits_for FROM saga")}
        fronts = (loaded(queue)[:1] for (queue,) in raw.execute("SELECT queue FROM object"))
        return all(ids[entry[1:37]] != ("waiting", "lock") for front in fronts for entry in front)

    def _maybe_die(self, after: float) -> None:
        """Both workers die in the middle of what was just begun, or neither.

        An attempt that a worker's death cut off does not count, so where troubles use all attempts up there
        is one more, and the model would have to know which one was cut off: there nobody dies.
        """
        if after and self.deaths < DEATHS and not self._any_used_up():
            self.deaths += 1
            self._go(self.sim.sleep(timedelta(seconds=after)))
            for machine in self.sim.machines.values():
                machine.process.kill()

    def _any_used_up(self) -> bool:
        agreed = self.trouble.agreed.values()
        return any(len(left) >= reference.ATTEMPTS and "no" not in left for left in agreed)

    # --- what is done ---------------------------------------------------------------------------------

    @rule(target=names, pot=st.sampled_from("ab"), ride=TROUBLES, strike=TROUBLES, dies=DIES)
    def start(self, pot: str, ride: list[Any], strike: list[Any], dies: float) -> str:
        self.numbers += 1
        name = f"d{self.numbers}"
        self.trouble.agreed[f"ride {name}"], self.trouble.agreed[f"strike {name}"] = list(ride), list(strike)
        self._go(self.app.start(Deal, {"name": name, "pot": pot}))
        self.model.start(name, pot, ride=ride, strike=strike)
        self._maybe_die(dies)
        return name

    @rule(name=names, signal=st.sampled_from(["go", "go", "close"]), dies=DIES)
    def say(self, name: str, signal: str, dies: float) -> None:
        if signal in self.model.deals[name].mail:
            return  # said already; a second one would be kept for a wait that never comes
        self._go(self.app.signal(name, signal))
        self.model.signal(name, signal)
        self._maybe_die(dies)

    @rule(name=names, dies=DIES)
    def call_off(self, name: str, dies: float) -> None:
        try:
            self._go(self.app.cancel(name, reason="not wanted"))
        except RefusedAct:
            assert self.model.deals[name].over or self.model.deals[name].state == "stuck"
        self.model.cancel(name)
        self._maybe_die(dies)

    @rule(name=names)
    def turn_stubborn(self, name: str) -> None:
        self.trouble.stubborn.add(name)
        self.model.deals[name].stubborn = True

    @rule(name=names)
    def mend(self, name: str) -> None:
        self.trouble.stubborn.discard(name)
        if self.model.deals[name].state == "stuck":
            self._go(self.app.retry(name, reason="mended"))
        self.model.retry(name)

    @precondition(lambda self: self.deaths < DEATHS)
    @rule(which=st.sampled_from(["one", "two"]), after=st.floats(0, 5))
    def crash(self, which: str, after: float) -> None:
        self.deaths += 1
        self._go(self.sim.sleep(timedelta(seconds=after)))
        self.sim.machines[which].process.kill()

    @precondition(lambda self: self.deaths < DEATHS)
    @rule(which=st.sampled_from(["one", "two"]), seconds=st.integers(1, 100))
    def freeze(self, which: str, seconds: int) -> None:
        self.deaths += 1
        self.sim.freeze(self.sim.machines[which].process, timedelta(seconds=seconds))

    @rule()
    def days_pass(self) -> None:
        self.deaths = 0
        while any(deal.state in ("sent", "struck") for deal in self.model.deals.values()):
            self._go(self.sim.sleep(DAY + timedelta(minutes=1)))
            self._quiet()
            self.model.days_pass()

    # --- what must be -----------------------------------------------------------------------------------

    @invariant()
    def both_agree(self) -> None:
        self._quiet()
        for name, deal in self.model.deals.items():
            row = self._go(self.store.saga(self._go(self.app.resolve(name))))
            assert _told(row.record) == deal.state, (name, row.record.reason)
        objects = self._go(self.store.objects([f"chaos_pot:{pot}" for pot in "ab"]))
        for pot in "ab":
            state = loaded(objects[f"chaos_pot:{pot}"].state) or {"total": 0}
            assert state["total"] == self.model.totals.get(pot, 0)
            queued = [self._key(entry.saga) for entry in objects[f"chaos_pot:{pot}"].queue]
            assert queued == self.model.queues.get(pot, [])
        standing = sum(len(deal.standing) for deal in self.model.deals.values())
        assert len(self.sim.services.ledger.standing) == standing
        assert self.sim.services.ledger.doubled == []
        assert [str(broken) for broken in self.store.found] == []

    def _key(self, saga: Any) -> str:
        key: str = self._go(self.store.saga(saga)).record.key
        return key

    def teardown(self) -> None:
        self.sim.close()


def _told(record: Any) -> str:
    """A record in the reference model's words."""
    if record.status is Status.WAITING and record.waits_for is WaitsFor.LOCK:
        return "queued"
    if record.status is Status.WAITING:
        return str(record.state[0])
    return str(record.status.value)
