"""Where a saga stands, in words: the same in a plan, in the log, and on the page."""

from sagacity.model.record import CLOSED, Record


def stands(record: Record) -> str:
    """Where a saga stands: `stuck in shipped, paused`."""
    return place(record.status.value, record.state, paused=record.paused)


def going_back(record: Record) -> str:
    """Where it stands once it is told to go back; while it is paused that is only noted."""
    if record.paused:
        return stands(record)
    left = record.runs or any(effect.status not in CLOSED for effect in record.effects)
    return place("compensating" if left else "rolled_back", record.state)


def place(status: str, state: tuple[str, ...], *, paused: bool = False) -> str:
    """A status and a state as one short text."""
    return f"{status.replace('_', ' ')} in {' + '.join(state)}" + (", paused" if paused else "")
