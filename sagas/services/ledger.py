"""What an outside service did, one line per thing done, and how to judge it.

The ledger is the only state of a service: its answers to repeated keys are rebuilt from these lines, so a
service may die at any moment and still never does a thing twice.
"""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, Self

import orjson

SERVICES = ("warehouse", "payments", "carrier", "bank", "clusters")
"""Every outside service; the ledger of each is the file `NAME.jsonl`."""

Kind = Literal["done", "refused", "repeat", "empty", "late", "undone"]
"""What became of a call.

`done`: a forward effect landed. `refused`: the service said no, nothing landed. `repeat`: a known key, or
the undo of something already undone; nothing landed again. `undone`: an effect was undone. `empty`: an undo
came for a key under which nothing had landed. `late`: a forward call came after its own undo and was refused.
"""


_OUTCOMES: Mapping[Kind, str] = {
    "done": "landed",
    "undone": "landed",
    "refused": "refused",
    "late": "refused",
    "repeat": "void",
    "empty": "void",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of a ledger. In its file `sagacity verify --ledger` finds the names that it knows.

    `n` counts from 1 within one service. `undoes` is the forward key that an undo names. Amounts are exact
    decimal strings. `source` and `target` are accounts and belong to the bank alone; `detail` is the reason
    of a refusal.
    """

    n: int
    service: str
    action: str
    kind: Kind
    key: str
    undoes: str | None
    about: str
    amount: str | None
    source: str | None
    target: str | None
    detail: str | None


class Journal:
    """A file of JSON lines that is only ever appended to, by one process at a time.

    A line counts when it is whole: what a killed process left without a line end is cut off when the file is
    next opened. Lines are handed to the operating system at once, so they survive the process (they are not
    forced to the disk: a power cut is not played here).
    """

    def __init__(self, path: Path) -> None:
        """Open or create `path`, waiting while another process still holds it."""
        self.path = path
        self._file = path.open("ab+", buffering=0)
        self._hold()
        self._file.seek(0)
        whole, _, torn = self._file.read().rpartition(b"\n")
        if torn:
            self._file.truncate(len(whole) + 1 if whole else 0)
        self._found = [orjson.loads(line) for line in whole.splitlines() if line]

    def _hold(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{self.path} is in use by another process: waiting for it to end", file=sys.stderr)
            fcntl.flock(self._file, fcntl.LOCK_EX)

    @property
    def found(self) -> list[dict[str, Any]]:
        """The lines that stood in the file when it was opened."""
        return self._found

    def append(self, *lines: Mapping[str, object]) -> None:
        """Write whole lines in one go, so that a reader never sees half of them."""
        os.write(self._file.fileno(), b"".join(orjson.dumps(line) + b"\n" for line in lines))

    def close(self) -> None:
        """Let the file go."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Ledger:
    """The ledger of one service, open for writing."""

    def __init__(self, path: Path, *, service: str) -> None:
        """Open `path`; raises `TypeError` or `KeyError` if a line of it is not an entry."""
        self._journal = Journal(path)
        self._service = service
        self.path = path
        self.entries = [_entry(line) for line in self._journal.found]
        self._n = len(self.entries)

    def append(
        self,
        *,
        action: str,
        kind: Kind,
        key: str,
        about: str,
        undoes: str | None = None,
        amount: str | None = None,
        source: str | None = None,
        target: str | None = None,
        detail: str | None = None,
    ) -> Entry:
        """Record one thing done and return its line; it stands in the file before this returns."""
        self._n += 1
        entry = Entry(
            n=self._n,
            service=self._service,
            action=action,
            kind=kind,
            key=key,
            undoes=undoes,
            about=about,
            amount=amount,
            source=source,
            target=target,
            detail=detail,
        )
        self._journal.append(_line(entry))
        return entry

    def close(self) -> None:
        """Let the file go."""
        self._journal.close()


def _line(entry: Entry) -> dict[str, object]:
    """As it stands in the file: the format of `sagacity.invariants.ledger`, and what is ours beside it."""
    content = asdict(entry)
    told = {"external": content.pop("service"), "call": content.pop("action")}
    return told | {"outcome": _OUTCOMES[entry.kind]} | content


def _entry(line: Mapping[str, Any]) -> Entry:
    content = {name: value for name, value in line.items() if name != "outcome"}
    return Entry(service=content.pop("external"), action=content.pop("call"), **content)


def read_ledger(path: Path) -> list[Entry]:
    """Read one ledger file, also while its service runs; a missing file is an empty ledger."""
    if not path.exists():
        return []
    whole = path.read_bytes().rpartition(b"\n")[0]
    return [_entry(orjson.loads(line)) for line in whole.splitlines() if line]


def read_ledgers(folder: Path, services: Iterable[str] = SERVICES) -> list[Entry]:
    """Read the ledgers of `services` in `folder`, one after another; a missing one is empty."""
    return [entry for service in services for entry in read_ledger(folder / f"{service}.jsonl")]


def standing(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    """Say which effects were done and not undone, by what they are about.

    Keys are order, transfer or cluster ids; an id with nothing left standing is absent. Entries of several
    services may be mixed: an idempotency key belongs to one effect of one service.
    """
    effects: dict[tuple[str, str], Entry] = {}
    for entry in entries:
        if entry.kind == "done":
            effects[entry.service, entry.key] = entry
        elif entry.kind == "undone" and entry.undoes is not None:
            effects.pop((entry.service, entry.undoes), None)
    by_about: dict[str, list[Entry]] = {}
    for entry in effects.values():
        by_about.setdefault(entry.about, []).append(entry)
    return by_about


def doubled(entries: Iterable[Entry]) -> list[Entry]:
    """List every effect that landed once too often; an honest ledger gives an empty list.

    Three things count: a key under which something landed twice; an effect done for the same thing under a
    second key while the first still stands; a forward effect undone twice.
    """
    keys: set[tuple[str, str]] = set()
    undone: set[tuple[str, str]] = set()
    open_by_about: dict[tuple[str, str, str], str] = {}
    actions: dict[tuple[str, str], tuple[str, str, str]] = {}
    twice: list[Entry] = []
    for entry in entries:
        if entry.kind not in ("done", "undone"):
            continue
        key, effect = (entry.service, entry.key), (entry.service, entry.action, entry.about)
        again = key in keys
        keys.add(key)
        if entry.kind == "done":
            again = again or effect in open_by_about
            open_by_about[effect] = entry.key
            actions[key] = effect
        elif entry.undoes is not None:
            forward = (entry.service, entry.undoes)
            again = again or forward in undone
            undone.add(forward)
            open_by_about.pop(actions.get(forward, effect), None)
        if again:
            twice.append(entry)
    return twice


def moved(entries: Iterable[Entry]) -> dict[str, Decimal]:
    """Add up what the bank moved: the net amount per account, transfers back included."""
    balances: dict[str, Decimal] = {}
    for entry in entries:
        if entry.kind in ("done", "undone") and entry.amount and entry.source and entry.target:
            amount = Decimal(entry.amount)
            balances[entry.source] = balances.get(entry.source, Decimal(0)) - amount
            balances[entry.target] = balances.get(entry.target, Decimal(0)) + amount
    return balances
