"""What a dry run would have told, stamped DRY and told to the dry outlet: never to a live one.

The dry process has no socket but the store's, so it tells nobody. It stores its notices with the run, in the
outbox of lane `dry`; who asked for the run, or a worker, sends them from there, at least once.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from sagacity.clock import SystemClock
from sagacity.decide.attention import fingerprint
from sagacity.ids import new_id
from sagacity.model.canonical import canonical, loaded
from sagacity.model.unit import Notice
from sagacity.runtime.ending import in_time
from sagacity.runtime.outlets import Outlets
from sagacity.runtime.webhook import STAMP
from sagacity.store.base import Store


def stamped(notices: Sequence[Notice], *, saga: UUID, run: UUID) -> tuple[Notice, ...]:
    """What one saga of a run would have told, as it is stored.

    The kind says `dry.`, and the data lane, stamp and the run's id.

    Args:
        notices: of all sagas of the run, as the engine made them.
        saga: whose are wanted.
        run: under which the report is found.
    """
    return tuple(_stamped(notice, run) for notice in notices if notice.saga == saga)


def _stamped(notice: Notice, run: UUID) -> Notice:
    said: dict[str, Any] = loaded(notice.data)
    state = said.get("state", "")
    alike = fingerprint(notice.kind, said["definition"], state, said["reason"])
    more = {"lane": "dry", "stamp": STAMP, "run": str(run), "state": state}
    data = canonical({"fingerprint": alike, **said, **more})
    return replace(notice, kind=f"dry.{notice.kind}", data=data)


async def tell_outlets(store: Store, outlets: Outlets) -> int:
    """Send what lies in the outbox of lane `dry`, as far as it goes in ten seconds; the rest is sent later.

    Args:
        store: opened, of any lane.
        outlets: the dry ones.

    Returns:
        How many notices are still to be sent: by the next call, or by a worker.
    """
    dry = store.beside("dry")
    relay = outlets.relay(dry, living=store, worker=new_id(), clock=SystemClock())
    if relay is not None:
        await in_time(relay.rest(), name="dry relay")
    return (await dry.gauges()).unsent
