"""Where a saga stands in the queues of its objects, and what these objects are, as last seen.

What was seen may be old by the time it is used; only the store's own conditions decide. So nothing here
is trusted for more than to know when to look again, and what to refuse before anything is done under a lock.
"""

from collections.abc import Mapping

from sagacity.invariants.broken import Violated
from sagacity.invariants.locks import i21_holds
from sagacity.model.record import Record
from sagacity.model.unit import ObjectState, Unit, holders
from sagacity.store.base import Store


class Footing:
    """What one drive knows of its saga's objects.

    Attributes:
        states: objects as last seen.
        holding: the saga stands first in all queues it is in.
    """

    __slots__ = ("_store", "holding", "states")

    def __init__(self, store: Store) -> None:
        self._store = store
        self.states: dict[str, ObjectState] = {}
        self.holding = False

    async def load(self, objects: tuple[str, ...], *, fresh: bool = False) -> None:
        """See to it that these are known; `fresh`: as they are now."""
        missing = [name for name in objects if fresh or name not in self.states]
        if missing:
            self.states.update(await self._store.objects(missing))

    async def look(self, record: Record) -> None:
        """See all objects that the saga has asked for as they are now."""
        found = await self._store.objects([lock.object for lock in record.locks])
        self.states.update(found)
        self.holding = first_in_all(record, found)

    def seen(self, record: Record, unit: Unit, objects: Mapping[str, ObjectState]) -> None:
        """What the write of `unit` told of objects."""
        locked = {lock.object for lock in unit.admit}
        self.states.update({name: state for name, state in objects.items() if name in locked})
        if unit.admit and not unit.optimistic:
            self.holding = first_in_all(record, objects)

    def assert_held(self, record: Record, objects: Mapping[str, ObjectState] | None = None) -> None:
        """I21: what the saga says that it holds, it holds alone, as far as these objects (or the known) tell.

        Raises:
            Violated: it does not; it stops here, before it does anything under that lock.
        """
        why = i21_holds(record, self.states if objects is None else objects)
        if why is not None:
            raise Violated("I21", why)

    def fences(self, record: Record) -> dict[str, int]:
        """Object → the fencing number of the saga's place in its queue, as last seen."""
        return {
            name: entry.ticket
            for name, state in self.states.items()
            for entry in state.queue
            if entry.saga == record.id
        }


def first_in_all(record: Record, states: Mapping[str, ObjectState]) -> bool:
    """Whether the saga stands first in every queue of what it was not granted yet."""
    return all(
        lock.object in states and record.id in holders(states[lock.object].queue)
        for lock in record.locks
        if not lock.granted
    )
