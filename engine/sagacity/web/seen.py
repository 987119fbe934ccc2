"""What one caller may see: the orchestrator's looking calls, within their definitions and without secrets.

Whatever shows something takes it from here. What is outside the caller's definitions does not exist for them:
it gives the same answer as what there is not.
"""

import builtins
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from heapq import merge
from itertools import islice
from typing import Any, TypeVar
from uuid import UUID

import orjson
from fastapi import Request

from sagacity.definition.flow import Flow
from sagacity.dry.comparing import Compared
from sagacity.dry.report import Report
from sagacity.errors import Forbidden, NotFound
from sagacity.model.canonical import NULL, Json
from sagacity.model.operating import ActLine, Actor, AttentionGroup, ItemOutcome, Link, Plan, PlanItem, Role
from sagacity.model.record import Status
from sagacity.model.views import (
    Count,
    HistoryLine,
    LockView,
    ObjectVersion,
    ObjectView,
    Outcome,
    RollbackPreview,
    SagaSummary,
    SagaView,
)
from sagacity.orchestrator import Orchestrator
from sagacity.store.base import Filter, SagaRow
from sagacity.store.office import PlanPage
from sagacity.telemetry import tell
from sagacity.web import given, secrets
from sagacity.web.guard.caller import current_actor
from sagacity.web.secrets import HIDDEN, NOTHING, Mask

_V = TypeVar("_V")
_LIST = 500
_PLACES = {"started": "input", "completed": "result", "signalled": "data", "act": "args", "undone": "result"}
"""Where in a line of the log stands what people and programs gave."""
UNSEEN = UUID(int=0)
"""Stands for a saga that holds or waits for what the caller's do, and that does not exist for them."""
_UNNAMED = "a saga you may not see"
_HELD, _NEXT = "; held by ", " has it next"
_FREED = re.compile(r"^(.* is freed[^;]*);.*$", re.DOTALL)
_WRITERS = 20
"""Sagas whose secrets are looked for in the state of an object: those that changed it last."""


def seen(request: Request, sagas: Orchestrator) -> "Seen":
    """What the caller of `request` may see."""
    return Seen(sagas, current_actor(request))


def revealed(request: Request, sagas: Orchestrator, secrets: str | None) -> "Seen":
    """The same, with secrets where the caller asks for them by `?secrets=show`; that is told in the log.

    Raises:
        Forbidden: they are no admin.
    """
    if secrets is None:
        return seen(request, sagas)
    actor = current_actor(request)
    if not actor.may(Role.ADMIN):
        raise Forbidden(f"{actor.id} may not see secrets: that takes the role admin")
    tell("secrets.shown", actor=actor.id, path=request.url.path)
    return Seen(sagas, actor, reveal=True)


_Versions = tuple[list[ObjectVersion], int | None]


