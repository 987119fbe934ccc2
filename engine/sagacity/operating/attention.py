"""The attention page: everything that nothing will move by itself, grouped by what looks alike.

One read of the store, whose cost does not grow with the number of sagas; what lies beyond its limits
makes a count "at least", never wrong.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from sagacity.decide.attention import KINDS, Limits, fingerprint, folded
from sagacity.model.operating import TOP_TIER, AttentionGroup, AttentionItem, Plan, PlanStatus
from sagacity.model.record import Status
from sagacity.model.unit import ObjectState, holders
from sagacity.operating.chain import said, waits_for
from sagacity.operating.planning import sentence
from sagacity.store.base import Store
from sagacity.store.office import Matter, Matters, PlanFilter

__all__ = ["Limits", "attention"]

_SHOWN = 20
_BOARD = 10
"""Objects with long queues that are shown."""
_ORDER = {kind: place for place, kind in enumerate(KINDS)}


@dataclass(slots=True)
class _Group:
    """A group while it is filled."""

    kind: str
    definition: str
    version: int | None
    state: str
    error: str | None
    what: str
    exact: bool = True
    count: int = 0
    items: list[AttentionItem] = field(default_factory=list)
    first: datetime | None = None
    last: datetime | None = None

    def add(self, item: AttentionItem) -> None:
        self.count += 1
        self.items.append(item)
        self.first = item.since if self.first is None else min(self.first, item.since)
        self.last = item.since if self.last is None else max(self.last, item.since)

    def made(self) -> AttentionGroup:
        assert self.first is not None
        assert self.last is not None
        self.items.sort(key=lambda item: (item.since, item.key))
        return AttentionGroup(
            kind=self.kind,
            fingerprint=fingerprint(self.kind, self.definition, self.state, self.error),
            definition=self.definition,
            version=self.version,
            state=self.state,
            what=self.what,
            count=self.count,
            exact=self.exact,
            first_seen=self.first,
            last_seen=self.last,
            items=tuple(self.items[:_SHOWN]),
        )


async def attention(store: Store, limits: Limits) -> list[AttentionGroup]:
    """See the facade."""
    found = await store.matters(limits)
    now = await store.now()
    groups = _grouped(_sagas(found, limits, now), cut=_cut(found, limits.rows))
    groups += _plans(await _waiting(store, now), "approval")
    groups += _plans(await _some(store, PlanFilter(glass_open=True)), "break_glass")
    groups += await _locks(store, found, limits, now)
    return sorted(groups, key=lambda group: (_ORDER[group.kind], group.first_seen))


# --- sagas --------------------------------------------------------------------------------------------


def _sagas(found: Matters, limits: Limits, now: datetime) -> Iterator[tuple[str, Matter]]:
    """Every matter once, with its kind: the gravest that fits."""
    run = {(name, version) for worker in found.workers for name, (version, _) in worker.definitions.items()}
    seen: set[UUID] = set()
    for kind, matter in _sorted_out(found, limits, now, run):
        if matter.saga not in seen:
            seen.add(matter.saga)
            # Whoever has seen that it is stuck has seen why.
            if not ({kind, "stuck" if kind == "undo_failed" else kind} & matter.acked):
                yield kind, matter


def _sorted_out(
    found: Matters, limits: Limits, now: datetime, run: set[tuple[str, int]]
) -> Iterator[tuple[str, Matter]]:
    rows = limits.rows
    for matter in found.stuck[:rows]:
        yield ("undo_failed" if matter.saga in found.gave_up else "stuck"), matter
    for matter in found.paused[:rows]:
        if not matter.status.final and now - matter.since >= limits.paused:
            yield "paused", matter
    yield from _left_lying(found, rows, run)
    for matter in found.endless[:rows]:
        if not matter.paused:
            yield "nothing_scheduled", matter
    for matter in found.retrying[:rows]:
        if matter.tried_since is not None and now - matter.tried_since >= limits.retrying:
            yield "retrying", matter


def _left_lying(found: Matters, rows: int, run: set[tuple[str, int]]) -> Iterator[tuple[str, Matter]]:
    """What a worker should have taken up."""
    for matter in (*found.overdue[:rows], *found.lost[:rows], *found.starts[:rows]):
        if not (matter.paused or matter.status.final):
            yield ("overdue" if _served(matter, run) else "unserved"), matter
    for matter in found.rung[:rows]:
        if not (matter.paused or matter.status.final or _served(matter, run)):
            yield "unserved", matter


def _served(matter: Matter, run: set[tuple[str, int]]) -> bool:
    """Whether a living worker runs its definition in its version; a start's version may be any."""
    if matter.status is Status.PENDING:
        return any(name == matter.definition for name, _ in run)
    return (matter.definition, matter.version) in run


def _cut(found: Matters, rows: int) -> frozenset[str]:
    """Kinds of which there may be more than were looked at."""
    sorts: dict[str, Sequence[str]] = {
        "stuck": ("stuck", "undo_failed"),
        "paused": ("paused",),
        "overdue": ("overdue", "unserved"),
        "lost": ("overdue", "unserved"),
        "starts": ("overdue", "unserved"),
        "rung": ("unserved",),
        "endless": ("nothing_scheduled",),
        "retrying": ("retrying",),
        "queued": ("lock",),
    }
    full = (kinds for name, kinds in sorts.items() if len(getattr(found, name)) > rows)
    return frozenset(kind for kinds in full for kind in kinds)


