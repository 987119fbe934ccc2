"""A hand that does random things to two stores side by side, and sees to it that both answer the same.

Good batches and bad ones (fenced, stale, without their locks, against the tables' own rules), mail, claims,
deaths of workers; all by one seed.
"""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from sagacity.chain import extend
from sagacity.errors import SagacityError, StoreError
from sagacity.model.canonical import NULL, canonical
from sagacity.model.lines import Applied, Line
from sagacity.model.record import Effect, EffectStatus, Held, Mode, Record, Status, WaitsFor
from sagacity.model.unit import (
    NO_LINE,
    Batch,
    BatchRefused,
    ChainHead,
    Claimed,
    HeadMoved,
    Message,
    Notice,
    ObjectChange,
    Unit,
    WorkerInfo,
    Written,
)
from sagacity.store.base import Filter, Store
from tests.contract.builders import FLOW, HandClock, note, record, started

MIXED = (12, 3, 4, 2, 1, 2, 1)
"""How often: a batch, mail, claims, letting go, leases, looking, listeners."""
WRITING = (40, 6, 10, 2, 2, 0, 1)
"""The same where writing is what matters."""
OBJECTS = [f"account:{n}" for n in range(5)]
TEXTS = ["", "plain", "Zoë ☃", "a,b=c", "\"quoted\" \\ and 'so'", "tab\tand\nline", "x" * 3000]
LEASE = timedelta(seconds=30)
TOLD = canonical({"attention": "lock", "told_at": "2026-01-01T00:00:00Z"})


class Differs(AssertionError):
    """The two stores do not say the same."""

    def __init__(self, method: str, first: Any, second: Any) -> None:
        super().__init__(f"{method}: one says {first!r:.300}, the other {second!r:.300}")


class Pair:
    """Two stores that are asked the same, and must say the same."""

    def __init__(self, one: Store, other: Store) -> None:
        self.one, self.other = one, other

    async def ask(self, method: str, *arguments: Any, **named: Any) -> Any:
        """What both answer; an error that both raise is returned."""
        return self._same(method, *await self._both(method, arguments, named))

    async def refuse(self, batch: Batch) -> Any:
        """Both refuse a batch with a member that the tables themselves refuse.

        Which of the two is told, that member's fault or the losers beside it, is each database's own.
        """
        first, second = await self._both("write", (batch,), {})
        if isinstance(first, Exception) and isinstance(second, Exception) and type(first) is not type(second):
            return StoreError("refused")
        return self._same("write", first, second)

    async def _both(self, method: str, arguments: Any, named: Any) -> tuple[Any, Any]:
        first = await _answer(self.one, method, arguments, named)
        return first, await _answer(self.other, method, arguments, named)

    def _same(self, method: str, first: Any, second: Any) -> Any:
        if _plain(first) != _plain(second):
            raise Differs(method, first, second)
        return first


async def _answer(store: Store, method: str, arguments: Any, named: Any) -> Any:
    try:
        return await getattr(store, method)(*arguments, **named)
    except (SagacityError, BatchRefused, HeadMoved) as error:
        return error


def _is_broken(unit: Unit) -> bool:
    return unit.record.status is Status.WAITING and unit.record.waits_for is None


def _plain(answer: Any) -> Any:
    """Errors as what they say to programs."""
    if isinstance(answer, BatchRefused):
        return answer.losers
    return type(answer) if isinstance(answer, Exception) else answer


