"""Tables, ledgers and client histories against the log; and bad data, which is answered and never raises."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagacity.invariants import Broken, Call, Op, read_calls, read_ops
from sagacity.model import lines as L
from sagacity.model.canonical import NULL
from sagacity.model.unit import LogRow, ObjectState, QueueEntry
from tests.unit.told import (
    BACK,
    EMPTY,
    HEARD,
    KEY,
    LATER,
    LISTENS,
    MAIL,
    NOON,
    OPEN_TURN,
    OTHER,
    RETURNED,
    SAGA,
    SOLD,
    STUCK,
    TWO,
    Told,
    judge,
    started,
)

# --- tables -------------------------------------------------------------------------------------------


def _tables(lines: Sequence[L.Line], queue: tuple[QueueEntry, ...] = (), **changes: Any) -> list[str]:
    made = judge()
    for row in Told().add(SAGA, *lines).rows:
        made.row(row)
    record = made.records[SAGA]
    state = ObjectState(object="box:1", version=made.objects.version_of("box:1"), state=NULL, queue=queue)
    sagas = {SAGA: replace(record, **changes)} if changes != {"gone": True} else {}
    return [b.invariant for b in made.tables(sagas=sagas, objects={"box:1": state}, whole=True)]


def entry(saga: UUID = SAGA, mode: Any = "exclusive", ticket: int = 1) -> QueueEntry:
    return QueueEntry(saga=saga, mode=mode, ticket=ticket, since=NOON)


def test_rows_are_what_the_lines_say_and_nothing_else() -> None:
    held = (entry(),)
    assert _tables(SOLD[:4], held) == []
    assert _tables(SOLD[:4], held, input=TWO) == ["I5"]
    assert _tables(SOLD[:4], held, seq=9) == ["I6"]
    assert _tables(SOLD[:4], held, gone=True) == ["I6"]


def test_locks_have_live_owners_and_owners_their_locks() -> None:
    assert _tables(SOLD[:4]) == ["I22"]
    assert _tables(SOLD, (entry(),)) == ["I24"]
    assert _tables(SOLD[:4], (entry(), entry(OTHER, ticket=2))) == ["I24"]
    assert _tables((started(),), (entry(),)) == ["I22"]
    assert _tables(SOLD[:4], (entry(OTHER), entry(ticket=2))) == ["I24", "I21"]
    assert _tables(SOLD[:4], (entry(ticket=2), entry(ticket=1))) == ["I21", "I23"]


def test_compensation_rows_are_those_of_the_lines() -> None:
    made = judge()
    for row in Told().add(SAGA, *SOLD).rows:
        made.row(row)
    (effect,) = made.records[SAGA].effects
    stored = replace(effect, landed=False)
    assert made.tables(effects={SAGA: [stored]}) == []
    assert [b.invariant for b in made.tables(effects={SAGA: [replace(stored, undo=None)]})] == ["I5"]


# --- the outside, and clients -------------------------------------------------------------------------


def call(key: str = KEY, outcome: Any = "landed", undoes: str | None = None) -> Call:
    return Call(external="Ext", call="do", key=key, outcome=outcome, undoes=undoes)


def _ledger(lines: Sequence[L.Line], *calls: Call) -> list[str]:
    made = judge()
    for row in Told().add(SAGA, *lines).rows:
        made.row(row)
    # The ledger is read even where nothing of this saga stands in it.
    found = made.ledger([call("t:live:x:y", "refused"), *calls])
    return [b.invariant for b in (*found, *made.end())]


UNDO = call(f"{KEY}/undo", undoes=KEY)


@pytest.mark.parametrize(
    ("lines", "calls", "expected"),
    [
        (SOLD, [call()], []),
        (SOLD, [], ["I16"]),
        (SOLD, [call(), call()], ["I16", "I16"]),
        (SOLD, [call(), UNDO], ["I16"]),
        (RETURNED, [call(), UNDO], []),
        (RETURNED, [call(), UNDO, call(f"{KEY}/undo", "void", KEY)], []),
        (RETURNED, [call()], ["I20"]),
        (RETURNED, [call(), UNDO, UNDO], ["I16", "I20"]),
        (RETURNED, [], ["I16"]),
        (RETURNED, [UNDO, call()], ["I18", "I18"]),
        (SOLD[:3], [call(), call()], ["I16"]),
        ((*OPEN_TURN, EMPTY, BACK), [call(f"{KEY}/undo", "void", KEY)], []),
        ((*OPEN_TURN, EMPTY, BACK), [call(f"{KEY}/undo", "void", KEY), call()], ["I18", "I20"]),
        (SOLD, [call(), call("t:live:other:step")], ["I6"]),
        (SOLD, [call(), call("elsewhere:live:other:step")], []),
    ],
)
def test_the_ledger_holds_what_the_log_says(
    lines: Sequence[L.Line], calls: Sequence[Call], expected: list[str]
) -> None:
    assert _ledger(lines, *calls) == expected


def test_what_was_acknowledged_is_there_and_what_was_refused_is_not() -> None:
    made = judge()
    for row in Told().add(SAGA, *SOLD).rows:
        made.row(row)

    def found(op: Any, id: UUID, result: Any, stored: tuple[UUID, ...] = ()) -> list[str]:
        return [b.invariant for b in made.history([Op(op=op, id=id, key="k", result=result)], stored=stored)]

    assert found("start", SAGA, "ok") == []
    assert found("start", OTHER, "ok") == ["I7"]
    assert found("start", OTHER, "ok", (OTHER,)) == []
    assert found("start", OTHER, "info") == found("start", SAGA, "info") == []
    assert found("start", SAGA, "fail") == ["I7"]
    assert found("signal", MAIL, "ok") == ["I7"]
    twice = [Op(op="start", id=id, key="k", result="ok") for id in (SAGA, OTHER)]
    assert [b.invariant for b in made.history(twice, stored=(OTHER,))] == ["I11"]


def test_one_key_starts_one_saga() -> None:
    made = judge()
    rows = Told().add(SAGA, started()).add(OTHER, started()).rows
    assert [b.invariant for row in rows for b in made.row(row)] == ["I11"]


# --- bad data -----------------------------------------------------------------------------------------


def test_files_with_bad_lines_are_read_to_their_end() -> None:
    good = orjson.dumps({"external": "e", "call": "c", "key": "k", "outcome": "landed", "n": 7})
    calls, found = read_calls([good, b"{", b"[]", b'{"outcome": "odd"}', b"", good], name="x")
    assert len(calls) == 2
    assert [b.where for b in found] == ["x line 2", "x line 3", "x line 4"]
    op = orjson.dumps({"op": "start", "id": str(SAGA), "key": "k", "result": "ok", "at": "now"})
    ops, wrong = read_ops([op, b'{"op": "start", "id": 7, "result": "ok"}', b"nothing"])
    assert [o.id for o in ops] == [SAGA]
    assert len(wrong) == 2


_KINDS = st.sampled_from([*L.KINDS, "odd"])
_VALUES = st.recursive(
    st.none() | st.integers(-2, 9) | st.text(max_size=3), lambda inner: st.lists(inner, max_size=2)
)
_DATA = st.one_of(
    st.none(),
    st.text(max_size=5),
    st.dictionaries(st.sampled_from(["n", "step", "visit", "attempt", "state", "at"]), _VALUES).map(
        lambda value: orjson.dumps(value).decode()
    ),
    st.sampled_from([L.line_data(line) for line in (*SOLD, *RETURNED, LISTENS, HEARD, STUCK)]),
)
_ROWS = st.builds(
    LogRow,
    chain=st.integers(0, 2),
    position=st.integers(0, 9),
    saga=st.sampled_from([SAGA, OTHER]),
    seq=st.integers(0, 6),
    kind=_KINDS,
    object=st.none() | st.just("box:1"),
    version=st.none() | st.integers(0, 3),
    schema_version=st.just(1),
    at=st.sampled_from([NOON, LATER]),
    data=_DATA,
    digest=st.binary(max_size=2),
    hash=st.binary(max_size=2),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(_ROWS, max_size=12), st.booleans())
def test_whatever_stands_in_the_log_the_judge_answers_and_never_raises(
    rows: list[LogRow], exact: bool
) -> None:
    made = judge(exact=exact)
    found: list[Broken] = made.batch(rows) if exact else [b for row in rows for b in made.row(row)]
    found += made.tables(objects={}, whole=True)
    found += made.end()
    assert all(b.invariant[0] == "I" and b.where and b.why and str(b) for b in found)
