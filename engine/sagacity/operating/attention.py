"""The attention page: everything that nothing will move by itself, grouped by what looks alike.

One read of the store, whose cost does not grow with the number of sagas; what lies beyond its limits
makes a count "at least", never wrong.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from sagacity.decide.attention import KINDS, Limits, fingerprint, folded
from sagacity.model.operating import AttentionGroup, AttentionItem
from sagacity.model.unit import ObjectState, holders
from sagacity.operating.chain import said, waits_for
from sagacity.operating.planning import sentence
from sagacity.runtime.concerns import Concern, cut, long_queues, of_plans, of_sagas
from sagacity.store.base import Store

__all__ = ["Limits", "attention"]

_SHOWN = 20
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
    groups = _grouped(of_sagas(found, limits, now), cut=cut(found, limits.rows))
    groups += _grouped(await of_plans(store, now))
    queues = [await _lock(store, state, now) for state in await long_queues(store, found, limits, now)]
    groups += [group for group in queues if group is not None]
    return sorted(groups, key=lambda group: (_ORDER[group.kind], group.first_seen))


def _grouped(found: Iterable[Concern], *, cut: frozenset[str] = frozenset()) -> list[AttentionGroup]:
    groups: dict[tuple[object, ...], _Group] = {}
    for one in found:
        at = (one.kind, one.definition, one.version, one.state, folded(one.error))
        group = groups.get(at)
        if group is None:
            group = groups[at] = _Group(
                one.kind, one.definition, one.version, one.state, one.error, _what(one), one.kind not in cut
            )
        group.add(_item(one))
    return [group.made() for group in groups.values()]


def _what(one: Concern) -> str:
    if one.error is None:
        return KINDS[one.kind]
    return f"{one.error}: {KINDS[one.kind]}" if one.plan else f"{KINDS[one.kind]}: {one.error}"


def _item(one: Concern) -> AttentionItem:
    return AttentionItem(
        saga=None if one.several else one.saga,
        definition=one.definition,
        key=one.key,
        since=one.since,
        detail=one.detail,
        plan=one.plan,
    )


# --- locks --------------------------------------------------------------------------------------------


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
