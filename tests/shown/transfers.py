"""Money between accounts: balances and the bank's ledger are exact, whatever is rolled back."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sagacity.model.record import Status
from sagacity.orchestrator import Orchestrator
from sagas.services.ledger import doubled, moved, standing
from sagas.services.sample import draw
from sagas.transfer import LIMIT
from tests.shown.world import World

OPENING = Decimal("100000.00")
_BANK = 0.05
_UNDOES = "rollback:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much of it.

    Attributes:
        accounts: even; each opens with the same balance.
        transfers: all together.
        rounds: at the end, rounds in which every account takes part once.
        fresh: of those, how many are rolled back at most, while nobody has touched the accounts since.
        late: earlier transfers that are rolled back after others have changed their accounts.
        held: transfers over the limit; half of them are approved.
    """

    accounts: int
    transfers: int
    rounds: int
    fresh: int
    late: int
    held: int


FULL = Sizes(accounts=100, transfers=10_000, rounds=3, fresh=100, late=100, held=10)
SMALL = Sizes(accounts=6, transfers=40, rounds=1, fresh=3, late=3, held=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was counted: committed transfers at first, refusals of the bank, and how the previews told."""

    committed: int
    refused: int
    exact: int
    counter: int


async def exact_to_the_cent(world: World, sizes: Sizes) -> Seen:
    """Open accounts, move money, roll some of it back, and compare balances with the bank's own ledger."""
    with world.services("--bank-refuses", str(_BANK)):
        opened = [{"account_id": _account(n), "balance": str(OPENING)} for n in range(sizes.accounts)]
        summary = world.run("sagas/transfer.py:OpenAccount", opened)
        assert summary["committed"] == sizes.accounts
        mixed = list(_mixed(sizes))
        _move(world, mixed)
        await _decide(world, sizes, mixed)
        late = await _committed(world, [line["transfer_id"] for line in mixed[: -sizes.held or None]])
        counter = await _roll_back(world, late[: sizes.late], changed=True)
        exact = 0
        for number in range(sizes.rounds):
            paired = list(_paired(sizes, number))
            _move(world, paired)
            fresh = await _committed(world, [line["transfer_id"] for line in paired])
            exact += await _roll_back(world, fresh[: sizes.fresh - exact], changed=False)
        await _exact(world, sizes)
        return await _seen(world, exact=exact, counter=counter)


def _account(number: int) -> str:
    return f"A-{number:03d}"


def _mixed(sizes: Sizes) -> Iterator[dict[str, Any]]:
    """Transfers back and forth; the last ones are over the limit."""
    count = sizes.transfers - sizes.rounds * sizes.accounts // 2
    for number in range(count):
        source = draw(sizes.accounts, "source", number)
        target = (source + 1 + draw(sizes.accounts - 1, "target", number)) % sizes.accounts
        over = number >= count - sizes.held
        cents = 100 * int(LIMIT) + 1 if over else 1 + draw(50_000, "amount", number)
        yield _transfer(f"T-{number:05d}", source, target, cents)


def _paired(sizes: Sizes, number: int) -> Iterator[dict[str, Any]]:
    """One round: every account takes part exactly once."""
    for source in range(0, sizes.accounts, 2):
        yield _transfer(f"R-{number}-{source:03d}", source, source + 1, 100 + source)


def _transfer(name: str, source: int, target: int, cents: int) -> dict[str, Any]:
    amount = f"{cents // 100}.{cents % 100:02d}"
    return {"transfer_id": name, "source": _account(source), "target": _account(target), "amount": amount}


def _move(world: World, lines: list[dict[str, Any]]) -> None:
    summary = world.run("sagas/transfer.py:Transfer", lines)
    assert (summary["started"], summary["rejected"], summary["stuck"]) == (len(lines), 0, 0)


async def _decide(world: World, sizes: Sizes, mixed: list[dict[str, Any]]) -> None:
    """Approve every other transfer over the limit, refuse the rest, and let them go on."""
    held = [line["transfer_id"] for line in mixed[len(mixed) - sizes.held :]]
    sagas = await world.sagas("Transfer")
    waiting = {key for key, saga in sagas.items() if saga.status is Status.WAITING}
    assert waiting == set(held)
    async with world.looking() as app:
        for place, key in enumerate(held):
            await app.signal(sagas[key].id, "limit", {"approved": place % 2 == 0}, actor="the auditor")
    with world.worker("-m", "sagas/transfer.py"):
        await world.until(lambda app: _all_final(app, [sagas[key].id for key in held]), within=world.limit)
    ends = await world.sagas("Transfer")
    assert all(ends[key].status is Status.ROLLED_BACK for key in held[1::2])


async def _committed(world: World, keys: list[str]) -> list[str]:
    sagas = await world.sagas("Transfer")
    return [key for key in keys if sagas[key].status is Status.COMMITTED]


async def _roll_back(world: World, keys: list[str], *, changed: bool) -> int:
    """Preview and roll back these committed transfers; how many there were."""
    sagas = await world.sagas("Transfer")
    async with world.looking() as app:
        begun = []
        for key in keys:
            preview = await app.preview(sagas[key].id)
            objects = [item for item in preview.items if item.what.startswith("account:")]
            assert preview.possible
            assert len(objects) == 2
            assert {item.how for item in objects} <= {"exact", "counter-action"}
            assert all(item.changed_since for item in objects) is changed, (key, objects)
            begun.append((await app.rollback(sagas[key].id, reason="shown", actor="the auditor")).id)
    with world.worker("-m", "sagas/transfer.py"):
        await world.until(lambda app: _all_final(app, begun), within=world.limit)
    async with world.looking() as app:
        ends = await app.statuses(begun)
    # A rollback is a saga of its own: it has committed once the original is undone as a whole.
    assert {saga.status for saga in ends.values()} <= {Status.COMMITTED}, ends
    return len(keys)


async def _all_final(app: Orchestrator, ids: list[Any]) -> bool:
    await asyncio.sleep(0.1)
    found = await app.statuses(ids)
    return len(found) == len(ids) and all(saga.status.final for saga in found.values())


async def _exact(world: World, sizes: Sizes) -> None:
    """Every balance is what the bank moved, to the cent; nothing came into being or was lost."""
    entries = world.entries()
    bank = moved(entries)
    balances: dict[str, Decimal] = {}
    async with world.looking() as app:
        for number in range(sizes.accounts):
            view = await app.object(f"account:{_account(number)}")
            assert not view.in_transaction
            balances[_account(number)] = Decimal(json.loads(view.state)["balance"])
    assert sum(balances.values()) == sizes.accounts * OPENING
    assert {name: balance - OPENING for name, balance in balances.items()} == {
        name: bank.get(name, Decimal(0)) for name in balances
    }
    assert doubled(entries) == []
    assert "nothing wrong" in world.sagacity("verify")


async def _seen(world: World, *, exact: int, counter: int) -> Seen:
    found = await world.sagas("Transfer")
    undone = {key.removeprefix(_UNDOES) for key in found if key.startswith(_UNDOES)}
    sagas = {key: saga for key, saga in found.items() if not key.startswith(_UNDOES)}
    stands = standing(world.entries())
    for key, saga in sagas.items():
        assert (key in stands) is (saga.status is Status.COMMITTED and key not in undone), key
    refused = [saga for saga in sagas.values() if "bank refuses" in (saga.reason or "")]
    committed = sum(saga.status is Status.COMMITTED for saga in sagas.values())
    return Seen(committed=committed, refused=len(refused), exact=exact, counter=counter)
