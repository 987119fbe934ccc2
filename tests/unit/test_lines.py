"""Every kind of line is the same after it was stored and read."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from sagacity.model import lines as L
from sagacity.model.canonical import NULL, JsonText, canonical, loaded
from tests.unit.drawn import drawn

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def read_back(line: L.Line) -> L.Line:
    object, version = (line.object, line.version) if isinstance(line, L.Applied) else (None, None)
    return L.read_line(line.kind, L.line_data(line), at=line.at, object=object, version=version)


@pytest.mark.parametrize("kind", sorted(L.KINDS))
def test_every_kind_comes_back_as_it_was(kind: str) -> None:
    @settings(max_examples=25, deadline=None)
    @given(drawn(L.KINDS[kind]))
    def comes_back(line: L.Line) -> None:
        data = L.line_data(line)
        assert read_back(line) == line
        assert canonical(loaded(data), limit=None) == data

    comes_back()


def test_kinds_are_told_by_their_names() -> None:
    assert {cls.__name__ for cls in L.KINDS.values()} == {cls.__name__ for cls in L.Line.__subclasses__()}
    assert all(kind == cls.kind != "" for kind, cls in L.KINDS.items())


def test_what_stands_in_columns_does_not_stand_in_the_data() -> None:
    line = L.Applied(
        object="box:1", version=3, before=NULL, after=JsonText('{"n":1}'), operations=(), at=NOON
    )
    assert set(loaded(L.line_data(line))) == {"before", "after", "operations", "own_table"}
    assert read_back(line) == line


def test_values_of_the_users_are_embedded_and_not_quoted() -> None:
    line = L.Completed(
        step="s", visit=1, attempt=1, result=JsonText('{"price":"0.10"}'), state=("a",), at=NOON
    )
    assert loaded(L.line_data(line))["result"] == {"price": "0.10"}


def test_a_kind_of_tomorrow_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="teleported"):
        L.read_line("teleported", "{}", at=NOON)


@pytest.mark.parametrize("data", ['{"why":1}', "{}"])
def test_data_that_does_not_fit_its_kind_is_refused(data: str) -> None:
    with pytest.raises(ValidationError):
        L.read_line("stuck", data, at=NOON)


@given(st.lists(st.integers(0, 99)).map(tuple))
def test_an_erasure_names_its_lines(seqs: Any) -> None:
    line = L.Erased(saga=UUID(int=1), seqs=seqs, reason="asked", at=NOON)
    assert read_back(line) == line
