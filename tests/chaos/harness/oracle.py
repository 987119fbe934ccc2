"""The judge: what was acknowledged, what the store says, and what the ledger outside says must be one story.

Nothing here believes the engine about effects: those are counted in the ledger's own file.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sagacity.audit import Evidence, verify
from sagacity.invariants import read_calls as ledger_calls
from sagacity.model.record import Status
from sagacity.model.views import SagaSummary
from sagacity.orchestrator import Orchestrator
from sagacity.store.base import Filter
from tests.chaos.harness.report import Report

STEPS = 5


@dataclass(frozen=True, slots=True)
class Call:
    """One line of the ledger."""

    n: int
    kind: str
    key: str
    undoes: str | None
    about: str
    action: str


_AS_SAID = ("n", "kind", "key", "undoes", "about")


def _whole_lines(path: Path) -> list[bytes]:
    return path.read_bytes().rpartition(b"\n")[0].splitlines()


def read_calls(path: Path) -> list[Call]:
    """The ledger's lines; a half-written last one does not count."""
    if not path.exists():
        return []
    found = []
    for line in _whole_lines(path):
        said = json.loads(line)
        found.append(Call(action=said["call"], **{name: said[name] for name in _AS_SAID}))
    return found


@dataclass(slots=True)
class Effects:
    """What landed outside, by saga."""

    done: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    undone: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    about: dict[str, str] = field(default_factory=dict)
    doubled: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, calls: Iterable[Call]) -> "Effects":
        """Read the story outside; an effect that landed twice is doubled, whatever its key."""
        found = cls()
        actions: Counter[tuple[str, str]] = Counter()
        landed: Counter[str] = Counter()
        for call in calls:
            if call.kind == "done":
                landed[call.key] += 1
                actions[call.about, call.action] += 1
                found.about[call.key] = call.about
                found.done[call.about].append(call.key)
                if landed[call.key] > 1 or actions[call.about, call.action] > 1:
                    found.doubled.append(f"{call.about}: {call.action} under {call.key}")
            elif call.kind == "undone" and call.undoes is not None:
                about = found.about[call.undoes]
                if call.undoes in found.undone[about]:
                    found.doubled.append(f"{about}: undone twice, {call.undoes}")
                found.undone[about].append(call.undoes)
        return found


async def all_sagas(app: Orchestrator, definition: str | None = None) -> dict[str, SagaSummary]:
    """Every saga by key."""
    found: dict[str, SagaSummary] = {}
    page = await app.list(Filter(definition=definition, limit=500))
    while page:
        found.update((saga.key, saga) for saga in page)
        page = await app.list(Filter(definition=definition, limit=500, before=page[-1].id))
    return found


async def judge_log(
    app: Orchestrator, report: Report, *, ledger: Path | None = None, only: str | None = None
) -> None:
    """`sagacity verify`: chains, stories, moves, tables, ledger; or only one check, for lines of no flow."""
    calls, broken = ledger_calls(_whole_lines(ledger)) if ledger is not None else ([], [])
    flows = {(flow.name, flow.version): flow for flow in app.project.flows.values()}
    verdict = await verify(app.store, Evidence(calls=calls, broken=broken, flows={} if only else flows))
    report.figure("log lines verified", verdict.lines)
    for finding in (found for found in verdict.findings if only in (None, found.check)):
        report.blame(f"verify: {finding.check}: {finding.where}: {finding.what}")


async def judge_locks(app: Orchestrator, report: Report) -> None:
    """No lock is left."""
    locks = await app.locks()
    report.figure("locks left", len(locks))
    for lock in locks[:10]:
        report.blame(f"lock left: {lock.object} by saga {lock.saga}")


def judge_ends(
    sagas: Mapping[str, SagaSummary], wanted: Mapping[str, Status], acked: Iterable[str], report: Report
) -> None:
    """Every acknowledged start is there, and each saga that is there ended as it should.

    Args:
        wanted: how each key must end, of all that were ever sent.
        acked: keys whose start was acknowledged.
    """
    lost = [key for key in acked if key not in sagas]
    report.figure("acknowledged and lost", len(lost))
    for key in lost[:10]:
        report.blame(f"the start of {key} was acknowledged and is not there")
    for key, saga in sagas.items():
        if key not in wanted:
            report.blame(f"{key} was never sent")
        elif saga.status is not wanted[key]:
            report.blame(f"{key} is {saga.status.value}, not {wanted[key].value}: {saga.reason}")
    report.figure("sagas", len(sagas))
    counts = Counter(saga.status.value for saga in sagas.values())
    for status, count in sorted(counts.items()):
        report.figure(status, count)


def judge_ledger(
    path: Path, sagas: Mapping[str, SagaSummary], report: Report, *, steps: int = STEPS
) -> Effects:
    """Each effect once; all of a committed saga; nothing of a rolled-back one; undone in reverse order."""
    calls = read_calls(path)
    effects = Effects.of(calls)
    kinds = Counter(call.kind for call in calls)
    report.figure("calls at the ledger", dict(sorted(kinds.items())))
    report.figure("double effects", len(effects.doubled))
    for what in effects.doubled[:10]:
        report.blame(f"double effect: {what}")
    for about in effects.done:
        if about not in sagas:
            report.blame(f"the ledger has effects of {about}, which no saga stands for")
    for key, saga in sagas.items():
        done, undone = effects.done.get(key, []), effects.undone.get(key, [])
        if saga.status is Status.COMMITTED and (len(done) != steps or undone):
            report.blame(f"{key} committed with {len(done)} effects done and {len(undone)} undone")
        if saga.status is Status.ROLLED_BACK and undone != done[::-1]:
            report.blame(f"{key} rolled back: did {done}, undid {undone}")
    return effects


async def judge_seats(app: Orchestrator, seats: Mapping[str, set[str]], report: Report) -> None:
    """Each object holds the committed sagas' changes, each once: none lost, none doubled, none of another."""
    for seat, names in seats.items():
        view = await app.object(f"seat:{seat}")
        state: Any = json.loads(view.state)
        found = state["names"] if state else []
        if sorted(found) != sorted(names):
            report.blame(f"seat {seat} holds {found}, and {sorted(names)} committed")
