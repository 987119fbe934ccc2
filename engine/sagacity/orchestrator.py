"""The one set of calls behind Python, HTTP and the command line.

Everything that changes something leaves a message in the inbox and returns; a worker acts on
it. So a call is cheap, can be repeated, and can join the caller's own transaction.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Self
from uuid import UUID

from pydantic import BaseModel, ValidationError

from sagacity.clock import Clock, SystemClock
from sagacity.decide import explain
from sagacity.decide.begin import start_message
from sagacity.definition.flow import Flow
from sagacity.definition.project import Project
from sagacity.definition.registry import declared
from sagacity.errors import InputError, KeyTaken, RefusedAct, SagacityError, UnknownDefinition
from sagacity.handle import Handle
from sagacity.ids import IdSource, new_id
from sagacity.model.canonical import NULL, Json, canonical
from sagacity.model.record import Lane
from sagacity.model.unit import Message, MessageKind
from sagacity.operating.facade import Operating
from sagacity.runtime.erasing import erase
from sagacity.runtime.intake import Intake
from sagacity.runtime.rollbacks import rollback_id
from sagacity.runtime.watch import Watch
from sagacity.runtime.worker import Worker
from sagacity.store.base import Receipt, Store
from sagacity.store.open import open_store
from sagacity.store.patient import patient
from sagacity.telemetry.otel import caller_trace

_MANY = 200


class Orchestrator(Operating):
    """See the module. Use as `async with await Orchestrator.open(url) as app`.

    Attributes:
        worker: a worker in this process, if there is one: starts go to it without the way through the inbox.
        opened: address, tenant and `accept_loss` that `open` was given; None where it was made otherwise.
    """

    def __init__(
        self, store: Store, project: Project, *, clock: Clock | None = None, ids: IdSource = new_id
    ) -> None:
        self.store = store
        self.project = project
        self._worker: Worker | None = None
        self.opened: tuple[str, str, bool] | None = None
        self._clock = clock or SystemClock()
        self._ids = ids
        self._intake = Intake(store)
        self._watch = Watch(store, self._clock)

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        project: Project | None = None,
        tenant: str = "main",
        lane: Lane | str = Lane.LIVE,
        accept_loss: bool = False,
        clock: Clock | None = None,
        patience: timedelta = timedelta(0),
    ) -> Self:
        """Connect to a store.

        Args:
            url: `sqlite:///file.db` or `postgresql://…`.
            project: the flows that are known here; by default those loaded in this process.
            tenant: whose sagas; nothing crosses tenants.
            lane: live or dry.
            accept_loss: take a database that may lose acknowledged commits (tests only).
            clock: stands in for the database's clock too (tests only).
            patience: while the database is away, looking, starting and telling wait up to this for it to come
                back, for each call; not for processes that run a worker, nor in a caller's own session.

        Raises:
            StoreUnavailable, SchemaBehind, SchemaAhead, UnsafeSettings, StoreReadOnly: see there.
        """
        store = open_store(url, tenant=tenant, lane=Lane(lane).value, clock=clock, accept_loss=accept_loss)
        await store.open()
        if patience:
            store = patient(store, within=patience, clock=clock or SystemClock())
        made = cls(store, project or Project.of(*declared()), clock=clock)
        made.opened = url, tenant, accept_loss
        return made

    @property
    def worker(self) -> Worker | None:
        """See the class."""
        return self._worker

    @worker.setter
    def worker(self, worker: Worker | None) -> None:
        self._worker = worker
        self._watch.in_hand = (lambda saga: False) if worker is None else worker.has
        if worker is not None:
            worker.on_over = self._watch.told

    async def close(self) -> None:
        """Let go of the store."""
        await self._watch.close()
        await self._intake.close()
        await self.store.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    # --- starting ---------------------------------------------------------------------------------

    def flow(self, definition: Any) -> Flow:
        """The compiled flow of a `Saga` class or of a name.

        Raises:
            UnknownDefinition: no flow of that name is loaded; the message lists the known ones.
        """
        if not isinstance(definition, str):
            flow: Flow = definition.flow
            return flow
        found = self.project.flows.get(definition)
        if found is None:
            known = ", ".join(sorted(self.project.flows)) or "none: name its module"
            raise UnknownDefinition(f"no definition {definition!r} is known here (known: {known})")
        return found

    def checked(self, flow: Flow, input: Any, *, ignore_unknown: bool = False) -> BaseModel:
        """`input` as the flow's model.

        Raises:
            InputError: what does not fit, field by field.
        """
        if isinstance(input, flow.input):
            return input
        if isinstance(input, BaseModel):
            input = input.model_dump()
        try:
            return flow.input.model_validate(input, extra="ignore" if ignore_unknown else "forbid")
        except ValidationError as error:
            raise InputError(f"{flow.name}: {told(error)}") from None

    def message(
        self,
        definition: Any,
        input: Any,
        *,
        key: str | None = None,
        ignore_unknown: bool = False,
        actor: str | None = None,
    ) -> Message:
        """The start message for this input; nothing is stored yet."""
        flow = self.flow(definition)
        model = self.checked(flow, input, ignore_unknown=ignore_unknown)
        data = canonical(model)
        saga = self._ids()
        if key is None:
            key = str(getattr(model, flow.key_field)) if flow.key_field else str(saga)
        _storable(key, actor)
        now, trace = self._clock.now(), caller_trace()
        return start_message(flow, saga=saga, key=key, data=data, now=now, actor=actor, trace=trace)

    async def start(
        self,
        definition: Any,
        input: Any,
        *,
        key: str | None = None,
        session: Any = None,
        ignore_unknown: bool = False,
        actor: str | None = None,
    ) -> Handle:
        """Start a saga, once per key.

        Args:
            definition: a `Saga` class, or the name of one that is loaded.
            input: its `Input`, or a mapping that makes one.
            key: the business key; by default the field that the saga declares, else the saga's id.
            session: `AsyncSession`, `AsyncConnection`, or sync `Session`/`Connection` on the same database:
                the saga exists if and only if that transaction commits, and is picked up then.
            ignore_unknown: drop unknown fields of the input instead of refusing them.
            actor: who asks, for the log.

        Raises:
            UnknownDefinition, InputError, PayloadTooLarge: nothing was stored.
            KeyTaken: the key has started a saga with another input.
        """
        message = self.message(definition, input, key=key, ignore_unknown=ignore_unknown, actor=actor)
        if session is None and self.worker is not None and not self.worker.stopping:
            try:
                await self.worker.start(message)
                return self.handle(message, Receipt(saga=message.saga, new=True))
            except SagacityError:
                pass  # the inbox knows what became of the key, or takes the start for later
        return self.handle(message, await self._put(message, session))

    async def start_many(
        self,
        definition: Any,
        inputs: Sequence[tuple[str | None, Any]],
        *,
        ignore_unknown: bool = False,
        actor: str | None = None,
    ) -> list[Handle | SagacityError]:
        """Start many; each (key, input) gives a handle or the error that refused it. 200 per transaction."""
        results: list[Handle | SagacityError] = []
        for begin in range(0, len(inputs), _MANY):
            made: list[Message | SagacityError] = []
            for key, input in inputs[begin : begin + _MANY]:
                try:
                    made.append(
                        self.message(definition, input, key=key, ignore_unknown=ignore_unknown, actor=actor)
                    )
                except SagacityError as error:
                    made.append(error)
            results += await self._put_all(made)
        await self._wake()
        return results

    async def _put_all(self, made: list[Message | SagacityError]) -> list[Handle | SagacityError]:
        good = [message for message in made if isinstance(message, Message)]
        try:
            receipts = iter(await self.store.put(good) if good else [])
            return [m if isinstance(m, SagacityError) else self.handle(m, next(receipts)) for m in made]
        except KeyTaken:
            return [m if isinstance(m, SagacityError) else await self._put_one(m) for m in made]

    async def _put_one(self, message: Message) -> Handle | SagacityError:
        try:
            [receipt] = await self.store.put([message])
        except KeyTaken as error:
            return error
        return self.handle(message, receipt)

    def handle(self, message: Message, receipt: Receipt) -> Handle:
        """What the caller holds of the saga that `message` was stored for."""
        return Handle(
            id=receipt.saga,
            definition=message.definition or "",
            key=message.key or "",
            new=receipt.new,
            calls=self,
        )

    async def _put(self, message: Message, session: Any) -> Receipt:
        """Store one message: in the caller's transaction, or together with what comes at the same time."""
        if session is not None:
            [receipt] = await self.store.put([message], session=session)
            return receipt
        receipt = await self._intake.put(message)
        await self._wake()
        return receipt

    async def _wake(self) -> None:
        """Workers look at once instead of at their next poll."""
        if self.worker is not None:
            self.worker.poke()
        else:
            await self.store.hint()

    # --- telling a saga something -----------------------------------------------------------------

    async def signal(
        self,
        saga: str | UUID,
        name: str,
        data: Any = None,
        *,
        id: UUID | None = None,
        actor: str | None = None,
        session: Any = None,
    ) -> Receipt:
        """Tell a saga something; what comes early is kept until it is awaited.

        Args:
            saga: id or business key.
            name: the signal's name.
            data: what it carries, any JSON value.
            id: the sender's own id for this delivery: the same id again is a repeat and does nothing.
            actor: who says it.
            session: as for `start`.

        Raises:
            NotFound: no such saga. InputError, PayloadTooLarge: the data cannot be stored.
        """
        return await self._tell(
            "signal", saga, data=canonical(data), name=name, id=id, actor=actor, session=session
        )

    async def cancel(self, saga: str | UUID, *, reason: str, actor: str | None = None) -> Receipt:
        """Ask a saga to go back; what it has done is compensated.

        Raises:
            NotFound: no such saga. RefusedAct: it is over, going back, or behind its point of no return.
        """
        record = await self._record(saga)
        if record is not None and "cancel" not in explain.allowed(record):
            raise RefusedAct(f"saga {record.id} cannot be cancelled: {explain.why(record)}")
        return await self._tell("cancel", saga, data=canonical(reason), actor=actor)

    async def retry(
        self, saga: str | UUID, *, reason: str | None = None, actor: str | None = None
    ) -> Receipt:
        """Send a stuck saga on, or a waiting retry at once; attempts count anew.

        Raises:
            NotFound: no such saga. RefusedAct: there is nothing to retry.
        """
        record = await self._record(saga)
        if record is None or "retry" not in explain.allowed(record):
            why = explain.why(record) if record is not None else "it has not been looked at yet"
            raise RefusedAct(f"there is nothing to retry: {why}")
        return await self._tell("retry", saga, data=canonical(reason), actor=actor)

    async def _tell(
        self,
        kind: MessageKind,
        saga: str | UUID,
        *,
        data: Json = NULL,
        name: str | None = None,
        id: UUID | None = None,
        actor: str | None = None,
        session: Any = None,
    ) -> Receipt:
        _storable(name, actor)
        target = await self.resolve(saga)
        message = Message(
            id=id or self._ids(),
            kind=kind,
            saga=target,
            name=name,
            data=data,
            actor=actor,
            arrived_at=self._clock.now(),
        )
        return await self._put(message, session)

    async def rollback(
        self, saga: str | UUID, *, reason: str, actor: str | None = None, accept_remaining: bool = False
    ) -> Handle:
        """Roll a committed saga back by a new, linked saga. The handle is the new saga's.

        Args:
            saga: id or business key of the committed saga.
            reason: why; it stands in the log.
            actor: who asks.
            accept_remaining: go on although effects that are declared final will stay.

        Raises:
            RefusedAct: as `preview`, or something cannot be brought back; the message names it.
        """
        view = await self.preview(saga)
        bad = [i for i in view.items if i.how not in ("exact", "counter-action")]
        if bad and not (accept_remaining and all(i.detail.startswith("declared final") for i in bad)):
            what = "; ".join(f"{item.what}: {item.detail}" for item in bad)
            raise RefusedAct(f"cannot be rolled back: {what}")
        record = await self._rollbackable(view.saga)
        await self._tell("rollback", record.id, data=canonical(reason), actor=actor)
        return Handle(
            id=rollback_id(record.id),
            definition=record.definition,
            key=f"rollback:{record.key}",
            new=True,
            calls=self,
        )

    # --- forgetting -------------------------------------------------------------------------------

    async def erase(self, saga: str | UUID, *, reason: str, actor: str | None = None) -> int:
        """Erase what a saga that is over knew: its input and results, its messages, what its lines say.

        The lines themselves stay, and the log still verifies. Its key stays taken. It cannot be rolled back
        any more. The present states of objects stay; so do linked sagas (its rollback, its children), which
        are erased by their own ids.

        Args:
            saga: id or business key.
            reason: why; it stands in the log, so it names no person.
            actor: who asks.

        Returns:
            How many lines were erased; 0 where there was nothing left to erase.

        Raises:
            NotFound: no such saga. RefusedAct: it is not over. Conflict: it is in use just now; try again.
        """
        _storable(reason, actor)
        return await erase(self.store, await self.resolve(saga), reason=reason, actor=actor, ids=self._ids)


def _storable(*texts: str | None) -> None:
    """Refuse names that no database takes, before anything is stored.

    Raises:
        InputError: a NUL or a lone surrogate.
    """
    for text in texts:
        canonical(text)


def told(error: ValidationError) -> str:
    """A validation error in one line: every field, and what is wrong with it."""
    parts = []
    for item in error.errors(include_url=False):
        place = ".".join(str(part) for part in item["loc"]) or "input"
        what = "unknown field" if item["type"] == "extra_forbidden" else item["msg"]
        parts.append(f"{place}: {what}")
    if any(item["type"] == "extra_forbidden" for item in error.errors()):
        parts.append("to leave unknown fields out: ignore_unknown, on the command line --ignore-unknown")
    return "; ".join(parts)
