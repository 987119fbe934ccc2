"""A checker of isolation by list-append, after Elle: values are unique, so a list tells who came after whom.

From what transactions read and appended it draws who must come before whom (ww: next in a list; wr: read
what was appended; rw: read a list before this was appended) and looks for cycles. It shares no code with the
engine.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter


@dataclass(frozen=True, slots=True)
class Transaction:
    """What one saga, or one reader from outside, did.

    Attributes:
        reads: list → the values it saw there, before its own.
        appends: list → the values it appended, in order.
        committed: whether it did; what an uncommitted one appended, nobody may ever see.
    """

    name: str
    reads: Mapping[str, Sequence[str]]
    appends: Mapping[str, Sequence[str]]
    committed: bool = True


@dataclass(slots=True)
class Found:
    """Anomalies, each a sentence."""

    cycles: list[str] = field(default_factory=list)
    aborted: list[str] = field(default_factory=list)
    halves: list[str] = field(default_factory=list)
    torn: list[str] = field(default_factory=list)

    @property
    def all(self) -> list[str]:
        return [*self.cycles, *self.aborted, *self.halves, *self.torn]


def check(transactions: Iterable[Transaction], final: Mapping[str, Sequence[str]]) -> Found:
    """Every anomaly kind that is there.

    Args:
        final: each list as it stood at the end.
    """
    found = Found()
    by_value: dict[str, Transaction] = {}
    done = list(transactions)
    for transaction in done:
        for values in transaction.appends.values():
            by_value.update(dict.fromkeys(values, transaction))
    _lists(final, by_value, found)
    edges: dict[str, set[str]] = defaultdict(set)
    for order in final.values():
        owners = [by_value[value].name for value in order if value in by_value]
        for before, after in itertools.pairwise(owners):
            _edge(edges, before, after)
    for transaction in done:
        for name, seen in transaction.reads.items():
            _read(transaction, name, seen, final.get(name, ()), by_value, edges, found)
    _cycles(edges, found)
    return found


def _lists(final: Mapping[str, Sequence[str]], by_value: Mapping[str, Transaction], found: Found) -> None:
    for name, order in final.items():
        for value in order:
            if value not in by_value or not by_value[value].committed:
                found.aborted.append(f"{name} ends with {value}, which nobody committed")
        if len(set(order)) != len(order):
            found.torn.append(f"{name} holds a value twice")
    for transaction in set_of(by_value):
        for name, values in transaction.appends.items():
            there = [value for value in final.get(name, ()) if value in values]
            if transaction.committed and there != list(values):
                found.torn.append(
                    f"{transaction.name} appended {list(values)} to {name}; of it stands {there}"
                )


def set_of(by_value: Mapping[str, Transaction]) -> list[Transaction]:
    """Each appending transaction once."""
    return list({transaction.name: transaction for transaction in by_value.values()}.values())


def _read(  # noqa: PLR0917 - the parts of one check
    reader: Transaction,
    name: str,
    seen: Sequence[str],
    order: Sequence[str],
    by_value: Mapping[str, Transaction],
    edges: dict[str, set[str]],
    found: Found,
) -> None:
    for value in seen:
        writer = by_value.get(value)
        if writer is None or not writer.committed:
            found.aborted.append(f"{reader.name} read {value} in {name}, which was never committed (G1a)")
    if list(order[: len(seen)]) != list(seen):
        found.torn.append(
            f"{reader.name} read {name} as {list(seen)}, which is no beginning of what it became"
        )
        return
    if seen and (writer := by_value.get(seen[-1])) is not None:
        if list(writer.appends[name])[-1] != seen[-1]:
            found.halves.append(f"{reader.name} read {name} in the middle of {writer.name} (G1b)")
        _edge(edges, writer.name, reader.name)
    if len(seen) < len(order) and (after := by_value.get(order[len(seen)])) is not None:
        _edge(edges, reader.name, after.name)


def _edge(edges: dict[str, set[str]], before: str, after: str) -> None:
    if before != after:
        edges[after].add(before)


def _cycles(edges: Mapping[str, set[str]], found: Found, *, most: int = 20) -> None:
    """Cycles, one after the other: each that was told is opened at one place, and the next is looked for."""
    left = {node: set(before) for node, before in edges.items()}
    for _ in range(most):
        try:
            TopologicalSorter(left).prepare()
        except CycleError as error:
            cycle: list[str] = error.args[1]
            found.cycles.append(" < ".join(cycle))
            left[cycle[1]].discard(cycle[0])
        else:
            return
