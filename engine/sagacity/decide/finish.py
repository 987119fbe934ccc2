"""The end of a saga: staged operations applied all at once, or a committed saga's changes brought back."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sagacity.decide.draft import Draft
from sagacity.definition.participant import Participant, inverse_of, is_own_table, played
from sagacity.errors import StepError
from sagacity.model import lines as L
from sagacity.model.canonical import NULL, Json
from sagacity.model.record import EffectStatus, Record, Restore, Staged
from sagacity.model.unit import ObjectChange, ObjectState

Registry = Mapping[str, type[Participant]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """A user's row before and after its statements ran."""

    before: Json
    after: Json


def by_object(record: Record) -> dict[str, tuple[Staged, ...]]:
    """Staged operations per object, objects by key, operations in the order they were staged."""
    found: dict[str, list[Staged]] = {}
    for staged in record.staged:
        found.setdefault(staged.object, []).append(staged)
    return {name: tuple(found[name]) for name in sorted(found)}


def touched(record: Record) -> tuple[str, ...]:
    """Objects that the end of this saga changes."""
    if record.rolls_back is not None:
        return tuple(sorted(restore.object for restore in record.restores))
    return tuple(by_object(record))


def own_rows(registry: Registry, record: Record) -> dict[str, tuple[Staged, ...]]:
    """Those of them that are rows of the user's own tables, with the operations to run."""
    if record.rolls_back is None:
        staged = by_object(record)
    else:
        staged = {r.object: _inverses(registry, r) or () for r in record.restores}
    return {name: ops for name, ops in staged.items() if is_own_table(registry, name)}


def finish(
    draft: Draft,
    states: Mapping[str, ObjectState],
    *,
    now: datetime,
    images: Mapping[str, Images] | None = None,
) -> None:
    """Apply what is staged (or restore) and commit.

    Args:
        draft: of the saga, at its end.
        states: every object of `touched`, as committed now.
        now: the database's instant.
        images: for rows of the user's own tables, what their statements made of them.

    Raises:
        StepError: an operation refused; nothing was added to the draft.
    """
    record, registry = draft.record, draft.scope.participants
    applied: list[L.Applied] = []
    if record.rolls_back is None:
        for name, operations in by_object(record).items():
            applied.append(_applied(registry, states[name], operations, images, now))
    else:
        for restore in sorted(record.restores, key=lambda r: r.object):
            applied.append(_restored(registry, restore, states[restore.object], images, now))
    for line in applied:
        draft.add(line)
        state = NULL if line.own_table else line.after
        draft.change(ObjectChange(object=line.object, version=line.version, state=state))
    draft.add(L.Committed(at=now))


def _applied(
    registry: Registry,
    state: ObjectState,
    operations: tuple[Staged, ...],
    images: Mapping[str, Images] | None,
    now: datetime,
) -> L.Applied:
    own = is_own_table(registry, state.object)
    if own:
        image = (images or {})[state.object]
        before, after = image.before, image.after
    else:
        before, after = state.state, played(registry, state.object, state.state, operations)
    return L.Applied(
        object=state.object,
        version=state.version + 1,
        before=before,
        after=after,
        operations=operations,
        own_table=own,
        at=now,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Restoring:
    """How one object can be brought back.

    Attributes:
        how: exact (nobody changed it since), counter-action (inverse operations on what it is now),
            changed (others changed it and an operation declares no inverse), impossible (refused).
        state: what it would become; None where it cannot be told beforehand.
    """

    how: str
    state: Json | None
    operations: tuple[Staged, ...]
    detail: str

    @property
    def possible(self) -> bool:
        """It can be brought back."""
        return self.how in ("exact", "counter-action")


def restoring(registry: Registry, restore: Restore, now: ObjectState) -> Restoring:
    """Three-way: what the saga found, what it left, and what is there now. Never a blind overwrite."""
    operations = _inverses(registry, restore)
    unchanged = now.version == restore.version
    if is_own_table(registry, restore.object):
        return _own_restoring(operations, unchanged)
    if unchanged:
        return Restoring(how="exact", state=restore.before, operations=(), detail="nobody changed it since")
    since = f"changed {now.version - restore.version} times since"
    if operations is None:
        return Restoring(
            how="changed", state=None, operations=(), detail=f"{since}, and no inverse is declared"
        )
    try:
        state = played(registry, restore.object, now.state, operations)
    except StepError as error:
        return Restoring(
            how="impossible", state=None, operations=operations, detail=f"{since}; refused: {error}"
        )
    names = ", ".join(staged.operation for staged in operations)
    return Restoring(how="counter-action", state=state, operations=operations, detail=f"{since}; by {names}")


def _own_restoring(operations: tuple[Staged, ...] | None, unchanged: bool) -> Restoring:
    if operations is None:
        detail = "a row of an own table, and an operation declares no inverse"
        return Restoring(how="impossible", state=None, operations=(), detail=detail)
    names = ", ".join(staged.operation for staged in operations)
    how = "exact" if unchanged else "counter-action"
    return Restoring(how=how, state=None, operations=operations, detail=f"by {names}")


def _inverses(registry: Registry, restore: Restore) -> tuple[Staged, ...] | None:
    """Inverse operations, last one first; None where one declares none."""
    found = [inverse_of(registry, staged) for staged in reversed(restore.operations)]
    if any(staged is None for staged in found):
        return None
    return tuple(staged for staged in found if staged is not None)


def _restored(
    registry: Registry,
    restore: Restore,
    now: ObjectState,
    images: Mapping[str, Images] | None,
    at: datetime,
) -> L.Applied:
    plan = restoring(registry, restore, now)
    if not plan.possible:
        raise StepError(f"{restore.object} {plan.detail}")
    own = is_own_table(registry, restore.object)
    image = (images or {})[restore.object] if own else None
    return L.Applied(
        object=restore.object,
        version=now.version + 1,
        before=image.before if image else now.state,
        after=image.after if image else (plan.state or NULL),
        operations=plan.operations,
        own_table=own,
        at=at,
    )


def needs_check(record: Record, *, holding: bool = False) -> bool:
    """It is a rollback after commit that has undone nothing yet, and its locks are held.

    `holding`: it stands first in all its queues, though no line says so yet.
    """
    begun = any(e.undo_attempts or e.status is EffectStatus.UNDONE for e in record.effects)
    held = record.locked or holding
    return record.rolls_back is not None and held and not record.status.final and not begun


def check_restores(draft: Draft, states: Mapping[str, ObjectState], *, now: datetime) -> bool:
    """Before anything is undone: can every object be brought back? False: the rollback ended."""
    for restore in draft.record.restores:
        plan = restoring(draft.scope.participants, restore, states[restore.object])
        if not plan.possible:
            draft.add(L.RolledBack(reason=f"nothing was rolled back: {restore.object} {plan.detail}", at=now))
            return False
    return True


def restores_of(lines: Iterable[L.Line]) -> tuple[Restore, ...]:
    """What a rollback has to bring back, from the original's lines."""
    return tuple(
        Restore(
            object=line.object,
            version=line.version,
            before=line.before,
            after=line.after,
            operations=line.operations,
        )
        for line in lines
        if isinstance(line, L.Applied)
    )
