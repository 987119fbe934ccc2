"""Which of what a store finds needs a human, and of which kind: one rule for the page and for notices.

What is told somebody at night and what they see when they get up must be the same thing under the same name.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from sagacity.decide.attention import KINDS, Limits, fingerprint
from sagacity.model.operating import Plan, PlanStatus
from sagacity.model.record import Status
from sagacity.model.unit import ObjectState, holders
from sagacity.store.base import Store
from sagacity.store.office import Matter, Matters, PlanFilter

PLANS = 100
"""Plans of each sort that are looked at."""
QUEUES = 10
"""Objects with long queues that are told of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Concern:
    """One thing that needs a human.

    Attributes:
        version: where it matters; None: it does not.
        error: what tells it from others of its kind, definition and state: an error, a verb, an object.
        status: how the saga stands; None for what is about a plan.
        saga: the one it is about, or the first of several (`key` then says how many).
        since: since when it stands like this.
        detail: one sentence.
        plan: the plan that it is about.
        several: it is about more sagas than this one.
        mark: tells this time from the next, where the saga alone does not.
    """

    kind: str
    definition: str
    version: int | None = None
    state: str = ""
    error: str | None = None
    saga: UUID
    key: str
    status: Status | None = None
    since: datetime
    detail: str
    plan: UUID | None = None
    several: bool = False
    mark: str = ""

    @property
    def fingerprint(self) -> str:
        """See `decide/attention.py`."""
        return fingerprint(self.kind, self.definition, self.state, self.error)


# --- sagas --------------------------------------------------------------------------------------------


def of_sagas(found: Matters, limits: Limits, now: datetime) -> Iterator[Concern]:
    """Every saga that matters once, with the gravest kind that fits; without what was acknowledged."""
    run = {(name, version) for worker in found.workers for name, (version, _) in worker.definitions.items()}
    seen: set[UUID] = set()
    for kind, matter in _sorted_out(found, limits, now, run):
        if matter.saga not in seen:
            seen.add(matter.saga)
            # Whoever has seen that it is stuck has seen why.
            if not ({kind, "stuck" if kind == "undo_failed" else kind} & matter.acked):
                yield _concern(kind, matter)


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


def _concern(kind: str, matter: Matter) -> Concern:
    since = matter.since
    detail = matter.error or KINDS[kind]
    if kind == "overdue" and matter.due_at is not None:
        since, detail = matter.due_at, f"due since {matter.due_at:%Y-%m-%d %H:%M:%SZ}"
    elif kind == "unserved":
        detail = f"no worker runs {matter.definition}@{matter.version}"
    elif kind == "retrying" and matter.tried_since is not None:
        since = matter.tried_since
    return Concern(
        kind=kind,
        definition=matter.definition,
        version=matter.version if kind == "unserved" else None,
        state=matter.state,
        error=matter.error if kind in ("stuck", "undo_failed", "retrying") else None,
        saga=matter.saga,
        key=matter.key,
        status=matter.status,
        since=since,
        detail=detail,
    )


_SORTS: dict[str, tuple[str, ...]] = {
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


def cut(found: Matters, rows: int) -> frozenset[str]:
    """Kinds of which there may be more than were looked at."""
    full = (kinds for name, kinds in _SORTS.items() if len(getattr(found, name)) > rows)
    return frozenset(kind for kinds in full for kind in kinds)


# --- plans --------------------------------------------------------------------------------------------


async def of_plans(store: Store, now: datetime) -> list[Concern]:
    """Plans of which only a second person makes something, and broken glass that nobody has looked at."""
    narrowed = PlanFilter(status=(PlanStatus.OPEN,), needs_second=True, unexpired_at=now)
    open_ = [plan for plan in await _some(store, narrowed) if plan.touches]
    gone = await store.overtaken(open_)
    broken = await _some(store, PlanFilter(glass_open=True))
    return [
        *(_of_plan(plan, "approval", plan.made_by) for plan in open_ if plan.id not in gone),
        *(_of_plan(plan, "break_glass", str(plan.applied_by)) for plan in broken),
    ]


async def _some(store: Store, narrowed: PlanFilter) -> list[Plan]:
    """The newest, a hundred at most: large ones come on several pages."""
    found: list[Plan] = []
    before: UUID | None = None
    while left := PLANS - len(found):
        page = await store.plans(replace(narrowed, before=before, limit=left))
        found += page.plans
        before = page.next
        if before is None:
            break
    return found


def _of_plan(plan: Plan, kind: str, by: str) -> Concern:
    first = plan.touches[0]
    named = first.key if len(plan.touches) == 1 else f"{len(plan.touches)} sagas"
    return Concern(
        kind=kind,
        definition=first.definition,
        error=plan.verb.value,
        saga=first.saga,
        key=named,
        since=plan.applied_at or plan.made_at,
        detail=f"{plan.verb} {named}, by {by}" + (f": {plan.reason}" if plan.reason else ""),
        plan=plan.id,
        several=len(plan.touches) > 1,
        mark=str(plan.id),
    )


# --- locks --------------------------------------------------------------------------------------------


async def long_queues(store: Store, found: Matters, limits: Limits, now: datetime) -> list[ObjectState]:
    """Objects that many wait for, or somebody for long; the longest queue first."""
    asked = {object for matter in found.queued[: limits.rows] for object in matter.asked}
    states = [state for state in (await store.objects(sorted(asked))).values() if len(state.queue) > 1]
    long = [state for state in states if _is_long(state, limits, now)]
    long.sort(key=lambda state: (-len(state.queue), state.object))
    acked = {matter.saga for matter in found.queued if "lock" in matter.acked}
    return [state for state in long[:QUEUES] if state.queue[0].saga not in acked]


def _is_long(state: ObjectState, limits: Limits, now: datetime) -> bool:
    waiting = state.queue[len(holders(state.queue)) :]
    return len(waiting) >= limits.waiters or any(now - entry.since >= limits.lock for entry in waiting)


async def of_queues(store: Store, queues: Sequence[ObjectState], now: datetime) -> list[Concern]:
    """One for each queue, about the saga that holds it up."""
    known = await store.statuses([state.queue[0].saga for state in queues])
    told = []
    for state in queues:
        first, behind = state.queue[0], state.queue[len(holders(state.queue)) :]
        holder = known.get(first.saga)
        if holder is None or not behind:
            continue
        minutes = int((now - behind[0].since).total_seconds() // 60)
        detail = f"{state.object}: {len(behind)} waiting, the first for {minutes} min"
        told.append(
            Concern(
                kind="lock",
                definition=holder.definition,
                error=state.object,
                saga=holder.id,
                key=holder.key,
                status=holder.status,
                since=behind[0].since,
                detail=f"{detail}; held by {holder.definition} {holder.key}",
                mark=f"{state.object}#{first.ticket}",
            )
        )
    return told


async def concerns(store: Store, limits: Limits) -> tuple[list[Concern], frozenset[str]]:
    """Everything that needs a human now, and the kinds of which there may be more."""
    found = await store.matters(limits)
    now = await store.now()
    queues = await of_queues(store, await long_queues(store, found, limits, now), now)
    return [*of_sagas(found, limits, now), *await of_plans(store, now), *queues], cut(found, limits.rows)
