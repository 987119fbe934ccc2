"""Rollback after commit: from what the log says of a committed saga to the start of a linked one."""

from collections.abc import Iterable
from uuid import UUID

from sagacity.decide.begin import rollback_payload
from sagacity.decide.finish import restores_of
from sagacity.decide.outcomes import request_hash
from sagacity.ids import derived_id
from sagacity.model.canonical import NULL, loaded
from sagacity.model.lines import Line, read_line
from sagacity.model.record import Effect, EffectStatus, Record, Restore
from sagacity.model.unit import Message
from sagacity.model.views import HistoryLine
from sagacity.store.base import Store


def rollback_id(saga: UUID) -> UUID:
    """The id of the one rollback that a saga can have."""
    return derived_id(saga, "rollback")


async def restores(store: Store, saga: UUID) -> tuple[Restore, ...]:
    """What the saga's commit changed, from its `applied` lines."""
    history = await store.history(saga)
    return restores_of(lines_of(history))


def lines_of(history: Iterable[HistoryLine]) -> list[Line]:
    """Stored lines as values; erased ones are left out."""
    return [
        read_line(row.kind, row.data, at=row.at, object=row.object, version=row.version)
        for row in history
        if row.data is not None
    ]


def erased(record: Record) -> bool:
    """Whether what the saga did was erased, so that it cannot be brought back. An input is never null."""
    return record.input == NULL


def to_undo(record: Record) -> tuple[Effect, ...]:
    """Effects that stand and can be made good, renumbered from 1 for the saga that undoes them."""
    standing = [e for e in record.effects if e.status is EffectStatus.LANDED and e.undo is not None]
    return tuple(_renumbered(effect, n) for n, effect in enumerate(standing, 1))


def _renumbered(effect: Effect, n: int) -> Effect:
    return Effect(
        n=n,
        step=effect.step,
        visit=effect.visit,
        key=effect.key,
        undo=effect.undo,
        safe_on_nothing=effect.safe_on_nothing,
        status=EffectStatus.LANDED,
        landed=True,
        result=effect.result,
        children=effect.children,
    )


async def rollback_start(store: Store, record: Record, asked: Message) -> Message:
    """The start of the saga that rolls `record` back, as `asked`."""
    parent = loaded(asked.payload) or {}
    id = rollback_id(record.id)
    return Message(
        id=id,
        kind="start",
        saga=id,
        definition=record.definition,
        version=record.version,
        key=f"rollback:{record.key}",
        request_hash=request_hash(f"rollback:{record.definition}", record.input),
        data=record.input,
        payload=rollback_payload(
            saga=record.id,
            effects=to_undo(record),
            restores=await restores(store, record.id),
            parent=parent.get("parent"),
            parent_step=parent.get("parent_step"),
        ),
        actor=asked.actor,
        arrived_at=asked.arrived_at,
    )
