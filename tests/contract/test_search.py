"""A search finds exactly what its terms hold for, newest first, on every database."""

from datetime import timedelta
from typing import Any

import pytest

from sagacity.model.record import Phase, Record, Run, Status, WaitsFor
from sagacity.operating.language import parsed
from sagacity.store.base import Store
from tests.contract.builders import NOON, Bench, asleep, following, record

HOUR = timedelta(hours=1)


async def laid(desk: Bench) -> dict[str, Record]:
    """One saga of each sort, by its key."""
    due = await desk.begin(record(key="due", definition="Order", state=("paid", "sent")))
    await desk.send(asleep(due, until=NOON + HOUR))
    run = Run(step="lend", phase=Phase.RETRY, since=NOON, error='bank said "503 é"')
    stuck = await desk.begin(record(key="stuck", definition="Order", runs=(run,)))
    change: dict[str, Any] = {"status": Status.STUCK, "reason": "lend gave up: Bank closed"}
    await desk.send(following(stuck, change=change, release=True))
    queued = await desk.begin(record(key="queued", definition="Fill", created_at=NOON - HOUR * 3))
    change = {"status": Status.WAITING, "waits_for": WaitsFor.LOCK, "paused": True}
    await desk.send(following(queued, change=change, release=True))
    owned = await desk.begin(record(key="owned", definition="Fill", state=("paid_twice",)))
    return {saga.key: saga for saga in (due, stuck, queued, owned)}


@pytest.mark.parametrize(
    ("query", "keys"),
    [
        ("", "owned queued stuck due"),
        ("type:Order", "stuck due"),
        ("type:Order -status:stuck", "due"),
        ("type:Order,Fill -type:Fill", "stuck due"),
        ("status:stuck,waiting", "queued stuck due"),
        ("status:running", "owned"),
        ("type:Order,Fill state:paid", "due"),
        ("type:Order,Fill -state:paid,placed", "owned"),
        ("waits:lock", "queued"),
        ("waits:lock,signal", "queued due"),
        ("type:Fill -waits:lock", "owned"),
        ("paused:yes", "queued"),
        ("paused:no", "owned stuck due"),
        ("type:Order,Fill age:>2h", "queued"),
        ("type:Order,Fill age:<=2h", "owned stuck due"),
        ("due:<2h", "due"),
        ("due:<30m", ""),
        ("due:past", ""),
        ('type:Order error:"BANK closed"', "stuck"),
        ('type:Order error:"503"', "stuck"),
        (r'type:Order error:"said \"503 é"', "stuck"),
        ('type:Order error:"lend"', "stuck"),
        ('type:Order error:"retry"', ""),
        ('type:Order -error:"503"', "due"),
        ("type:Order error:50%,b_nk", ""),
    ],
)
async def test_a_query_finds_what_it_says(store: Store, desk: Bench, query: str, keys: str) -> None:
    await laid(desk)
    found = await store.search(parsed(query, NOON), limit=50)
    assert " ".join(saga.key for saga in found) == keys
    paged: list[Any] = []
    while page := await store.search(parsed(query, NOON), limit=1, before=paged[-1].id if paged else None):
        paged += page
    assert paged == found
    assert await store.beside("dry").search(parsed(query, NOON), limit=50) == []


async def test_sagas_are_read_by_many_ids_at_once(store: Store, desk: Bench) -> None:
    sagas = await laid(desk)
    found = await store.sagas_by_id([saga.id for saga in sagas.values()])
    assert {row.record.key for row in found.values()} == set(sagas)
    assert await store.sagas_by_id([]) == {}
