"""T5: no effect is lost and none is doubled where one answer in five never comes."""

import logging
from collections import Counter

from sagacity.store.memory import MemoryDatabase
from tests.chaos.__main__ import Options
from tests.chaos.unknowns import unanswered

SHORT, LONG, EACH = 2_000, 20_000, 250


def run(options: Options) -> int:
    """Play 2,000 sagas, 250 at once."""
    logging.getLogger("sagacity").setLevel(logging.CRITICAL)
    number = options.seeds or (LONG if options.long else SHORT)
    database = MemoryDatabase()
    totals, bad = Counter[str](), list[str]()
    for n in range(-(-number // EACH)):
        wrong, figures = unanswered(database, sagas=min(EACH, number - n * EACH), seed=options.seed + n)
        bad += wrong
        totals.update(figures)
    print(", ".join(f"{count} {what}" for what, count in totals.items()))
    print("\n".join(bad[:20]) or "nothing was lost and nothing was doubled")
    return 1 if bad else 0
