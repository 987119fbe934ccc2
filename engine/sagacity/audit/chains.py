"""Chains and anchors: every line hangs on the one before it, and on what was sent away."""

from collections.abc import Sequence

from sagacity.audit.evidence import Evidence
from sagacity.chain import ChainCheck, Link
from sagacity.model.unit import ChainHead
from sagacity.model.views import Finding
from sagacity.store.base import Store

Marks = dict[int, dict[int, tuple[str, str]]]
"""Chain → position → (hash, when): what was anchored there."""

_LOST = (
    "Stop the workers: what they wrote since builds on a shorter history. Look for the rest on the old "
    "primary or in the sink (`sagacity anchor --lines` puts every line there), then decide about its sagas."
)


def marks_of(evidence: Evidence) -> tuple[Marks, list[Finding]]:
    """What the anchors say of each chain, and which anchors are none."""
    marks: Marks = {}
    found: list[Finding] = []
    for anchor in evidence.anchors:
        fault = None if evidence.key is None else anchor.fault(evidence.key)
        if fault is not None:
            found.append(_finding("I3", f"anchor of {anchor.at}", fault))
            continue
        for chain, (position, hash) in anchor.heads.items():
            known = marks.setdefault(chain, {}).setdefault(position, (hash, anchor.at))
            if known[0] != hash:
                what = f"position {position} was anchored with two hashes ({known[1]} and {anchor.at})"
                found.append(_finding("I1", f"chain {chain}", what))
    return marks, found


async def followed(store: Store, heads: Sequence[ChainHead], marks: Marks, found: list[Finding]) -> int:
    """Follow all chains to their heads, past their marks; returns how many lines there are."""
    lines = 0
    for head in heads:
        lines += await _followed(store, head, marks.get(head.id, {}), found)
    known = {head.id: head.position for head in heads}
    for chain, marked in sorted(marks.items()):
        last = max(marked)
        if last > known.get(chain, 0):
            found.append(_lost(chain, last, known.get(chain, 0), marked[last][1]))
    return lines


async def _followed(
    store: Store, head: ChainHead, marked: dict[int, tuple[str, str]], found: list[Finding]
) -> int:
    check = ChainCheck(head.id, tenant=store.tenant, lane=store.lane)
    follow, lines, last_is_bad, rewritten = check.follow_link, 0, False, False
    async for page in store.chain_links(head.id, after=0, upto=head.position):
        lines += len(page)
        for line in page:
            position = check.position
            fault = follow(line)
            last_is_bad = fault is not None
            if fault is not None:
                found.append(
                    _finding("I3" if line[0] == position + 1 else "I2", _place(head.id, line), fault)
                )
            if line[0] in marked and marked[line[0]][0] != line[10].hex() and not rewritten:
                rewritten = True  # all later anchors differ too
                what = f"it was anchored with another hash ({marked[line[0]][1]}): history was rewritten"
                found.append(_finding("I1", _place(head.id, line), what))
    if check.position != head.position or (check.hash != head.hash and not last_is_bad):
        what = f"the head says {head.position}, the lines end at {check.position}: its end was changed"
        found.append(_finding("I2", f"chain {head.id}", what))
    return lines


def _lost(chain: int, position: int, stands: int, at: str) -> Finding:
    what = (
        f"it was anchored at {position} ({at}), and ends at {stands}: {position - stands} lines were lost "
        f"by a restore or failover, or cut off. {_LOST}"
    )
    return _finding("I1", f"chain {chain}", what)


def _finding(invariant: str, where: str, what: str) -> Finding:
    return Finding(invariant=invariant, check="chain", where=where, what=what)


def _place(chain: int, line: Link) -> str:
    return f"chain {chain} position {line[0]} (saga {line[1]}, seq {line[2]}, {line[3]})"
