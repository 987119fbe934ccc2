"""What must be true of every log, every table and every outside ledger, as small pure functions.

Each invariant has its number (I1-I45) in the docstring of the one function or class that judges it. The
same functions are asked by `sagacity verify`, by the tests and, where they are cheap, by the engine itself
before it writes. Nothing here reads a clock, a file or a database: evidence is handed in.
"""

from sagacity.invariants.broken import Broken, Violated
from sagacity.invariants.clients import Op, read_ops
from sagacity.invariants.cycles import cycle_of
from sagacity.invariants.judge import Judge
from sagacity.invariants.ledger import Call, read_calls

__all__ = ["Broken", "Call", "Judge", "Op", "Violated", "cycle_of", "read_calls", "read_ops"]