class Hand:
    """Does random things, most of them sensible, and remembers what it needs to be so."""

    def __init__(
        self, pair: Pair, clock: HandClock, seed: int, *, weights: Sequence[int] = MIXED, keys: int = 12
    ) -> None:
        self.pair, self.clock, self.chance = pair, clock, random.Random(seed)
        self.weights = weights
        self.keys = keys
        self.batches = 0
        self.heads: dict[UUID, ChainHead] = {}
        self.owned: dict[UUID, tuple[UUID, Claimed]] = {}
        self.sagas: dict[UUID, Record] = {}
        self.mail: list[Message] = []
        self.said: Counter[type] = Counter()

    def id(self) -> UUID:
        return UUID(int=self.chance.getrandbits(128))

    def sometimes(self, probability: float) -> bool:
        return self.chance.random() < probability

    def some(self, items: Any, most: int) -> list[Any]:
        listed = list(items)
        return self.chance.sample(listed, min(len(listed), self.chance.randint(0, most)))

    async def step(self) -> None:
        """One random thing."""
        self.clock.pass_by(timedelta(microseconds=self.chance.choice([0, 1, 10**6, 10**7])))
        if not self.heads:
            await self.hire()
        act = self.chance.choices(
            [self.batch, self.put, self.claim, self.let_go, self.times, self.look, self.listeners],
            weights=self.weights,
        )[0]
        await act()

    # --- workers ---------------------------------------------------------------------------------

    async def hire(self) -> None:
        now = self.clock.now()
        info = WorkerInfo(
            id=self.id(), name="w", definitions={FLOW: (1, "h")}, started_at=now, lease_until=now + LEASE
        )
        self.heads[info.id] = await self.pair.ask("register", info)

    async def times(self) -> None:
        """Leases run on, or run out."""
        worker = self.chance.choice(list(self.heads))
        match self.chance.randrange(5):
            case 0:
                await self.hire()
            case 1:
                await self.pair.ask("heartbeat", worker, LEASE)
            case 2:
                self.heads[worker] = await self.pair.ask("fence", self.heads[worker].id)
            case 3:
                await self.pair.ask("unregister", worker)
                self._gone(worker)
            case _:
                self.clock.pass_by(LEASE)
                for dead in await self.pair.ask("take_over"):
                    self._gone(dead)

    def _gone(self, worker: UUID) -> None:
        """A dead worker's sagas stay in its hand now and then: its late results must be refused."""
        self.heads.pop(worker, None)
        for saga, (owner, _) in list(self.owned.items()):
            if owner == worker and self.heads and self.sometimes(0.5):
                self.owned[saga] = (self.chance.choice(list(self.heads)), self.owned[saga][1])
            elif owner == worker:
                del self.owned[saga]

    # --- mail ------------------------------------------------------------------------------------

    async def put(self) -> None:
        messages = [self.message() for _ in range(self.chance.randint(1, 3))]
        receipts = await self.pair.ask("put", messages)
        if not isinstance(receipts, Exception):
            self.mail += messages
        await self.pair.ask("ring", limit=self.chance.choice([1, 500]))

    def message(self, *, start: bool | None = None) -> Message:
        if self.mail and start is None and self.sometimes(0.1):
            return self.chance.choice(self.mail)
        id = self.id()
        if start or (start is None and self.sometimes(0.4)) or not self.sagas:
            key, request = f"k{self.chance.randrange(self.keys)}", f"r{self.chance.randrange(2)}"
            return Message(
                id=id,
                kind="start",
                saga=id,
                definition=FLOW,
                version=1,
                key=key,
                request_hash=request,
                data=self.json(),
                arrived_at=self.clock.now(),
            )
        known = [*self.sagas, *(message.saga for message in self.mail), self.id()]
        return Message(
            id=id,
            kind=self.chance.choice(["signal", "cancel", "retry"]),
            saga=self.chance.choice(known),
            name=self.chance.choice([None, *TEXTS]),
            data=self.json(),
            actor=self.chance.choice([None, "somebody"]),
            arrived_at=self.clock.now(),
        )

    def json(self) -> Any:
        return canonical(self.chance.choice([None, 1.5, {"b": 1, "a": ["0.10"]}, *TEXTS]))

    # --- claims ----------------------------------------------------------------------------------

    async def claim(self) -> None:
        worker = self.chance.choice(list(self.heads))
        limit = self.chance.choice([1, 3, 100])
        match self.chance.randrange(3):
            case 0:
                taken = await self.pair.ask("claim_starts", worker, [FLOW], limit=limit)
                await self.pair.ask("give_back_starts", worker, [m.id for m in self.some(taken, 2)])
            case 1 if self.sagas:
                saga = self.chance.choice(list(self.sagas))
                claimed = await self.pair.ask("reclaim", saga, worker)
                if claimed is not None:
                    self.owned[saga] = (worker, claimed)
            case _:
                for claimed in await self.pair.ask("claim", worker, [FLOW], limit=limit):
                    self.owned[claimed.record.id] = (worker, claimed)

    async def let_go(self) -> None:
        for saga, (worker, claimed) in self.some(self.owned.items(), 2):
            match self.chance.randrange(3):
                case 0:
                    await self.pair.ask("hand_back", worker, [saga, self.id()])
                    del self.owned[saga]
                case 1:
                    if await self.pair.ask("rest", saga, worker, claimed):
                        del self.owned[saga]
                case _:
                    again = await self.pair.ask("reload", saga, worker, claimed.epoch)
                    if again is not None:
                        self.owned[saga] = (worker, again)
        await self.pair.ask("ring_sagas", self.some(self.sagas, 2))

    # --- batches ---------------------------------------------------------------------------------

    async def batch(self) -> None:
        worker = self.chance.choice(list(self.heads))
        mine = [saga for saga, (owner, _) in self.owned.items() if owner == worker]
        units = [self.moved(saga) for saga in self.some(mine, 4)]
        units += [self.begun() for _ in range(self.chance.randint(0 if units else 1, 2))]
        units = list({unit.saga: unit for unit in units}.values())
        self.chance.shuffle(units)
        units = [
            self.broken(unit) if self.sometimes(0.03) else unit for unit in await self.with_objects(units)
        ]
        await self.settled(units, worker)

    def broken(self, unit: Unit) -> Unit:
        """A member that the tables themselves refuse: its saga waits, and for nothing."""
        return replace(unit, record=replace(unit.record, status=Status.WAITING, waits_for=None))

    async def settled(self, units: list[Unit], worker: UUID) -> None:
        """Send what the losers leave; those that the tables refuse are left out the next time."""
        while units and worker in self.heads:
            answer = await self.sent(units, worker)
            if isinstance(answer, BatchRefused):
                units = [unit for unit in units if unit.saga not in answer.losers]
            elif any(_is_broken(unit) for unit in units):
                units = [unit for unit in units if not _is_broken(unit)]
            else:
                return

    async def sent(self, units: list[Unit], worker: UUID) -> Any:
        """What both say of the batch."""
        head = self.heads[worker]
        if self.sometimes(0.03):
            head = replace(head, position=head.position + 1)
        rows = extend(head, units, tenant=self.pair.one.tenant, lane="live")
        batch = Batch(head=head, rows=rows, units=tuple(units), worker=worker)
        broken = any(_is_broken(unit) for unit in units)
        answer = await (self.pair.refuse(batch) if broken else self.pair.ask("write", batch))
        self.batches += 1
        assert not (broken and isinstance(answer, Written)), "a row that no table may hold was written"
        self.said[type(answer)] += 1
        if isinstance(answer, Written):
            self.heads[worker] = batch.new_head
            for unit in units:
                self._follow(unit, worker, answer)
        return answer

    def _follow(self, unit: Unit, worker: UUID, answer: Written) -> None:
        self.sagas[unit.saga] = unit.record
        self.mail += unit.posts
        if unit.release:
            self.owned.pop(unit.saga, None)
        else:
            claimed = Claimed(
                record=unit.record, epoch=unit.epoch, arrivals=answer.arrivals[unit.saga], mail=()
            )
            self.owned[unit.saga] = (worker, claimed)

    def begun(self) -> Unit:
        """A new saga, or now and then one that is there already."""
        known = [message for message in self.mail if message.kind == "start"]
        start = self.chance.choice(known) if known and self.sometimes(0.5) else self.message(start=True)
        id = self.chance.choice(list(self.sagas)) if self.sagas and self.sometimes(0.05) else start.saga
        made = record(id, key=start.key, created_at=self.clock.now(), updated_at=self.clock.now())
        # A row of the inbox is consumed by its own saga only.
        claimed = start in known and id == start.saga
        fields: dict[str, Any] = {"consumes": (start.id,)} if claimed else {"start": start}
        return self.dressed(made, before=None, epoch=1, lines=(started(made),), **fields)

    def moved(self, saga: UUID) -> Unit:
        """The next move of a saga, or one that comes too late."""
        claimed = self.owned[saga][1]
        before = claimed.record
        after = replace(before, revision=before.revision + 1, seq=before.seq + 1, updated_at=self.clock.now())
        wrong = self.sometimes(0.04)
        return self.dressed(
            after,
            before=before.revision - wrong,
            epoch=claimed.epoch + self.sometimes(0.04),
            arrivals=self.chance.choice([None, claimed.arrivals, claimed.arrivals + self.sometimes(0.1)]),
            consumes=tuple(self.some(dict.fromkeys(m.id for m in self.mail if m.saga == saga), 2)),
            lines=(note(after.updated_at),),
        )

    def dressed(self, made: Record, *, lines: tuple[Line, ...], **fields: Any) -> Unit:
        """A unit with all that may hang on it."""
        waits = self.sometimes(0.3)
        kind = self.chance.choice(list(WaitsFor)) if waits else None
        status = Status.WAITING if waits else self.chance.choice([Status.RUNNING, Status.STUCK])
        effects = tuple(self.effect(n) for n in self.some(range(1, 4), 2))
        made = replace(
            made,
            status=status,
            waits_for=kind,
            reason=self.chance.choice([None, *TEXTS]),
            paused=self.sometimes(0.05),
            due_at=self.chance.choice([None, self.clock.now(), self.clock.now() + timedelta(seconds=5)]),
            effects=effects,
            results={"step": self.json()},
        )
        notices = (Notice(key=made.key, saga=made.id, seq=made.seq - 1, kind="told", data=self.json()),)
        return Unit(
            record=made,
            lines=lines,
            effects=effects,
            release=self.sometimes(0.4),
            posts=tuple(self.message() for _ in range(self.chance.choice([0, 0, 1, 2]))),
            notices=notices if self.sometimes(0.5) else (),
            **fields,
        )

    def effect(self, n: int) -> Effect:
        return Effect(
            n=n,
            step="pay",
            visit=self.chance.randint(1, 2),
            key=self.chance.choice(TEXTS),
            undo=self.chance.choice([None, "Refund"]),
            safe_on_nothing=self.sometimes(0.5),
            status=self.chance.choice(list(EffectStatus)),
            result=self.json(),
            undo_since=self.chance.choice([None, self.clock.now()]),
            error=self.chance.choice([None, *TEXTS]),
        )

    async def with_objects(self, units: list[Unit]) -> list[Unit]:
        """The units with locks asked for, given back, and objects changed."""
        states = await self.pair.ask("objects", OBJECTS)
        changed: set[str] = set()
        found: list[Unit] = []
        for unit in units:
            mine = [
                Held(object=state.object, mode=place.mode)
                for state in states.values()
                for place in state.queue
                if place.saga == unit.saga
            ]
            mode: Mode = "shared" if self.sometimes(0.5) else "exclusive"
            asked = tuple(Held(object=name, mode=mode) for name in self.some(OBJECTS, 2))
            changes = [
                ObjectChange(object=name, version=states[name].version + self.late(), state=self.json())
                for name in self.some(set(OBJECTS) - changed, 1)
            ]
            changed.update(change.object for change in changes)
            found.append(self._holding(unit, asked, tuple(self.some(mine, 3)), tuple(changes)))
        return found

    def late(self) -> int:
        return self.chance.choices([1, 0, 2], weights=[18, 1, 1])[0]

    def _holding(self, unit: Unit, asked: Any, freed: Any, changes: tuple[ObjectChange, ...]) -> Unit:
        applied = tuple(
            Applied(
                at=unit.record.updated_at,
                object=change.object,
                version=change.version,
                before=NULL,
                after=change.state,
                operations=(),
            )
            for change in changes
        )
        return replace(
            unit,
            record=replace(unit.record, seq=unit.record.seq + len(applied), locks=asked),
            lines=(*unit.lines, *applied),
            admit=asked,
            optimistic=bool(asked) and self.sometimes(0.5),
            free=freed,
            changes=changes,
        )

    # --- reading ---------------------------------------------------------------------------------

    async def look(self) -> None:
        some = self.some(self.sagas, 3)
        narrowed = Filter(
            definition=self.chance.choice([None, FLOW, "Other"]),
            status=tuple(self.some(Status, 3)),
            key=self.chance.choice([None, "k1"]),
            limit=self.chance.choice([1, 50]),
        )
        for method, *arguments in (
            ("sagas", narrowed),
            ("counts",),
            ("tally",),
            ("statuses", [*some, self.id()]),
            ("locks",),
            ("wait_graph",),
            ("workers",),
            ("heads",),
            ("find", FLOW, "k1"),
            ("definition_hashes", [FLOW]),
        ):
            await self.pair.ask(method, *arguments)
        for saga in some:
            for method in ("saga", "messages", "history", "effects_of", "rolled_back_by"):
                await self.pair.ask(method, saga)
        for name in OBJECTS:
            await self.pair.ask("object", name)
            await self.pair.ask("object_history", name)

    async def listeners(self) -> None:
        told = await self.pair.ask("notices", limit=self.chance.choice([1, 100]))
        await self.pair.ask("notices_sent", [id for id, _ in self.some(told, 5)])
        matters = [
            Notice(key=f"attention:lock:{n}:", saga=UUID(int=n), seq=NO_LINE, kind="attention", data=TOLD)
            for n in range(6)
        ]
        await self.pair.ask("tell_of", self.some(matters, 6))
