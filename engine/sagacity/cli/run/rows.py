"""Many sagas as stored, read at a cost that the file decides and not the store.

Reading one by one costs a round trip each; streaming the whole store costs every saga that ever
was. Which is cheaper is known before.
"""

from collections.abc import Collection
from uuid import UUID

from sagacity.store.base import SagaRow, Store

_STREAMED_FOR_ONE_READ = 20
"""About so many sagas are streamed in the time of one round trip."""


async def rows_of(store: Store, ids: Collection[UUID]) -> dict[UUID, SagaRow]:
    """These sagas as stored; those that are still only in the inbox are left out."""
    if len(ids) < 2 or len(ids) * _STREAMED_FOR_ONE_READ < sum((await store.counts()).values()):
        read = [(saga, await store.saga(saga)) for saga in ids]
        return {saga: row for saga, row in read if row is not None}
    wanted = set(ids)
    return {row.record.id: row async for row in store.sagas_whole() if row.record.id in wanted}
