"""The outside of a dry run: every external is bound to a mock, and every answer tells where it came from.

It stands below the doors, where a step cannot see it. A call either is answered by a mock and entered in
the ledger, or fails as the script says, or is refused with the line of code that made it. Nothing is sent.
"""

import asyncio
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from sagacity.definition.external import Call, External, Landed, NotLanded
from sagacity.definition.facts import brief
from sagacity.dry.faults import Fault
from sagacity.dry.ledger import Landing, Ledger
from sagacity.dry.lines import line_of, line_of_caller
from sagacity.dry.live import Recorded
from sagacity.dry.samples import generated
from sagacity.errors import Refused, Unavailable
from sagacity.model.canonical import Json, canonical, loaded

LATE = 1.0
"""Virtual seconds after a step's time-out at which a late effect lands."""


_SECRET = "(secret)"
Ask = Callable[[type[External], str, tuple[Any, ...], Mapping[str, Any]], Any]
"""Makes a read for real: the external, the method, its arguments."""

LASTS = 30
"""Attempts after which what was down comes back: a step without an end to its retries goes on then."""


class AnswerLost(ConnectionError):
    """The line went dead under a call; whether it arrived nobody here knows."""


@dataclass(slots=True, kw_only=True)
class Asked:
    """One call that would have gone out.

    Attributes:
        at: virtual seconds since the run began.
        step: whose; None for a read, whose step is not told.
        undoes: the step whose effect it takes back.
        outcome: done, repeat (known under its key), empty (nothing to take back), refused, failed, read.
        provenance: declared (the external's own mock), given (one that was handed in), recorded (of a real
            run), generated (from the declared type), real (a safe read was made), fault, none.
        age: of a recorded answer, in seconds.
    """

    at: float
    external: str
    call: str
    kind: str
    step: str | None
    key: str | None
    undoes: str | None
    args: Json
    outcome: str = "failed"
    provenance: str = "none"
    answer: Json | None = None
    error: str | None = None
    age: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Something that a dry run does not let through. `where`: the line of code: `file:line in function`."""

    what: str
    where: str


@dataclass(slots=True)
class Outside:
    """All outside services of one run.

    Args:
        classes: externals by name.
        minds: name → what answers in place of the external's own mock.
        faults: what goes wrong at calls.
        now: virtual seconds.
        timeouts: step → seconds after which its call is given up, and its undo's.
        recorded: step → what it answered in a real run.
        generate: the seed of generated answers; None: what nobody mocks is refused.
        ask: makes a safe read for real.
        began: when the run did.

    Attributes:
        calls: what would have gone out, in order.
        refusals: what was not let through.
        lands_by: when the last call lands that is still on its way.
    """

    classes: dict[str, type[External]]
    minds: Mapping[str, Any]
    faults: Sequence[Fault]
    now: Callable[[], float]
    timeouts: Mapping[str, tuple[float, float]]
    loop: Any
    recorded: Mapping[str, Recorded] = field(default_factory=dict)
    generate: int | None = None
    ask: Ask | None = None
    began: datetime | None = None
    calls: list[Asked] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    lands_by: float = 0.0
    ledger: Ledger = field(init=False)
    fired: set[Fault] = field(default_factory=set)
    _hits: dict[tuple[str, str], int] = field(default_factory=dict)
    _mocks: dict[str, Any] = field(default_factory=dict)
    _adapters: dict[tuple[str, str], TypeAdapter[Any]] = field(default_factory=dict)
    _fenced: set[tuple[str, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.ledger = Ledger(dict(self.classes))

    @property
    def lands_within(self) -> float:
        """Seconds until nothing is on its way any more."""
        return max(0.0, self.lands_by - self.now()) + 0.001

    def connected(self) -> dict[str, External]:
        """One instance of each; made neither by `connect` nor by `__init__`, which would open connections."""
        return {name: self._instance(name, cls) for name, cls in self.classes.items()}

    def _instance(self, name: str, cls: type[External]) -> External:
        instance = object.__new__(cls)
        answers: dict[str, Any] = vars(instance)
        # The door tells the key of every effect, also where the service would not be told.
        answers["effects"] = {
            n: replace(call, takes_key=True, takes_undoes=True) for n, call in cls.effects.items()
        }
        for call in (*cls.effects.values(), *cls.reads.values()):
            answers[call.name] = self._sender(name, call)
        answers["probe"] = self._prober(name)
        answers["close"] = _closed
        return instance

    # --- one call ---------------------------------------------------------------------------------------

    def _sender(self, name: str, call: Call) -> Any:
        async def send(*args: Any, **named: Any) -> Any:
            key, undoes = named.pop("key", None), named.pop("undoes", None) or None
            asked = Asked(
                at=self.now(),
                external=name,
                call=call.name,
                kind="undo" if undoes else call.kind,
                step=step_of(key) if key else None,
                key=key,
                undoes=step_of(undoes) if undoes else None,
                args=_told(_named(self.classes[name], call, args, named)),
            )
            self.calls.append(asked)
            request = _Request(asked, call, args, named, key, undoes)
            self._check_fits(request)
            return self._read(request) if call.kind == "read" else await self._effect(request)

        return send

    def _check_fits(self, request: "_Request") -> None:
        """The call fits the real method: a mock that takes more must not hide that."""
        call, name = request.call, request.asked.external
        extra = {"key": request.key} if call.takes_key else {}
        extra |= {"undoes": request.undoes or ""} if call.takes_undoes else {}
        try:
            inspect.signature(getattr(self.classes[name], call.name)).bind(
                None, *request.args, **request.named, **extra
            )
        except TypeError as error:
            what = f"{name}.{call.name} is called wrongly: {error}"
            raise self._refuse(what, self._caller()) from None

    def _caller(self) -> str:
        return line_of_caller(tuple(getattr(self.loop, "plain_frames", ())))

    def _refuse(self, what: str, where: str) -> Refused:
        self.refusals.append(Refusal(what=what, where=where))
        return Refused(f"dry run: {what} ({where})")

    def _read(self, request: "_Request") -> Any:
        asked, call = request.asked, request.call
        asked.outcome = "read"
        if self.ask is None or not call.safe:
            return self._answer(request)
        asked.provenance = "real"
        value = self.ask(self.classes[asked.external], call.name, request.args, request.named)
        asked.answer = _told(value)
        return value

    async def _effect(self, request: "_Request") -> Any:
        asked, fault = request.asked, self._fault(request)
        kind = fault.kind if fault else None
        if fault:
            self.fired.add(fault)
            asked.provenance = "fault"
        if kind in ("unreachable", "down"):
            asked.error = "could not be reached"
            raise Unavailable(f"{asked.external} cannot be reached (fault)")
        if kind == "gone":
            asked.error = "it never arrived"
            raise AnswerLost(f"{asked.external}: no answer (fault)")
        if kind == "late":
            await self._late(request)
        if kind == "refused" and self.ledger.is_new(asked.external, request.call, request.key):
            no = f"{asked.external} says no (fault)"
            self.ledger.refused[asked.external, request.key] = no
            asked.outcome, asked.error = "refused", no
            raise Refused(no)
        answer = self._arrive(request)
        if kind == "slow":
            await asyncio.sleep(0.8 * min(self._timeout(request)))  # noqa: TID251 - virtual
        if kind in ("lost", "silent"):
            asked.error = "the answer was lost"
            raise AnswerLost(f"{asked.external}: the answer was lost (fault)")
        return answer

    async def _late(self, request: "_Request") -> None:
        """Nobody answers. Whoever called gives up, and then it lands."""
        asked, request.is_late = request.asked, True
        asked.error = "no answer came"
        wait = max(self._timeout(request)) + LATE
        self.lands_by = max(self.lands_by, self.now() + wait)
        over: asyncio.Future[None] = self.loop.create_future()

        def lands() -> None:
            try:
                self._arrive(request)
            except Refused as no:
                asked.outcome, asked.error = "refused", str(no)
            if not over.done():
                over.set_result(None)

        self.loop.in_world(wait, lands)
        await over
        raise AnswerLost(f"{asked.external}: no answer (fault)")

    def _timeout(self, request: "_Request") -> tuple[float, float]:
        return self.timeouts.get(step_of(request.key), (30.0, 30.0))

    def _fault(self, request: "_Request") -> Fault | None:
        where = "undo" if request.undoes else "effect"
        step = step_of(request.key)
        self._hits[where, step] = hit = self._hits.get((where, step), 0) + 1
        for fault in self.faults:
            same = fault.where == where and fault.name == step
            if same and (hit == fault.hit or (fault.lasts and 0 <= hit - fault.hit < LASTS)):
                return fault
        return None

    # --- at the service -----------------------------------------------------------------------------------

    def _arrive(self, request: "_Request") -> Any:
        """It has come in: do it, unless it was done, barred or refused."""
        asked, call, key = request.asked, request.call, request.key
        known = self.ledger.known(asked.external, call, key)
        if known is not None:
            asked.outcome, asked.answer = "repeat", _told(known.answer)
            return known.answer
        try:
            if request.is_late and (asked.external, key) in self._fenced:
                raise Refused(f"{asked.external} said that {key} will not land any more")
            self.ledger.check(asked.external, call, key)
            answer = self._answer(request)
        except Refused as no:
            asked.outcome, asked.error = "refused", str(no)
            raise
        landing = self.ledger.land(asked.external, call, key, request.undoes, answer)
        asked.outcome = "done" if request.undoes is None or self._took_back(landing) else "empty"
        return answer

    def _took_back(self, landing: Landing) -> bool:
        return any(x.key == landing.undoes and x.undoes is None for x in self.ledger.landed)

    def _answer(self, request: "_Request") -> Any:
        asked, call = request.asked, request.call
        if asked.kind == "effect" and self._was_recorded(request):
            return self._replayed(request)
        mind, provenance = self._mind(asked.external)
        method = getattr(mind, call.name, None)
        if not callable(method) and self.generate is not None:
            return self._generated(request, self.generate)
        if not callable(method):
            what = f"nothing answers {asked.external}.{call.name}: {type(mind).__name__} has no such method"
            raise self._refuse(what, self._caller())
        takes = inspect.signature(method).parameters
        given = {"key": request.key or None, "undoes": request.undoes}
        extra = {name: value for name, value in given.items() if name in takes}
        value = _at_once(method(*request.args, **request.named, **extra))
        if asked.provenance != "fault":
            asked.provenance = provenance
        checked = self._checked(asked, call, method, value)
        asked.answer = _told(checked)
        return checked

    def _was_recorded(self, request: "_Request") -> bool:
        """The step's own result in the real run has the type of what its effect answers."""
        said, cls = self.recorded.get(step_of(request.key)), self.classes[request.asked.external]
        if said is None or (said.at is not None and not cls.record):
            return False
        try:
            self._adapter(request.asked.external, request.call).validate_json(self._shown(request))
        except ValidationError:
            return False
        return True

    def _replayed(self, request: "_Request") -> Any:
        asked, said = request.asked, self._shown(request)
        at = self.recorded[step_of(request.key)].at
        asked.answer = said
        asked.age = (self.began - at).total_seconds() if at is not None and self.began is not None else None
        asked.provenance = "fault" if asked.provenance == "fault" else "recorded"
        return self._adapter(asked.external, request.call).validate_json(said)

    def _shown(self, request: "_Request") -> Json:
        """A recorded answer without what its external calls secret."""
        said = self.recorded[step_of(request.key)].answer
        secrets = self.classes[request.asked.external].secrets
        return canonical(_blotted(loaded(said), frozenset(secrets))) if secrets else said

    def _generated(self, request: "_Request", seed: int) -> Any:
        asked, call = request.asked, request.call
        adapter = self._adapter(asked.external, call)
        made = generated(adapter, seed, asked.external, call.name, asked.step or "", asked.args)
        if made is None:
            what = f"no answer to {asked.external}.{call.name} can be made from its type: mock it"
            raise self._refuse(what, line_of(getattr(self.classes[asked.external], call.name)))
        asked.provenance = "fault" if asked.provenance == "fault" else "generated"
        asked.answer = made
        return adapter.validate_json(made)

    def _adapter(self, external: str, call: Call) -> TypeAdapter[Any]:
        place = external, call.name
        if place not in self._adapters:
            hints = get_type_hints(getattr(self.classes[external], call.name))
            self._adapters[place] = TypeAdapter(hints.get("return", Any))
        return self._adapters[place]

    def _mind(self, name: str) -> tuple[Any, str]:
        if name in self.minds:
            return self.minds[name], "given"
        if name not in self._mocks:
            mock = self.classes[name].Mock
            self._mocks[name] = mock() if mock is not None else None
        return self._mocks[name], "declared"

    def _checked(self, asked: Asked, call: Call, method: Any, value: Any) -> Any:
        """The answer as what the external's method promises to return."""
        try:
            return self._adapter(asked.external, call).validate_python(value)
        except ValidationError as error:
            what = f"the mock's answer to {asked.external}.{call.name} does not fit: {brief(error)}"
            raise self._refuse(what, line_of(method)) from None

    def _prober(self, name: str) -> Any:
        async def probe(key: str) -> Landed | NotLanded | None:
            if not self.classes[name].has_probe:
                return None
            if any(f.kind == "silent" and f.name == step_of(key) for f in self.fired):
                raise AnswerLost(f"{name}: the probe was not answered (fault)")
            for landing in self.ledger.landed:
                if landing.external == name and landing.key == key and landing.undoes is None:
                    return Landed(answer=landing.answer)
            self._fenced.add((name, key))
            return NotLanded()

        return probe


