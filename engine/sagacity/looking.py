"""Looking: what is known of sagas, objects and locks. Nothing here changes anything."""

import builtins
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

from sagacity.decide import explain
from sagacity.decide.finish import restoring
from sagacity.definition.project import Project
from sagacity.errors import Conflict, NotFound, RefusedAct
from sagacity.model.canonical import NULL
from sagacity.model.record import Effect, EffectStatus, Lane, Record, Status
from sagacity.model.views import (
    Count,
    HistoryLine,
    LockView,
    ObjectVersion,
    ObjectView,
    Outcome,
    RollbackItem,
    RollbackPreview,
    SagaSummary,
    SagaView,
)
from sagacity.runtime.rollbacks import erased, restores
from sagacity.runtime.watch import Watch
from sagacity.store.base import Filter, SagaRow, Store


class Looking:
    """The reading half of the orchestrator."""

    store: Store
    project: Project
    _watch: Watch

    async def resolve(self, ref: str | UUID, *, definition: str | None = None) -> UUID:
        """The saga that an id or a business key names.

        Raises:
            NotFound: there is none. Conflict: several definitions have that key.
        """
        if isinstance(ref, UUID):
            return ref
        if definition is not None:
            found = await self.store.find(definition, ref)
            if found is not None:
                return found
        elif (id := _id(ref)) is not None and id in await self.store.statuses([id]):
            return id
        else:
            rows = await self.store.sagas(Filter(key=ref, limit=3))
            if len(rows) > 1:
                names = ", ".join(f"{row.definition} {row.id}" for row in rows)
                raise Conflict(f"key {ref!r} belongs to several sagas ({names}): use the id")
            if rows:
                return rows[0].id
        raise NotFound(f"no saga {ref!r}: give its id or its business key")

    # --- looking ----------------------------------------------------------------------------------

    async def _record(self, saga: str | UUID) -> Record | None:
        """The record; None for a saga that is still only in the inbox. Raises NotFound."""
        id = await self.resolve(saga)
        row = await self.store.saga(id)
        if row is None and id not in await self.store.statuses([id]):
            raise NotFound(f"no saga {id}")
        return row.record if row is not None else None

    async def show(self, saga: str | UUID) -> SagaView:
        """All that is known of a saga.

        Raises:
            NotFound: no such saga.
        """
        id = await self.resolve(saga)
        row = await self.store.saga(id)
        if row is None:
            return await self._pending(id)
        view = _view(row, Lane(self.store.lane), await self.store.rolled_back_by(id))
        lacking = None if view.status.final else await self._lacks_version(view.definition, view.version)
        return view if lacking is None else replace(view, why=f"{view.why}; {lacking}")

    async def _lacks_version(self, definition: str, version: int) -> str | None:
        """That its definition is run, and not in its version; None where it is, or nobody is at work."""
        living = [worker.definitions for worker in await self.store.workers()]
        run = sorted({names[definition][0] for names in living if definition in names})
        if not run or version in run:
            return None
        others = ", ".join(f"@{number}" for number in run)
        return f"no worker runs {definition}@{version} (only {others}): start one of that version"

    async def _pending(self, id: UUID) -> SagaView:
        found = await self.store.statuses([id])
        if id not in found:
            raise NotFound(f"no saga {id}")
        start = next(m for m in await self.store.messages(id) if m.kind == "start")
        runs = {name for worker in await self.store.workers() for name in worker.definitions}
        served = start.definition in runs
        summary = found[id]
        return SagaView(
            **{name: getattr(summary, name) for name in SagaSummary.__dataclass_fields__},
            input=start.data,
            results={},
            effects=(),
            locks=(),
            waits=(),
            revision=0,
            owner=None,
            parent=None,
            rolls_back=None,
            rolled_back_by=None,
            error=None,
            why="stored, and no worker has looked at it yet",
            next="a worker takes it up"
            if served
            else f"NOTHING: no worker runs {start.definition}; start one with `sagacity worker`",
            allowed=("cancel",),
        )

    async def outcome(self, saga: str | UUID, *, timeout: timedelta | None = None) -> Outcome:
        """Wait until a saga is over or stuck; after `timeout` (default 0), where it stands.

        Raises:
            NotFound: no such saga.
        """
        id = await self.resolve(saga)
        record = await self._watch.over(id, within=timeout.total_seconds()) if timeout else None
        if record is None:
            row = await self.store.saga(id)
            if row is None:
                view = await self._pending(id)
                return Outcome(saga=id, status=view.status, waits_for=None, reason=None, results={})
            record = row.record
        return Outcome(
            saga=id,
            status=record.status,
            waits_for=record.waits_for,
            reason=record.reason,
            results=dict(record.results),
        )

    async def history(
        self, saga: str | UUID, *, after: int = -1, limit: int | None = None
    ) -> builtins.list[HistoryLine]:
        """A saga's story, line by line, from behind the line `after`; at most `limit`. Raises NotFound."""
        id = await self.resolve(saga)
        lines = await self.store.history(id, after=after, limit=limit)
        if not lines and id not in await self.store.statuses([id]):
            raise NotFound(f"no saga {id}")
        return lines

    async def list(self, filter: Filter) -> builtins.list[SagaSummary]:
        """Sagas, newest first."""
        return await self.store.sagas(filter)

    async def counts(self, definition: str | None = None) -> dict[Status, int]:
        """How many sagas per status, exactly."""
        return await self.store.counts(definition=definition)

    async def tally(self, definition: str | None = None, *, upto: int = 20_000) -> dict[Status, Count]:
        """How many sagas per status, each to `upto` and no further: quick, however many there are."""
        return await self.store.tally(definition=definition, upto=upto)

    async def statuses(self, ids: Sequence[UUID]) -> dict[UUID, SagaSummary]:
        """Where these sagas stand."""
        return await self.store.statuses(ids)

    async def locks(
        self, *, object: str | None = None, saga: str | UUID | None = None
    ) -> builtins.list[LockView]:
        """Who holds and who queues."""
        id = await self.resolve(saga) if saga is not None else None
        return await self.store.locks(object=object, saga=id)

    async def object(self, object: str, *, at: int | None = None) -> ObjectView:
        """A participant's last committed value, or that of version `at`.

        Raises:
            NotFound: nothing of that name was ever changed or locked, or it never had that version.
        """
        view = await self.store.object(object)
        if view.version == 0 and not view.locks:
            raise NotFound(f"no object {object!r} in this store")
        if at is None or at == view.version:
            return view
        past = next(iter(await self.store.object_history(object, after=at - 1, limit=1)), None)
        if past is None or past.version != at:
            raise NotFound(f"{object} has no version {at}: it stands at {view.version}")
        return ObjectView(object=object, version=at, state=past.state or NULL, in_transaction=False, locks=())

    async def object_history(
        self, object: str, *, after: int = 0, limit: int | None = None
    ) -> builtins.list[ObjectVersion]:
        """A participant's versions, oldest first, from behind the version `after`; at most `limit`."""
        return await self.store.object_history(object, after=after, limit=limit)

    # --- rolling back what was committed ------------------------------------------------------------

    async def preview(self, saga: str | UUID) -> RollbackPreview:
        """What rolling back a committed saga would do. Changes nothing.

        Raises:
            NotFound: no such saga. RefusedAct: it is not committed, or was rolled back already.
        """
        record = await self._rollbackable(saga)
        effects = [self._effect_item(effect) for effect in reversed(record.effects)]
        items = [item for item in effects if item is not None]
        wanted = await restores(self.store, record.id)
        states = await self.store.objects([restore.object for restore in wanted]) if wanted else {}
        for restore in wanted:
            now = states[restore.object]
            plan = restoring(self.project.participants, restore, now)
            items.append(
                RollbackItem(
                    what=restore.object,
                    how=plan.how,
                    detail=plan.detail,
                    before=restore.before,
                    after=plan.state,
                    now=now.state,
                    changed_since=now.version != restore.version,
                )
            )
        possible = all(item.how in ("exact", "counter-action") for item in items)
        return RollbackPreview(saga=record.id, possible=possible, items=tuple(items))

    async def _rollbackable(self, saga: str | UUID) -> Record:
        record = await self._record(saga)
        if record is None:
            raise RefusedAct("it has not been looked at yet: cancel it instead")
        if record.status is not Status.COMMITTED:
            raise RefusedAct(f"only a committed saga can be rolled back; this one is {record.status.value}")
        if record.rolls_back is not None:
            raise RefusedAct(f"it is itself the rollback of saga {record.rolls_back}")
        if erased(record):
            raise RefusedAct("what it did was erased: it cannot be brought back")
        done = await self.store.rolled_back_by(record.id)
        if done is not None:
            raise RefusedAct(f"it was rolled back already, by saga {done}")
        return record

    @staticmethod
    def _effect_item(effect: Effect) -> RollbackItem | None:
        if effect.status is not EffectStatus.LANDED:
            return None
        if effect.undo is None:
            return RollbackItem(what=effect.step, how="impossible", detail="declared final: it stays")
        return RollbackItem(what=effect.step, how="counter-action", detail=f"{effect.undo} makes good for it")


def _id(ref: str) -> UUID | None:
    """`ref` as an id, if it can be read as one; a business key may look like one too."""
    try:
        return UUID(ref)
    except ValueError:
        return None


def _view(row: SagaRow, lane: Lane, rolled_back_by: UUID | None) -> SagaView:
    record = row.record
    return SagaView(
        id=record.id,
        definition=record.definition,
        version=record.version,
        key=record.key,
        status=record.status,
        waits_for=record.waits_for,
        state=record.state,
        reason=record.reason,
        created_at=record.created_at,
        updated_at=record.updated_at,
        due_at=record.due_at,
        lane=lane,
        input=record.input,
        results=dict(record.results),
        effects=record.effects,
        locks=record.locks,
        waits=record.waits,
        revision=record.revision,
        owner=row.owner,
        parent=record.parent,
        rolls_back=record.rolls_back,
        rolled_back_by=rolled_back_by,
        error=explain.last_error(record),
        why=explain.why(record),
        next=explain.next_move(record),
        allowed=explain.allowed(record),
    )