class Seen:
    """See the module. Each call is the orchestrator's of the same name.

    Args:
        sagas: whose sagas.
        actor: who looks.
        reveal: show secrets; the caller of this has asked the role for it and told that it was done.
    """

    def __init__(self, sagas: Orchestrator, actor: Actor, *, reveal: bool = False) -> None:
        self._sagas, self._actor, self._reveal = sagas, actor, reveal
        self._masks: dict[UUID, Mask] = {}

    # --- what there is for them -------------------------------------------------------------------

    def holds(self, definition: str | None) -> bool:
        """Whether sagas of this definition exist for the caller."""
        mine = self._actor.definitions
        return mine is None or definition in mine

    async def resolve(self, ref: str | UUID, *, definition: str | None = None) -> UUID:
        """The saga that an id or a business key names. Raises NotFound, Conflict."""
        if self._actor.definitions is None:
            return await self._sagas.resolve(ref, definition=definition)
        missing = NotFound(f"no saga {ref!r}: give its id or its business key")
        if definition is not None and not self.holds(definition):
            raise missing
        found: list[UUID] = []
        try:
            found = [await self._sagas.resolve(ref, definition=definition)]
        except NotFound:
            raise
        except Exception:
            # The key belongs to several: only those that exist for the caller count.
            mine = sorted(self._actor.definitions)
            ids = [await self._sagas.store.find(one, str(ref)) for one in mine]
            found = [one for one in ids if one is not None]
            if len(found) > 1:
                raise
        known = await self._sagas.statuses(found)
        if not found or found[0] not in known or not self.holds(known[found[0]].definition):
            raise missing
        return found[0]

    async def visible(self, ids: Sequence[UUID]) -> frozenset[UUID]:
        """Those of `ids` that exist for the caller."""
        if self._actor.definitions is None:
            return frozenset(ids)
        known = await self._sagas.statuses(list(dict.fromkeys(ids)))
        return frozenset(id for id, one in known.items() if self.holds(one.definition))

    # --- sagas --------------------------------------------------------------------------------------

    async def list(self, filter: Filter) -> builtins.list[SagaSummary]:
        """Sagas, newest first."""
        mine = self._actor.definitions
        if mine is None or filter.definition is not None:
            found = await self._sagas.list(filter) if self.holds(filter.definition) or mine is None else []
        else:
            each = [await self._sagas.list(replace(filter, definition=one)) for one in sorted(mine)]
            found = builtins.list(islice(merge(*each, key=lambda one: one.id, reverse=True), filter.limit))
        return await self.summaries(found)

    async def summaries(self, found: Sequence[SagaSummary]) -> builtins.list[SagaSummary]:
        """Lines of a list: a reason may repeat what is secret."""
        return [(await self._mask(one.id, one.definition)).view(one) if one.reason else one for one in found]

    async def tally(self, definition: str | None = None) -> dict[Status, Count]:
        """How many sagas per status, to a limit."""
        mine = self._actor.definitions
        if mine is None or definition is not None:
            return await self._sagas.tally(definition) if mine is None or self.holds(definition) else {}
        total: dict[Status, Count] = {}
        for one in sorted(mine):
            for status, count in (await self._sagas.tally(one)).items():
                total[status] = total.get(status, Count(number=0, exact=True)) + count
        return total

    async def show(self, saga: UUID) -> SagaView:
        """One saga, whole."""
        view = await self._sagas.show(saga)
        flow = self._flow(view.definition)
        if not self._hides(flow):
            return view
        results = {name: self._covered(flow, name, one) for name, one in view.results.items()}
        shown = replace(view, input=self._covered(flow, None, view.input), results=results)
        return (await self._mask(saga, view.definition)).view(shown)

    async def outcome(self, saga: UUID, *, timeout: timedelta | None = None) -> Outcome:
        """How it ended, or where it stands after `timeout`."""
        found = await self._sagas.outcome(saga, timeout=timeout)
        flow = self._flow(await self._definition(saga))
        if not self._hides(flow):
            return found
        results = {name: self._covered(flow, name, one) for name, one in found.results.items()}
        return (await self._mask(saga)).view(replace(found, results=results))

    async def existing(self, saga: str | UUID) -> UUID:
        """The saga, if it exists for the caller. Raises NotFound."""
        id = await self.resolve(saga)
        if self._actor.definitions is not None and not await self.visible([id]):
            raise NotFound(f"no saga {saga!r}: give its id or its business key")
        return id

    async def row(self, row: SagaRow) -> SagaRow:
        """A saga as stored."""
        record = row.record
        flow = self._flow(record.definition)
        if not self._hides(flow):
            return row
        results = {name: self._covered(flow, name, one) for name, one in record.results.items()}
        shown = replace(record, input=self._covered(flow, None, record.input), results=results)
        return replace(row, record=(await self._mask(record.id, record.definition)).view(shown))

    async def history(
        self, saga: UUID, *, after: int = -1, limit: int | None = None
    ) -> builtins.list[HistoryLine]:
        """Its story, or a page of it."""
        return await self.lines(saga, await self._sagas.history(saga, after=after, limit=limit))

    async def lines(self, saga: UUID, lines: builtins.list[HistoryLine]) -> builtins.list[HistoryLine]:
        """Lines of its story."""
        if self._reveal:
            return lines
        lines = [self._applied(line) if line.kind == "applied" else line for line in lines]
        flow = self._flow(await self._definition(saga))
        if not self._hides(flow):
            return lines
        mask = await self._mask(saga)
        return [mask.view(replace(line, data=self._line(flow, line))) for line in lines]

    async def preview(self, saga: UUID) -> RollbackPreview:
        """What rolling it back would do."""
        found = await self._sagas.preview(saga)
        return (await self._mask(saga)).view(found)

    # --- what operators see -------------------------------------------------------------------------

    async def plan(self, plan: Plan) -> Plan:
        """A plan without the secrets of the sagas that it names, and of what it is given for them."""
        if self._reveal or not self._any_secret():
            return replace(plan, items=tuple(map(self._next_one, plan.items)))
        flows = self._flows(item.definition for item in plan.items)
        args = orjson.loads(plan.args)
        told = tuple(given.values(flows, plan.verb, args))
        masks = await self._masks_of((item.saga, item.definition) for item in plan.items)
        items = tuple(self._next_one(masks[item.saga].view(item)) for item in plan.items)
        bare = replace(plan, args=secrets.written(given.shown(flows, plan.verb, args)), items=())
        few = [text for item in plan.items[:_WRITERS] for text in masks[item.saga].texts]
        return replace(Mask((*few, *told)).view(bare), items=tuple(map(Mask(told).view, items)))

    async def plans(self, page: PlanPage) -> PlanPage:
        """A page of plans: those that name nothing which does not exist for the caller."""
        mine = [one for one in page.plans if all(self.holds(item.definition) for item in one.items)]
        return replace(page, plans=tuple([await self.plan(one) for one in mine]))

    def _next_one(self, item: PlanItem) -> PlanItem:
        """Who has a freed lock next may be a saga that does not exist for the caller."""
        if self._actor.definitions is None or not any(_NEXT in text for text in item.locks):
            return item
        told = (_FREED.sub(rf"\1; somebody{_NEXT}", text) if _NEXT in text else text for text in item.locks)
        return replace(item, locks=tuple(told))

    async def outcomes(self, plan: Plan, found: Sequence[ItemOutcome]) -> builtins.list[ItemOutcome]:
        """What became of the items of `plan`, which is as stored."""
        if self._reveal or not self._any_secret():
            return builtins.list(found)
        known = {item.saga: item.definition for item in plan.items}
        told = Mask(given.values(self._flows(known.values()), plan.verb, orjson.loads(plan.args)))
        masks = await self._masks_of((one.saga, known.get(one.saga)) for one in found if one.detail)
        return [told.view(masks[one.saga].view(one)) if one.detail else one for one in found]

    async def _about(self, view: _V, sagas: Sequence[UUID]) -> _V:
        """Something about these sagas, without their secrets."""
        if self._reveal or not self._any_secret():
            return view
        values: list[Any] = []
        for saga in sagas[:_WRITERS]:
            values += await self._values(saga, None)
        return Mask(values).view(view)

    async def attention(self, groups: Sequence[AttentionGroup]) -> builtins.list[AttentionGroup]:
        """What needs a human, of what exists for the caller."""
        found = []
        for group in groups:
            items = [one for one in group.items if self.holds(one.definition)]
            if items or self._actor.definitions is None:
                about = [one.saga for one in items if one.saga is not None]
                count = group.count if self._actor.definitions is None else len(items)
                whole = self.holds(group.definition)
                mine = replace(
                    self._held(group),
                    items=tuple(items),
                    count=group.count if whole else count,
                    exact=group.exact and whole,
                )
                found.append(await self._about(mine, about))
        return found

    async def acts(self, lines: Sequence[ActLine]) -> builtins.list[ActLine]:
        """Lines of the audit about sagas that exist for the caller."""
        known = await self._sagas.statuses(list({one.saga for one in lines}))
        told = {id: one.definition for id, one in known.items() if self.holds(one.definition)}
        mine = [one for one in lines if one.saga in told or self._actor.definitions is None]
        masks = await self._masks_of((one.saga, told.get(one.saga)) for one in mine)
        return [masks[one.saga].view(self._act(one, told.get(one.saga))) for one in mine]

    # --- objects and locks ----------------------------------------------------------------------------

    async def locks(self, *, object: str | None = None, saga: UUID | None = None) -> builtins.list[LockView]:
        """Who holds and who queues."""
        return self.veiled(await self._sagas.locks(object=object, saga=saga))

    def veiled(self, places: Sequence[LockView]) -> builtins.list[LockView]:
        """Places in queues in which the caller has a saga; who else stands there is not said."""
        mine = {one.object for one in places if self.holds(one.definition)}
        return [self._veiled(one) for one in places if one.object in mine]

    def _veiled(self, place: LockView) -> LockView:
        if self.holds(place.definition):
            return place
        return replace(place, saga=UNSEEN, definition=None, key=None)

    async def chain(self, links: Sequence[Link]) -> builtins.list[Link]:
        """Why a saga waits. What does not exist for the caller is one link without a name."""
        masks = await self._masks_of((one.saga, one.definition) for one in links)
        found: builtins.list[Link] = []
        hidden = False
        for one in links:
            behind = None if hidden else one.object
            if self.holds(one.definition):
                found.append(replace(masks[one.saga].view(one), object=behind))
            elif not hidden:
                found.append(Link(saga=UNSEEN, definition="", key="", object=behind, text=""))
            hidden = not self.holds(one.definition)
        return found

    def _held(self, group: AttentionGroup) -> AttentionGroup:
        """A queue that many stand in, without the chain of who holds it: any of them may be foreign."""
        if group.kind != "lock" or self._actor.definitions is None:
            return group
        mine = self.holds(group.definition)
        by = f"a saga of {group.definition}" if mine else _UNNAMED
        what = f"{group.what.partition(_HELD)[0]}{_HELD}{by}"
        return replace(group, what=what, definition=group.definition if mine else "")

    async def object(self, object: str, *, at: int | None = None) -> ObjectView:
        """A participant's last committed value, or that of version `at`; for who sees a saga that had it."""
        versions = await self._touched(object)
        view = await self._sagas.object(object, at=at)
        mask = await self._writers(versions)
        locks = tuple(map(self._veiled, view.locks))
        return replace(view, state=self._state(object, view.state, mask) or NULL, locks=locks)

    async def object_history(self, object: str, *, after: int = 0, limit: int) -> _Versions:
        """A page of a participant's versions, oldest first, those of the caller's sagas; and its end."""
        before = min(after, _WRITERS)  # what the sagas right before have put into it is masked too
        found = await self._sagas.object_history(object, after=after - before, limit=before + limit + 1)
        mask = await self._writers(found, upto=len(found))
        page = [one for one in found if one.version > after][:limit]
        mine = await self.visible([one.saga for one in page])
        shown = [self._version(one, object, mask) for one in page if one.saga in mine]
        return shown, page[-1].version if len(found) > before + limit else None

    def _version(self, one: ObjectVersion, object: str, mask: Mask) -> ObjectVersion:
        operations = one.operations and mask.json(one.operations)
        return replace(one, state=self._state(object, one.state, mask), operations=operations)

    async def _touched(self, object: str) -> builtins.list[ObjectVersion]:
        """Its versions, where they matter. Raises NotFound: no saga that the caller sees ever had it."""
        narrowed = self._actor.definitions is not None
        if not narrowed and not self._any_secret():
            return []
        versions = await self._sagas.object_history(object)
        if narrowed and not await self.visible([one.saga for one in versions]):
            held = await self._sagas.locks(object=object)
            if not any(self.holds(one.definition) for one in held):
                raise NotFound(f"no object {object!r} in this store")
        return versions

    async def _writers(self, versions: Sequence[ObjectVersion], *, upto: int = _WRITERS) -> Mask:
        if self._reveal or not self._any_secret():
            return NOTHING
        values: list[Any] = []
        for saga in {one.saga for one in versions[-upto:]}:
            values += await self._values(saga, None)
        return Mask(values)

    def _state(self, object: str, state: Json | None, mask: Mask) -> Json | None:
        if state is None or self._reveal:
            return state
        kind = self._sagas.project.participants.get(object.partition(":")[0])
        shape = getattr(kind, "State", None)
        if shape is not None and secrets.holds_secrets(shape):
            state = secrets.written(secrets.covered(shape, orjson.loads(state)))
        return mask.json(state)

    async def report(self, report: Report) -> Report:
        """The report of a dry run. Raises NotFound: of a definition that does not exist for the caller."""
        if not self.holds(report.definition):
            raise NotFound(f"there is no dry run {report.run} in this store")
        flow = self._flow(report.definition)
        if not self._hides(flow):
            return report
        row = await self._sagas.store.beside("dry").saga(report.run)
        results = row.record.results if row is not None else {}
        values = secrets.secrets_of(flow, report.input, results) if flow is not None else []
        return Mask(values).view(replace(report, input=self._covered(flow, None, report.input)))

    async def compared(self, found: Compared) -> Compared:
        """A dry run beside a real one. Where there are secrets, values are not shown: either may hold one."""
        states = [getattr(kind, "State", None) for kind in self._sagas.project.participants.values()]
        hidden = any(state is not None and secrets.holds_secrets(state) for state in states)
        if self._reveal or not (hidden or self._hides(self._flow(await self._definition(found.real)))):
            return found
        shown = [
            replace(one, real=HIDDEN, dry=HIDDEN) if one.what == "changes" else one
            for one in found.differences
        ]
        return (await self._mask(found.real)).view(replace(found, differences=tuple(shown)))

    # --- secrets --------------------------------------------------------------------------------------

    def _any_secret(self) -> bool:
        return any(secrets.any_secret(flow) for flow in self._sagas.project.flows.values())

    def _flow(self, definition: str | None) -> Flow | None:
        return self._sagas.project.flows.get(definition or "")

    def _hides(self, flow: Flow | None) -> bool:
        """Whether there may be something to hide; of a flow that is not known here nobody can say."""
        return not self._reveal and (flow is None or secrets.any_secret(flow))

    async def _definition(self, saga: UUID) -> str | None:
        known = await self._sagas.statuses([saga])
        return known[saga].definition if saga in known else None

    def _covered(self, flow: Flow | None, name: str | None, text: Json) -> Json:
        """The input (`name` None) or what a step or wait left; of an unknown flow nothing is shown of it."""
        if flow is None:
            return text if text == NULL else secrets.written(HIDDEN)
        hint = flow.input if name is None else secrets.hint_of(flow, name)
        if hint is None or not secrets.holds_secrets(hint):
            return text
        return secrets.written(secrets.covered(hint, orjson.loads(text)))

    def _line(self, flow: Flow | None, line: HistoryLine) -> Json | None:
        """A line's data, with what users stored in it covered."""
        place = _PLACES.get(line.kind)
        if line.data is None or place is None:
            return line.data
        data = orjson.loads(line.data)
        if data.get(place) is None:
            return line.data
        if line.kind == "act":
            data[place] = given.shown([flow], str(data.get("verb")), data[place])
        elif line.kind == "undone":
            data[place] = given.undone(flow, str(data.get("step")), data[place])
        else:
            name = None if place == "input" else str(data.get("step") or data.get("wait"))
            data[place] = orjson.loads(self._covered(flow, name, secrets.written(data[place])))
        return secrets.written(data)

    def _applied(self, line: HistoryLine) -> HistoryLine:
        """What a participant was and became: what was there before may be another saga's secret."""
        if line.data is None or line.object is None:
            return line
        data = orjson.loads(line.data)
        for name in ("before", "after"):
            state = self._state(line.object, secrets.written(data.get(name)), NOTHING)
            data[name] = orjson.loads(state or NULL)
        return replace(line, data=secrets.written(data))

    def _act(self, line: ActLine, definition: str | None) -> ActLine:
        """A line of the audit, with what somebody gave covered."""
        flow = self._flow(definition)
        if line.kind != "act" or line.data is None or not self._hides(flow):
            return line
        data = orjson.loads(line.data)
        args = given.shown([flow], str(data.get("verb")), data.get("args"))
        return replace(line, data=secrets.written(data | {"args": args}))

    def _flows(self, definitions: Iterable[str | None]) -> builtins.list[Flow | None]:
        return [self._flow(one) for one in sorted({one or "" for one in definitions})]

    async def _masks_of(self, sagas: Iterable[tuple[UUID, str | None]]) -> dict[UUID, Mask]:
        """What is secret of each of them, read in lists."""
        wanted = dict(sagas)
        flows = {id: self._flow(definition) for id, definition in wanted.items()}
        asked = [id for id, flow in flows.items() if flow is not None and secrets.any_secret(flow)]
        masks = dict.fromkeys(wanted, NOTHING)
        for first in range(0, 0 if self._reveal else len(asked), _LIST):
            part = asked[first : first + _LIST]
            rows = await self._sagas.store.sagas_by_id(part)
            for id in part:
                flow, row = flows[id], rows.get(id)
                if row is not None and flow is not None:
                    masks[id] = Mask(secrets.secrets_of(flow, row.record.input, row.record.results))
                elif len(asked) <= _WRITERS:  # of many that have not begun nothing is said but that
                    masks[id] = await self._mask(id, wanted[id])
        return masks

    async def _mask(self, saga: UUID, definition: str | None = None) -> Mask:
        """What is secret of a saga, wherever it turns up."""
        if self._reveal or not self._any_secret():
            return NOTHING
        if saga not in self._masks:
            self._masks[saga] = Mask(await self._values(saga, definition))
        return self._masks[saga]

    async def _values(self, saga: UUID, definition: str | None) -> builtins.list[Any]:
        flow = self._flow(definition or await self._definition(saga))
        if flow is None or not secrets.any_secret(flow):
            return []
        row = await self._sagas.store.saga(saga)
        if row is not None:
            return secrets.secrets_of(flow, row.record.input, row.record.results)
        starts = [one for one in await self._sagas.store.messages(saga) if one.kind == "start"]
        return secrets.secrets_of(flow, starts[0].data, {}) if starts else []