@dataclass(slots=True)
class _Request:
    """One call on its way."""

    asked: Asked
    call: Call
    args: tuple[Any, ...]
    named: dict[str, Any]
    sent_key: str | None
    undoes: str | None
    is_late: bool = False

    @property
    def key(self) -> str:
        return self.sent_key or ""


def _blotted(value: Any, secrets: frozenset[str]) -> Any:
    if isinstance(value, list):
        return [_blotted(item, secrets) for item in value]
    if isinstance(value, dict):
        return {k: _SECRET if k in secrets else _blotted(v, secrets) for k, v in value.items()}
    return value


def step_of(key: str) -> str:
    """The step of an effect's or an undo's key (`tenant:lane:saga:step[:visit][/undo]`)."""
    parts = key.removesuffix("/undo").split(":")
    return parts[-2] if parts[-1].isdigit() and len(parts) > 4 else parts[-1]


def _named(
    cls: type[External], call: Call, args: tuple[Any, ...], named: Mapping[str, Any]
) -> dict[str, Any]:
    names = [n for n in inspect.signature(getattr(cls, call.name)).parameters if n != "self"]
    return {**dict(zip(names, args, strict=False)), **named}


def _told(value: Any) -> Json:
    """A value as JSON for the report; what cannot be is told by its type."""
    try:
        return canonical(value)
    except Exception:
        return canonical(f"<{type(value).__name__}>")


def _at_once(value: Any) -> Any:
    """What a mock returns; an async one must answer without waiting for anything.

    Raises:
        Refused: it waits.
    """
    if not inspect.iscoroutine(value):
        return value
    try:
        value.send(None)
    except StopIteration as end:
        return end.value
    value.close()
    raise Refused("dry run: a mock waits for something: it must answer at once")


async def _closed() -> None:
    return None
