"""Logs told by hand: the lines that the engine writes, chained as it chains them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

from sagacity.chain import link
from sagacity.invariants import Judge
from sagacity.model import lines as L
from sagacity.model.canonical import NULL, JsonText
from sagacity.model.record import Held, Staged, Wait, WaitsFor
from sagacity.model.unit import LogRow

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)
SAGA, OTHER, MAIL = UUID(int=1), UUID(int=2), UUID(int=3)
ONE, TWO = JsonText("1"), JsonText("2")
KEY = f"t:live:{SAGA}:a"


def started(**more: Any) -> L.Started:
    plain = L.Started(
        definition="F",
        version=1,
        definition_hash="h",
        key="k",
        request_hash="r",
        input=ONE,
        state=("s",),
        at=NOON,
    )
    return replace(plain, **more)


def locked(*objects: str, granted: bool = True, mode: Any = "exclusive") -> L.Locked:
    locks = tuple(Held(object=name, mode=mode) for name in objects)
    return L.Locked(locks=locks, granted=granted, at=NOON)


STAGED = Staged(object="box:1", operation="into", args=JsonText('{"n":1}'), step="b")
INTENT = L.Intent(step="a", visit=1, attempt=1, external="Ext", key=KEY, undo="Ext.back", at=NOON)
DONE = L.Completed(step="a", visit=1, attempt=1, result=TWO, state=("t",), at=NOON)
STAGES = L.Completed(step="b", visit=1, attempt=1, result=NULL, state=("u",), staged=(STAGED,), at=NOON)
FAILED = L.Failed(step="a", visit=1, attempt=1, error="no", landed="no", retry_at=LATER, at=NOON)
APPLIED = L.Applied(
    object="box:1", version=1, before=NULL, after=JsonText('{"n":1}'), operations=(STAGED,), at=NOON
)
COMMITTED = L.Committed(at=NOON)
TURN = L.Compensating(reason="stop", at=NOON)
UNDONE = L.Undone(n=1, step="a", undo="Ext.back", attempt=1, at=NOON)
BACK = L.RolledBack(reason="stop", at=NOON)
STUCK = L.Stuck(why="so", at=NOON)
WAIT = Wait(name="w", state="s", kind=WaitsFor.SIGNAL, signal="go", until=LATER)
LISTENS = L.Awaiting(waits=(WAIT,), at=NOON)
HEARD = L.Signalled(wait="w", signal="go", message=MAIL, data=NULL, actor=None, state=("t",), at=NOON)
SECOND = replace(INTENT, step="c", key=KEY + "c")
SECOND_DONE = replace(DONE, step="c", state=("v",))

SOLD = (started(), locked("box:1"), INTENT, DONE, STAGES, APPLIED, COMMITTED)
RETURNED = (started(), locked("box:1"), INTENT, DONE, TURN, UNDONE, BACK)


class Told:
    """Rows of a log in the making: one chain, positions as they come."""

    def __init__(self) -> None:
        self.rows: list[LogRow] = []
        self._seqs: dict[UUID, int] = {}

    def add(self, saga: UUID, *lines: L.Line) -> "Told":
        for line in lines:
            seq = self._seqs.get(saga, 0)
            self._seqs[saga] = seq + 1
            self.rows.append(_row(len(self.rows) + 1, saga, seq, line, self.rows))
        return self


def _row(position: int, saga: UUID, seq: int, line: L.Line, before: Sequence[LogRow]) -> LogRow:
    data = L.line_data(line)
    applied = isinstance(line, L.Applied)
    row = LogRow(
        chain=1,
        position=position,
        saga=saga,
        seq=seq,
        kind=line.kind,
        object=line.object if isinstance(line, L.Applied) else None,
        version=line.version if applied and isinstance(line, L.Applied) else None,
        schema_version=L.SCHEMA_VERSION,
        at=line.at,
        data=data,
        digest=sha256(data.encode()).digest(),
        hash=b"",
    )
    return replace(row, hash=link(before[-1].hash if before else b"", row, tenant="t", lane="live"))


def judge(**more: Any) -> Judge:
    return Judge(tenant="t", lane="live", **more)


def of(*lines: L.Line, end: bool = False) -> list[str]:
    """The invariants that one saga's story breaks."""
    made = judge()
    found = [broken for row in Told().add(SAGA, *lines).rows for broken in made.batch([row])]
    return [broken.invariant for broken in (*found, *(made.end() if end else ()))]


GONE_BACK = (started(), INTENT, DONE, TURN)
EMPTY = replace(UNDONE, empty=True)
OPEN_TURN = (started(), replace(INTENT, safe_on_nothing=True), replace(FAILED, landed="unknown"), TURN)