def _grouped(matters: Iterable[tuple[str, Matter]], *, cut: frozenset[str]) -> list[AttentionGroup]:
    groups: dict[tuple[object, ...], _Group] = {}
    for kind, matter in matters:
        error = matter.error if kind in ("stuck", "undo_failed", "retrying") else None
        version = matter.version if kind == "unserved" else None
        at = (kind, matter.definition, version, matter.state, folded(error))
        group = groups.get(at)
        if group is None:
            what = f"{KINDS[kind]}: {error}" if error else KINDS[kind]
            group = groups[at] = _Group(kind, matter.definition, version, matter.state, error, what)
            group.exact = kind not in cut
        group.add(_item(kind, matter))
    return [group.made() for group in groups.values()]


def _item(kind: str, matter: Matter) -> AttentionItem:
    since = matter.since
    detail = matter.error or KINDS[kind]
    if kind == "overdue" and matter.due_at is not None:
        since, detail = matter.due_at, f"due since {matter.due_at:%Y-%m-%d %H:%M:%SZ}"
    elif kind == "unserved":
        detail = f"no worker runs {matter.definition}@{matter.version}"
    elif kind == "retrying" and matter.tried_since is not None:
        since = matter.tried_since
    return AttentionItem(
        saga=matter.saga, definition=matter.definition, key=matter.key, since=since, detail=detail
    )


# --- plans --------------------------------------------------------------------------------------------


async def _waiting(store: Store, now: datetime) -> list[Plan]:
    """Plans of which somebody else could still make something."""
    narrowed = PlanFilter(status=(PlanStatus.OPEN,), tier=TOP_TIER, unexpired_at=now)
    plans = [plan for plan in await _some(store, narrowed) if plan.touches]
    gone = await store.overtaken(plans)
    return [plan for plan in plans if plan.id not in gone]


async def _some(store: Store, narrowed: PlanFilter) -> list[Plan]:
    """The newest, a hundred at most: large ones come on several pages."""
    found: list[Plan] = []
    before: UUID | None = None
    while left := _SHOWN * 5 - len(found):
        page = await store.plans(replace(narrowed, before=before, limit=left))
        found += page.plans
        before = page.next
        if before is None:
            break
    return found


def _plans(plans: Sequence[Plan], kind: str) -> list[AttentionGroup]:
    groups: dict[tuple[str, str], _Group] = {}
    for plan in plans:
        first = plan.touches[0]
        at = (plan.verb.value, first.definition)
        what = f"{plan.verb}: {KINDS[kind]}"
        group = groups.setdefault(at, _Group(kind, first.definition, None, "", plan.verb.value, what))
        by = plan.applied_by if kind == "break_glass" else plan.made_by
        sagas = first.key if len(plan.touches) == 1 else f"{len(plan.touches)} sagas"
        detail = f"{plan.verb} {sagas}, by {by}" + (f": {plan.reason}" if plan.reason else "")
        group.add(
            AttentionItem(
                saga=first.saga if len(plan.touches) == 1 else None,
                definition=first.definition,
                key=first.key if len(plan.touches) == 1 else f"{len(plan.touches)} sagas",
                since=plan.applied_at or plan.made_at,
                detail=detail,
                plan=plan.id,
            )
        )
    return [group.made() for group in groups.values()]


# --- locks --------------------------------------------------------------------------------------------


async def _locks(store: Store, found: Matters, limits: Limits, now: datetime) -> list[AttentionGroup]:
    """Objects that many wait for, or somebody for long; the longest queue first."""
    asked = {object for matter in found.queued[: limits.rows] for object in matter.asked}
    states = [state for state in (await store.objects(sorted(asked))).values() if len(state.queue) > 1]
    long = [state for state in states if _is_long(state, limits, now)]
    long.sort(key=lambda state: (-len(state.queue), state.object))
    acked = {matter.saga for matter in found.queued if "lock" in matter.acked}
    groups = [await _lock(store, state, now) for state in long[:_BOARD] if state.queue[0].saga not in acked]
    return [group for group in groups if group is not None]


def _is_long(state: ObjectState, limits: Limits, now: datetime) -> bool:
    waiting = state.queue[len(holders(state.queue)) :]
    return len(waiting) >= limits.waiters or any(now - entry.since >= limits.lock for entry in waiting)


async def _lock(store: Store, state: ObjectState, now: datetime) -> AttentionGroup | None:
    holder = state.queue[0]
    chain = await waits_for(store, holder.saga)
    if not chain:
        return None
    waiting = state.queue[len(holders(state.queue)) :]
    if not waiting:
        return None
    minutes = int((now - waiting[0].since).total_seconds() // 60)
    what = f"{state.object}: {len(waiting)} waiting, the first for {minutes} min; held by {said(chain)}"
    group = _Group("lock", chain[0].definition, None, "", state.object, what)
    names = await store.statuses([entry.saga for entry in waiting[:_SHOWN]])
    for entry in waiting:
        known = names.get(entry.saga)
        group.add(
            AttentionItem(
                saga=entry.saga,
                definition=known.definition if known else "",
                key=known.key if known else str(entry.saga),
                since=entry.since,
                detail=f"waits for {state.object}" + (f" ({sentence(known)})" if known else ""),
            )
        )
    return group.made()
