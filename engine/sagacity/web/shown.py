"""The orchestrator as the caller of the moment may see it: for pages, which ask it for everything.

Its looking calls are those of `Seen`; what it does not name goes through as it is. The caller is whom the
gate let in, found without being passed along, so that no page can forget to pass it.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast
from uuid import UUID

from sagacity.errors import NotFound
from sagacity.model.operating import Action, ActLine, Actor, AttentionGroup, ItemOutcome, Plan, Selection
from sagacity.model.views import HistoryLine, SagaSummary, SagaView
from sagacity.orchestrator import Orchestrator
from sagacity.store.base import SagaRow
from sagacity.store.office import LockBoard, PlanPage
from sagacity.web.guard.caller import present
from sagacity.web.seen import Seen


def shown(sagas: Orchestrator) -> Orchestrator:
    """`sagas`, as each caller may see it."""
    return cast(Orchestrator, _Shown(sagas))


_SAME = ("resolve", "list", "tally", "locks", "object")
_CHECKED = ("history", "outcome", "preview")
_DECIDING = ("apply", "approve", "reject", "acknowledge", "plan_again")


class _Shown:
    def __init__(self, sagas: Orchestrator) -> None:
        self._sagas = sagas
        self.store = _Store(sagas)

    def __getattr__(self, name: str) -> Any:
        if name in _SAME:
            return getattr(self._mine, name)
        if name in _CHECKED:
            return _checked(self._mine, name)
        if name in _DECIDING:
            return self._deciding(name)
        return getattr(self._sagas, name)

    @property
    def _mine(self) -> Seen:
        return Seen(self._sagas, present().actor)

    def _deciding(self, name: str) -> Any:
        """A decision about a plan: of one that is not theirs to see nothing is said but that."""

        async def call(plan: UUID, *given: Any, **more: Any) -> Any:
            await self.plan_of(plan)
            return await getattr(self._sagas, name)(plan, *given, **more)

        return call

    async def show(self, saga: str | UUID) -> SagaView:
        """See `Looking.show`."""
        mine = self._mine
        return await mine.show(await mine.existing(saga))

    async def find(self, filter: str, **more: Any) -> list[SagaSummary]:
        """See `Operating.find`."""
        found, mine = await self._sagas.find(filter, **more), self._mine
        return await mine.summaries([one for one in found if mine.holds(one.definition)])

    async def attention(self, limits: Any = None) -> list[AttentionGroup]:
        """See `Operating.attention`."""
        return await self._mine.attention(await self._sagas.attention(limits))

    async def acts(self, narrowed: Any = None) -> list[ActLine]:
        """See `Operating.acts`."""
        return await self._mine.acts(await self._sagas.acts(narrowed))

    async def plan_of(self, plan: UUID) -> Plan:
        """See `Operating.plan_of`."""
        found, mine = await self._sagas.plan_of(plan), self._mine
        if not all(mine.holds(item.definition) for item in found.items):
            raise NotFound(f"no plan {plan}")
        return await mine.plan(found)

    async def plans(self, narrowed: Any = None) -> PlanPage:
        """See `Operating.plans`."""
        return await self._mine.plans(await self._sagas.plans(narrowed))

    async def outcomes(self, plan: UUID, *, first: int | None = None) -> list[ItemOutcome]:
        """See `Operating.outcomes`."""
        found, mine = await self._sagas.plan_of(plan), self._mine
        if not all(mine.holds(item.definition) for item in found.items):
            raise NotFound(f"no plan {plan}")
        return await mine.outcomes(found, await self._sagas.outcomes(plan, first=first))

    async def selection(self, selection: UUID) -> Selection:
        """See `Operating.selection`."""
        found = await self._sagas.selection(selection)
        if not await self._mine.visible(found.sagas) >= set(found.sagas):
            raise NotFound(f"no selection {selection}")
        return found

    async def waits_for(self, saga: str | UUID) -> Any:
        """See `Operating.waits_for`."""
        mine = self._mine
        return await mine.chain(await self._sagas.waits_for(await mine.existing(saga)))

    async def plan(self, action: Action, actor: Actor, **more: Any) -> Plan:
        """See `Operating.plan`."""
        if action.selection is not None:
            await self.selection(action.selection)
        visible = await self._mine.visible(action.sagas)
        for saga in action.sagas:
            if saga not in visible:
                raise NotFound(f"no saga {saga}")
        return await self._sagas.plan(action, actor, **more)


def _checked(mine: Seen, name: str) -> Any:
    async def call(saga: str | UUID, **more: Any) -> Any:
        return await getattr(mine, name)(await mine.existing(saga), **more)

    return call


class _Store:
    """What pages read past the orchestrator."""

    def __init__(self, sagas: Orchestrator) -> None:
        self._sagas = sagas

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sagas.store, name)

    @property
    def _mine(self) -> Seen:
        return Seen(self._sagas, present().actor)

    async def saga(self, saga: UUID) -> SagaRow | None:
        """See `Store.saga`."""
        mine = self._mine
        row = await self._sagas.store.saga(await mine.existing(saga))
        return None if row is None else await mine.row(row)

    async def history(self, saga: UUID, *, after: int = -1, limit: int | None = None) -> list[HistoryLine]:
        """See `Store.history`."""
        mine = self._mine
        id = await mine.existing(saga)
        return await mine.lines(id, await self._sagas.store.history(id, after=after, limit=limit))

    async def lock_board(self, *, limit: int = 1_000) -> LockBoard:
        """See `Office.lock_board`."""
        board, mine = await self._sagas.store.lock_board(limit=limit), self._mine
        return replace(board, locks=tuple(mine.veiled(board.locks)))

    async def acts_of(self, sagas: Sequence[UUID]) -> list[ActLine]:
        """See `Office.acts_of`."""
        return await self._mine.acts(await self._sagas.store.acts_of(sagas))
