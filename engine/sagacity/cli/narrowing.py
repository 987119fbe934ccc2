"""Which sagas to list, from what a person or a URL says; the same rules for both."""

from collections.abc import Sequence
from uuid import UUID

from sagacity.errors import InputError
from sagacity.model.record import Status
from sagacity.model.views import SagaSummary
from sagacity.store.base import Filter


def narrowed(
    *, status: Sequence[str], definition: str | None, key: str | None, before: str | None, limit: int
) -> Filter:
    """The filter that these words mean.

    Raises:
        InputError: a status that does not exist, or a cursor that is no id.
    """
    known = {one.value: one for one in Status}
    wrong = [word for word in status if word not in known]
    if wrong:
        raise InputError(f"status {wrong[0]!r} does not exist: choose from {', '.join(known)}")
    return Filter(
        status=tuple(known[word] for word in status),
        definition=definition,
        key=key,
        before=id_of(before, what="cursor") if before is not None else None,
        limit=limit,
    )


def id_of(text: str, *, what: str) -> UUID:
    """`text` as a UUID.

    Raises:
        InputError: it is none; `what` names it in the message.
    """
    try:
        return UUID(text)
    except ValueError:
        raise InputError(f"{what} {text!r} is not an id (a UUID)") from None


def next_cursor(found: Sequence[SagaSummary], *, limit: int) -> str | None:
    """Where the next page begins; None when this was the last."""
    return str(found[-1].id) if len(found) == limit else None
