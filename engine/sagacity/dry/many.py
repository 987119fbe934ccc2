"""Many dry runs at once, and dry runs beside real sagas: one process plays all of them, one after the other.

What cannot be played is told in its place, and the others go on.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sagacity.dry.apart import Apart, as_raised
from sagacity.dry.comparing import Compared, read_compared
from sagacity.dry.faults import Fault
from sagacity.dry.orders import Answer, Asked
from sagacity.dry.rehearsing import flow_of, order_of, place_of
from sagacity.dry.report import Report, read_report
from sagacity.dry.script import Script
from sagacity.errors import NotFound, SagacityError
from sagacity.model.canonical import loaded
from sagacity.model.record import Status
from sagacity.model.views import SagaView
from sagacity.orchestrator import Orchestrator
from sagacity.store.base import Filter

T = TypeVar("T")

OVER = (Status.COMMITTED, Status.ROLLED_BACK)
"""How a real saga ends that is played again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(Generic[T]):
    """What came of one: a report, or a comparison; or why it could not be played."""

    found: T | None = None
    error: SagacityError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where answers come from, beside mocks; see `dry_run`."""

    recorded: bool = False
    generate: bool = False
    real_reads: bool = False


async def dry_runs(
    definition: Any,
    inputs: Iterable[Any],
    *,
    app: Orchestrator | None = None,
    mocks: str | None = None,
    script: Script | None = None,
    faults: Iterable[Fault | str] = (),
    sources: Sources | None = None,
    notices: bool = False,
) -> list[Outcome[Report]]:
    """Rehearse one saga for each input, in order; see `dry_run`.

    Args:
        definition: as there, like all the others.
        inputs: JSON values, or text; their keys are what the flow declares.
        app: as there.
        mocks: a module's name.
        script: as there; of each run.
        faults: as there; in each run.
        sources: where answers come from, beside mocks.
        notices: as there.

    Raises:
        UnknownDefinition, StoreError, ConfigError: as there. InputError: a fault is none.
    """
    order = _order(definition, app, mocks=mocks, script=script, faults=faults, sources=sources)
    orders = [order.model_copy(update={"input": one}) for one in inputs]
    return [_outcome(one, read_report) async for one in _played(orders, app, notices)]


async def compared_with(
    definition: Any,
    real: Sequence[SagaView],
    *,
    app: Orchestrator,
    input: Any = None,
    mocks: str | None = None,
    script: Script | None = None,
    faults: Iterable[Fault | str] = (),
    sources: Sources | None = None,
    keep: bool = False,
    notices: bool = False,
) -> list[Outcome[Compared]]:
    """Play the stories of real sagas again, and compare each point by point.

    Args:
        definition: as for `dry_run`; the flow as it is here, which may be newer than what the real ones ran.
        real: what is to be played, in order.
        app: where they are.
        input: another one than theirs.
        mocks: a module's name.
        script: stands over what came to the real ones from outside.
        faults: as for `dry_run`; beside those of the real ones.
        sources: where answers come from that the real ones did not get.
        keep: store the runs and their reports.
        notices: as for `dry_run`.

    Raises:
        UnknownDefinition, StoreError, ConfigError: as `dry_run`. InputError: a fault is none.
    """
    order = _order(definition, app, mocks=mocks, script=script, faults=faults, sources=sources)
    orders = [
        order.model_copy(
            update={
                "input": loaded(one.input) if input is None else input,
                "against": one.id,
                "key": one.key,
                "keep": keep,
            }
        )
        for one in real
    ]
    return [_outcome(one, read_compared) async for one in _played(orders, app, notices)]


async def newest_ended(app: Orchestrator, name: str, count: int) -> list[SagaView]:
    """The newest real sagas of a flow that have ended, to be played beside.

    Raises:
        NotFound: there is none.
    """
    found = await app.list(Filter(definition=name, status=OVER, limit=count))
    if not found:
        raise NotFound(f"no saga of {name} has ended here yet: there is nothing to play beside")
    return [await app.show(saga.id) for saga in found]


def _order(definition: Any, app: Orchestrator | None, *, sources: Sources | None, **told: Any) -> Asked:
    chosen = sources or Sources()
    return order_of(flow_of(definition, app), **told).model_copy(
        update={
            "recorded": chosen.recorded,
            "generate": chosen.generate,
            "real_reads": chosen.real_reads,
            "text": False,
        }
    )


async def _played(orders: Sequence[Asked], app: Orchestrator | None, notices: bool) -> AsyncIterator[Answer]:
    async with Apart.started(place_of(app), notices=notices) as stage:
        async for answer in stage.ask_all(orders):
            yield answer


def _outcome(answer: Answer, read: Any) -> Outcome[Any]:
    if answer.error is not None:
        return Outcome(error=as_raised(answer))
    return Outcome(found=read(answer.said or ""))
