"""The whole verdict over sagas of the flow `Chain`: store, log, objects and ledger tell one story."""

from typing import Any, Protocol

from sagacity.model.record import Status
from tests.chaos.harness.oracle import (
    all_sagas,
    judge_ends,
    judge_ledger,
    judge_locks,
    judge_log,
    judge_seats,
)
from tests.chaos.harness.report import Report
from tests.chaos.harness.world import World


class Source(Protocol):
    """Whoever sent the starts."""

    @property
    def acked(self) -> list[str]:
        """Keys whose start was acknowledged."""

    @property
    def wanted(self) -> dict[str, Status]:
        """How each key must end, of all that were ever sent."""

    def input(self, key: str) -> dict[str, Any]:
        """What a key was sent with."""


async def judge_chains(made: World, source: Source, report: Report) -> None:
    """All that may be asked of `Chain` sagas once they have ended."""
    report.figure("starts acknowledged", len(source.acked))
    ends = await all_sagas(made.app, "Chain")
    judge_ends(ends, source.wanted, source.acked, report)
    judge_ledger(made.ledger, ends, report)
    await judge_locks(made.app, report)
    await judge_log(made.app, report, ledger=made.ledger)
    seats: dict[str, set[str]] = {}
    for key, saga in ends.items():
        if saga.status is Status.COMMITTED:
            seats.setdefault(source.input(key)["seat"], set()).add(key)
    await judge_seats(made.app, seats, report)
