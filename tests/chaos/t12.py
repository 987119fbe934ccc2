"""T12: nothing is early, missing or done twice, however wrong the workers' clocks are."""

import logging

from sagacity.store.memory import MemoryDatabase
from tests.chaos.__main__ import Options
from tests.chaos.clocks import CLOCKS, timed

SHORT, LONG = 40, 400


def run(options: Options) -> int:
    """Play all kinds of wrong clocks."""
    logging.getLogger("sagacity").setLevel(logging.CRITICAL)
    sagas = LONG if options.long else SHORT
    database = MemoryDatabase()
    bad = 0
    for clocks in CLOCKS:
        fired, wrong = timed(clocks, database, sagas=sagas, seed=options.seed)
        bad += bool(wrong)
        print(
            f"{clocks.name}: {len(fired.waits)} waits, {sum(fired.timed_out.values())} ran out, "
            f"{len(fired.answered)} answered, {len(fired.early)} early, {len(fired.late)} late"
        )
        print("".join(f"  {what}\n" for what in wrong[:5]), end="")
    print("nothing was violated" if not bad else f"{bad} kinds of clocks violate something")
    return 1 if bad else 0
