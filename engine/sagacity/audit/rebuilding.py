"""`rebuild`: fold one store's log into another, empty one, and verify the result."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from uuid import UUID

from sagacity.audit.evidence import Evidence
from sagacity.audit.verifying import Audit, Known, verify
from sagacity.fold import folded
from sagacity.model.canonical import NULL, canonical
from sagacity.model.lines import Line, Started
from sagacity.model.record import Record
from sagacity.model.unit import ChainHead, LogRow, Message, ObjectState, QueueEntry
from sagacity.model.views import Verdict
from sagacity.runtime.rollbacks import erased
from sagacity.store.base import Store

_PAGE = 500


async def rebuild(store: Store, into: Store) -> Verdict:
    """Fold the log of `store` into `into`, an empty store, and verify the result.

    Raises:
        Conflict: `into` is not empty.
    """
    audit = Audit(store, Evidence())
    heads = await store.heads()
    records: list[Record] = []
    starts: list[Message] = []
    async for saga, story in audit.stories(heads):
        lines = audit.lines(story)
        if lines is not None:
            record = folded(saga, lines)
            records.append(record)
            starts.append(_start(saga, lines[0]))
            audit.known.locked(record)
        elif (row := await store.saga(saga)) is not None and erased(row.record):
            # Its lines do not tell any more; what is left of it is its row, and its key must stay taken.
            records.append(row.record)
            starts += [message for message in await store.messages(saga) if message.kind == "start"]
    await into.load(_pages(store, heads), records, _states(audit.known), heads, starts)
    verdict = await verify(into)
    return replace(verdict, findings=(*audit.findings, *verdict.findings))


async def _pages(store: Store, heads: Sequence[ChainHead]) -> AsyncIterator[Sequence[LogRow]]:
    page: list[LogRow] = []
    for head in heads:
        async for row in store.chain_rows(head.id, upto=head.position):
            page.append(row)
            if len(page) == _PAGE:
                yield page
                page = []
    if page:
        yield page


def _start(saga: UUID, line: Line) -> Message:
    assert isinstance(line, Started)
    parent = {"parent": str(line.parent), "parent_step": line.parent_step} if line.parent else None
    return Message(
        id=saga,
        kind="start",
        saga=saga,
        definition=line.definition,
        version=line.version,
        key=line.key,
        request_hash=line.request_hash,
        data=line.input,
        payload=canonical(parent),
        arrived_at=line.at,
    )


def _states(objects: Known) -> list[ObjectState]:
    """Object rows as the log tells them; queues with holders first, then by when they began to wait."""
    found: list[ObjectState] = []
    for name in sorted({*objects.states, *objects.queues, *objects.asked}):
        version, state = objects.states.get(name, (0, NULL))
        places = sorted(objects.queues.get(name, []), key=lambda p: (not p[2], p[3], p[0]))
        queue = tuple(
            QueueEntry(saga=saga, mode="exclusive" if mode == "exclusive" else "shared", ticket=n, since=at)
            for n, (saga, mode, _, at) in enumerate(places, 1)
        )
        found.append(ObjectState(object=name, version=version, state=state or NULL, queue=queue))
    return found
