"""What a run says at the end, for people and for scripts: one `label number` a line."""

from dataclasses import dataclass

from sagacity.cli.failures import Exit
from sagacity.cli.run.rows import rows_of
from sagacity.cli.run.settle import Watch
from sagacity.model.record import FINAL, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The sagas of the file, old and new, as they stood at the end.

    Attributes:
        started: those that this run started.
        waiting: those that have not ended and are not stuck.
        rejected: lines that were not taken.
        log_lines: lines in the log of these sagas.
        locks_held: locks that they hold.
        sagas_per_second: `started` over the time from the first start to the end of the run.
    """

    started: int
    committed: int
    rolled_back: int
    abandoned: int
    waiting: int
    stuck: int
    rejected: int
    log_lines: int
    locks_held: int
    sagas_per_second: float

    def text(self) -> str:
        """One `label number` a line, no separators inside numbers."""
        whole = {name: getattr(self, name) for name in self.__slots__}
        return "\n".join(
            f"{name} {value:.1f}" if isinstance(value, float) else f"{name} {value}"
            for name, value in whole.items()
        )

    @property
    def exit_code(self) -> Exit:
        """1 when something is stuck, else 7 when lines were rejected, else 0."""
        if self.stuck:
            return Exit.FOUND
        return Exit.REJECTED if self.rejected else Exit.DONE


async def summed_up(watch: Watch, *, rejected: int, seconds: float) -> Summary:
    """The summary of a run that is over; `seconds` is what it took."""
    counts = watch.counts()
    lines, locks = await _weighed(watch)
    started = sum(watch.ids.values())
    over = {status.value for status in FINAL} | {Status.STUCK.value}
    return Summary(
        started=started,
        committed=counts[Status.COMMITTED],
        rolled_back=counts[Status.ROLLED_BACK],
        abandoned=counts[Status.ABANDONED],
        waiting=sum(count for status, count in counts.items() if status not in over),
        stuck=counts[Status.STUCK],
        rejected=rejected,
        log_lines=lines,
        locks_held=locks,
        sagas_per_second=started / seconds if started and seconds > 0 else 0.0,
    )


async def _weighed(watch: Watch) -> tuple[int, int]:
    """Log lines and held locks of the run's sagas."""
    lines = locks = 0
    for row in (await rows_of(watch.sagas.store, watch.ids)).values():
        lines += row.record.seq
        held = [lock for lock in row.record.locks if lock.granted]
        locks += 0 if row.record.status in FINAL else len(held)
    return lines, locks
