"""The dependency graph of sagas over objects, and whether it has a cycle (I27).

Three kinds of edges, as in Adya's thesis: who wrote the version before mine (ww), whose version I read (wr),
who overwrote what I read (rw). Sagas that can be put into one order have no cycle.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import TypeVar

Node = TypeVar("Node", bound=Hashable)


def cycle_of(
    writes: Mapping[str, Mapping[int, Node]], reads: Iterable[tuple[Node, str, int]] = ()
) -> list[Node]:
    """I27: the committed history over objects has no cycle of ww, wr, rw edges.

    Args:
        writes: object → version → who wrote it.
        reads: who saw which version of which object (0: nothing was ever written).

    Returns:
        One cycle, as the nodes along it; empty where there is none.
    """
    edges: dict[Node, set[Node]] = {}
    for first, second in _edges(writes, reads):
        if first != second:
            edges.setdefault(first, set()).add(second)
    return _cycle(edges)


def _edges(
    writes: Mapping[str, Mapping[int, Node]], reads: Iterable[tuple[Node, str, int]]
) -> Iterator[tuple[Node, Node]]:
    for versions in writes.values():
        for version, writer in versions.items():
            if version + 1 in versions:
                yield writer, versions[version + 1]
    for reader, name, version in reads:
        versions = writes.get(name, {})
        if version in versions:
            yield versions[version], reader
        if version + 1 in versions:
            yield reader, versions[version + 1]


def _cycle(edges: Mapping[Node, set[Node]]) -> list[Node]:
    """Depth first, without recursion: histories are long."""
    done: set[Node] = set()
    for root in edges:
        if root in done:
            continue
        path: list[Node] = [root]
        on_path: dict[Node, int] = {root: 0}
        waiting: list[Iterator[Node]] = [iter(edges[root])]
        while path:
            following = next((n for n in waiting[-1] if n not in done), None)
            if following is None:
                done.add(path.pop())
                waiting.pop()
                on_path.pop(next(reversed(on_path)))
            elif following in on_path:
                return path[on_path[following] :]
            else:
                on_path[following] = len(path)
                path.append(following)
                waiting.append(iter(edges.get(following, ())))
    return []
