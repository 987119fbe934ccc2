"""Tables against the log: what a row says is what folding its lines gives (I5), and nothing but that (I6)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from sagacity.invariants.broken import Broken
from sagacity.invariants.locks import i21_holds, queue_faults
from sagacity.model.record import Effect, Record
from sagacity.model.unit import ObjectState


def saga_faults(told: Record | None, stored: Record | None, saga: UUID) -> Iterator[Broken]:
    """I5, I6: a saga's row is the fold of its lines; it changes only together with a line.

    Args:
        told: what its lines make; None: it has none.
        stored: its row; None: it has none.
        saga: whose they are.
    """
    if told is None or stored is None:
        if told is not stored:
            has = (
                "the table has it, the log does not" if told is None else "the log has it, the table does not"
            )
            yield Broken(invariant="I6", where=f"saga {saga}", saga=saga, why=has)
        return
    if stored == told:
        return
    names = [n for n in Record.__dataclass_fields__ if getattr(stored, n) != getattr(told, n)]
    invariant = "I6" if stored.seq != told.seq else "I5"
    why = f"{', '.join(names)} in the table is not what its lines say"
    yield Broken(invariant=invariant, where=f"saga {saga}", saga=saga, why=why)


def effect_faults(told: Record, stored: Sequence[Effect]) -> Iterator[Broken]:
    """I5: a saga's compensation rows are the effects that its lines tell."""
    if tuple(stored) != effect_rows(told):
        why = "its compensation rows are not what its lines say"
        yield Broken(invariant="I5", where=f"saga {told.id}", saga=told.id, why=why)


def effect_rows(record: Record) -> tuple[Effect, ...]:
    """Effects as their compensation rows have them: the rest lies in the saga's row."""
    return tuple(replace(effect, landed=False, children=()) for effect in record.effects)


def object_faults(state: ObjectState, version: int, sagas: Mapping[UUID, Record]) -> Iterator[Broken]:
    """I5, I22, I24: an object's version is that of its lines, and every place in its queue has a live owner.

    Args:
        state: the object's row.
        version: what its lines say.
        sagas: every saga that the log tells of.
    """
    where = f"object {state.object}"
    if state.version != version:
        why = f"version {state.version} in the table, {version} in the log"
        yield Broken(invariant="I5", where=where, why=why)
    for invariant, saga, why in queue_faults(state):
        yield Broken(invariant=invariant, where=where, saga=saga, why=why)
    for entry in state.queue:
        owner = sagas.get(entry.saga)
        if owner is None or owner.status.final:
            has = "has no lines" if owner is None else f"is {owner.status.value}"
            why = f"its lock's owner {has}"
            yield Broken(invariant="I24", where=where, saga=entry.saga, why=why)
        elif all((lock.object, lock.mode) != (state.object, entry.mode) for lock in owner.locks):
            why = "it stands in the queue, but no line of it asks for that lock"
            yield Broken(invariant="I22", where=where, saga=entry.saga, why=why)


def lock_faults(record: Record, objects: Mapping[str, ObjectState]) -> Iterator[Broken]:
    """I21, I22: what a live saga has asked for it still holds, or still stands in the queue for."""
    for lock in record.locks:
        state = objects.get(lock.object)
        if state is None or all(entry.saga != record.id for entry in state.queue):
            why = f"{lock.object} was freed although the saga is {record.status.value}"
            yield Broken(invariant="I22", where=f"saga {record.id}", saga=record.id, why=why)
            return
    held = i21_holds(record, objects)
    if held is not None:
        yield Broken(invariant="I21", where=f"saga {record.id}", saga=record.id, why=held)
