"""The calls of the office, the same for Python, HTTP, the command line and the console.

Making a plan changes no saga; applying one is the only way in which a person changes one.
"""

import builtins
from dataclasses import replace
from uuid import UUID

from sagacity.clock import Clock
from sagacity.errors import InputError, NotFound
from sagacity.ids import IdSource
from sagacity.looking import Looking
from sagacity.model.canonical import canonical
from sagacity.model.operating import (
    PLAN_FOR,
    SELECTION_UPTO,
    Action,
    ActLine,
    Actor,
    AttentionGroup,
    ItemOutcome,
    Link,
    May,
    Plan,
    PlanStatus,
    Role,
    Selection,
    Verb,
)
from sagacity.model.views import SagaSummary
from sagacity.operating import applying, language, rules
from sagacity.operating.attention import Limits, attention
from sagacity.operating.chain import waits_for
from sagacity.operating.planning import args_of, items_of
from sagacity.store.office import ActsFilter, LockBoard, PlanFilter, PlanPage, Term


class Operating(Looking):
    """The operators' half of the orchestrator."""

    _clock: Clock
    _ids: IdSource

    # --- plan -------------------------------------------------------------------------------------

    async def plan(self, action: Action, actor: Actor, *, id: UUID | None = None) -> Plan:
        """What `action` would do, saga by saga; stored, and good for 15 minutes. Changes nothing else.

        Args:
            action: the verb, its arguments, and the sagas by id or by a stored selection.
            actor: who wants it; who applies it may be somebody else.
            id: the plan's own, where the caller derives it so that asking twice is asking once.

        Raises:
            Forbidden: they may not act, or not on one of these definitions. NotFound: no such saga or
            selection. InputError: arguments that the verb does not take, no saga, or more than 10,000.
        """
        rules.check_role(actor, Role.OPERATOR, (), f"plan to {action.verb}")
        args = args_of(action)
        ids, newcomers = await self._named(action, actor)
        items = await items_of(self, action.verb, args, ids)
        rules.check_role(actor, Role.OPERATOR, (item.definition for item in items), f"{action.verb} sagas")
        tier = rules.tier_of(action.verb, sum(item.refusal is None for item in items))
        stored, now = canonical(args), await self.store.now()
        plan = Plan(
            id=id or self._ids(),
            verb=action.verb,
            args=stored,
            tier=tier,
            items=tuple(items),
            hash=rules.hash_of(action.verb, stored, tier, items),
            made_by=actor.id,
            made_at=now,
            expires_at=now + PLAN_FOR,
            selection=action.selection,
            newcomers=newcomers,
        )
        await self.store.put_plan(plan)
        return plan

    async def _named(self, action: Action, actor: Actor) -> tuple[builtins.list[UUID], int]:
        """The sagas that an action names, each once, and how many newcomers its selection has."""
        ids = builtins.list(action.sagas)
        newcomers = 0
        if action.selection is not None:
            chosen = await self.selection(action.selection)
            ids += chosen.sagas
            newcomers = len(await self.newcomers(chosen.id, actor))
        ids = builtins.list(dict.fromkeys(ids))
        if not ids:
            raise InputError(f"nothing to {action.verb}: name sagas, or a selection that has some")
        if len(ids) > SELECTION_UPTO:
            raise InputError(f"{len(ids)} sagas are more than the {SELECTION_UPTO} that one plan may name")
        return ids, newcomers

    async def plan_of(self, plan: UUID) -> Plan:
        """A plan; its status is `expired` once its time has run out.

        Raises:
            NotFound: there is none.
        """
        return await applying.plan_of(self.store, plan)

    async def plans(self, narrowed: PlanFilter | None = None) -> PlanPage:
        """A page of plans, newest first; what its `next` names is the next page's `before`."""
        now = await self.store.now()
        found = await self.store.plans(narrowed or PlanFilter())
        return replace(found, plans=tuple(applying.seen_at(plan, now) for plan in found.plans))

    # --- decide -----------------------------------------------------------------------------------

    async def apply(
        self,
        plan: UUID,
        actor: Actor,
        *,
        reason: str | None = None,
        ticket: str | None = None,
        confirm: str | None = None,
        break_glass: bool = False,
    ) -> Plan:
        """Do what a plan says, to exactly the sagas it names. By the same actor twice is once.

        Args:
            plan: its id.
            actor: who applies it.
            reason: why, at least 8 characters; for a tier of 2 or more.
            ticket: where it is dealt with elsewhere.
            confirm: for tier 3, the business key, or how many sagas.
            break_glass: for tier 3, without the second person: an attention item stays open until somebody
                else acknowledges it.

        Raises:
            NotFound: no such plan. Forbidden: the actor's roles do not reach. NotConfirmed: what the tier
            asks for is missing. PlanClosed: applied by somebody else, rejected or expired. StalePlan: a saga
            moved. RefusedAct: none of its items is possible.
        """
        applied = await applying.apply(
            self.store,
            plan,
            actor,
            reason=reason,
            ticket=ticket,
            confirm=confirm,
            break_glass=break_glass,
        )
        await self._wake()
        return applied

    async def _wake(self) -> None:
        """Let workers look at once."""
        await self.store.hint()

    async def approve(self, plan: UUID, actor: Actor, *, hash: str | None = None) -> Plan:
        """Be the second person of a plan. `hash`: of what was looked at, refused where it is another.

        Raises:
            NotFound: no such plan. Forbidden: their own plan, no person, or no approver. PlanClosed: too
            late. Conflict: it needs no approval, has one, or `hash` is another.
        """
        return await applying.approve(self.store, plan, actor, hash=hash)

    async def reject(self, plan: UUID, actor: Actor) -> Plan:
        """Close a plan, so that nobody applies it; its maker may, too.

        Raises:
            NotFound, Forbidden, PlanClosed, Conflict: as `approve`.
        """
        return await applying.reject(self.store, plan, actor)

    async def plan_again(self, plan: UUID, actor: Actor) -> Plan:
        """A new plan of the same kind, made of what is stored: a page knows it only with secrets masked.

        Of an applied plan it is for what was refused, else for the same sagas.

        Raises:
            NotFound: no such plan. Otherwise as `plan`.
        """
        before = await self.plan_of(plan)
        ids = tuple(item.saga for item in before.items)
        if before.status is PlanStatus.APPLIED:
            ids = tuple(one.saga for one in await self.outcomes(plan) if one.state == "refused")
        return await self.plan(Action(verb=before.verb, sagas=ids, args=before.args), actor)

    async def acknowledge(self, plan: UUID, actor: Actor) -> Plan:
        """Say that one has looked at a plan that was applied without its second person.

        Raises:
            NotFound: no such plan. Forbidden: the one who did it, or no person. Conflict: no glass was
            broken.
        """
        return await applying.acknowledge(self.store, plan, actor)

    # --- select and look --------------------------------------------------------------------------

    async def select(self, filter: str, actor: Actor, *, id: UUID | None = None) -> Selection:
        """Resolve a filter (`operating/language.py`), once, into stored ids: at most 10,000, newest first.

        Only sagas of definitions that the actor's roles hold for are in it.

        Raises:
            InputError: the filter cannot be read, or no index can answer it. Forbidden: no operator.
        """
        rules.check_role(actor, Role.OPERATOR, (), "select sagas")
        found = await self.find(filter, limit=SELECTION_UPTO + 1, actor=actor)
        made = Selection(
            id=id or self._ids(),
            filter=filter,
            made_by=actor.id,
            made_at=await self.store.now(),
            sagas=tuple(saga.id for saga in found[:SELECTION_UPTO]),
            complete=len(found) <= SELECTION_UPTO,
        )
        await self.store.put_selection(made)
        return made

    async def selection(self, selection: UUID) -> Selection:
        """A stored selection.

        Raises:
            NotFound: there is none.
        """
        found = await self.store.selection(selection)
        if found is None:
            raise NotFound(f"no selection {selection}")
        return found

    async def newcomers(self, selection: UUID, actor: Actor) -> builtins.list[SagaSummary]:
        """Sagas that match a selection's filter by now and are not in it; no plan from it includes them.

        Raises:
            NotFound: no such selection.
        """
        chosen = await self.selection(selection)
        known = frozenset(chosen.sagas)
        found = await self.find(chosen.filter, limit=SELECTION_UPTO + 1, actor=actor)
        return [saga for saga in found if saga.id not in known]

    async def find(
        self, filter: str, *, limit: int = 50, before: UUID | None = None, actor: Actor | None = None
    ) -> builtins.list[SagaSummary]:
        """Sagas that a filter matches, newest first.

        Raises:
            InputError: the filter cannot be read, or no index can answer it.
        """
        terms = language.parsed(filter, await self.store.now())
        if actor is not None and actor.definitions is not None:
            terms = (*terms, Term(field="definition", values=tuple(sorted(actor.definitions))))
        return await self.store.search(terms, limit=limit, before=before)

    async def outcomes(self, plan: UUID, *, first: int | None = None) -> builtins.list[ItemOutcome]:
        """What became of each item of a plan, or of so many of its `first`, read from the log.

        Raises:
            NotFound: no such plan.
        """
        return await applying.outcomes(self.store, plan, first=first)

    async def acts(self, narrowed: ActsFilter | None = None) -> builtins.list[ActLine]:
        """What operators did and were refused, newest first, from the log."""
        return await self.store.acts(narrowed or ActsFilter())

    async def attention(self, limits: Limits | None = None) -> builtins.list[AttentionGroup]:
        """What needs a human, the gravest kind first, grouped by what looks alike."""
        return await attention(self.store, limits or Limits())

    async def waits_for(self, saga: str | UUID) -> builtins.list[Link]:
        """Why a saga waits: itself first, then each holder of the lock that the one before waits for.

        Raises:
            NotFound: no such saga.
        """
        return await waits_for(self.store, await self.resolve(saga))

    async def lock_board(self, *, limit: int = 1_000) -> LockBoard:
        """Who holds what and who waits, the most waited-for object first."""
        return await self.store.lock_board(limit=limit)

    async def may(self, verb: Verb, saga: str | UUID, actor: Actor, args: object = None) -> May:
        """Whether the actor may do this to the saga now, and what it would take. Changes nothing.

        Raises:
            NotFound: no such saga. InputError: arguments that the verb does not take.
        """
        id = await self.resolve(saga)
        given = args_of(Action(verb=verb, sagas=(id,), args=canonical(args)))
        [item] = await items_of(self, verb, given, [id])
        tier = rules.tier_of(verb, 1)
        role = rules.role_for(tier)
        refusal = item.refusal
        if not actor.may(role, item.definition):
            refusal = f"{actor.id} has not the role {role} for {item.definition}"
        return May(verb=verb, saga=id, tier=tier, refusal=refusal, asked=rules.asked_for(tier))
