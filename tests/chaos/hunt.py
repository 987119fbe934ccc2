"""`python -m tests.chaos.hunt 12`: plant what the environment names, and simulate seeds until one fails.

For the test of the tests: one process, no search for the least faults, and it stops at the first find.
"""

import sys

from sagacity.store.memory import MemoryDatabase
from tests.chaos.plants import planted
from tests.chaos.t03 import played


def main(count: int) -> int:
    """1 where a seed of the first `count` fails, else 0."""
    planted()
    database = MemoryDatabase()
    try:
        for result in played(range(1, count + 1), database):
            if result.wrong:
                print(f"seed {result.seed} fails: {result.wrong[0]}")
                return 1
    finally:
        database.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(int(sys.argv[1])))
