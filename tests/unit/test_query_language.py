"""The query language says what it means, or in which column it does not."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagacity.errors import InputError
from sagacity.operating.language import parsed
from sagacity.store.office import Term

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_each_qualifier_becomes_one_term() -> None:
    text = 'type:Order,Transfer status:stuck state:shipped key:A-1 waits:lock error:"503 again" paused:yes'
    assert parsed(text, NOW) == (
        Term(field="definition", values=("Order", "Transfer")),
        Term(field="status", values=("stuck",)),
        Term(field="state", values=("shipped",)),
        Term(field="key", values=("A-1",)),
        Term(field="waits", values=("lock",)),
        Term(field="error", values=("503 again",)),
        Term(field="paused", values=("yes",)),
    )


def test_older_than_means_created_before() -> None:
    [_, old, young] = parsed("type:A age:>30m age:<=2h", NOW)
    assert old == Term(field="created", compare="<", at=NOW - timedelta(minutes=30))
    assert young == Term(field="created", compare=">=", at=NOW - timedelta(hours=2))


def test_due_looks_ahead_and_past_is_now() -> None:
    assert parsed("due:<10m", NOW) == (Term(field="due", compare="<", at=NOW + timedelta(minutes=10)),)
    assert parsed("due:past", NOW) == (Term(field="due", compare="<=", at=NOW),)


def test_a_minus_means_not_and_paused_no_is_not_paused() -> None:
    [_, term] = parsed("type:A -status:running,waiting", NOW)
    assert term == Term(field="status", values=("running", "waiting"), negated=True)
    assert parsed("type:A paused:no", NOW)[1] == Term(field="paused", values=("yes",), negated=True)
    assert parsed("type:A -paused:no", NOW)[1] == Term(field="paused", values=("yes",), negated=False)


def test_a_quoted_value_keeps_blanks_commas_and_quotes() -> None:
    [_, term] = parsed(r'type:A error:"a, \"b\" \\ c",plain', NOW)
    assert term.values == ('a, "b" \\ c', "plain")


def test_nothing_asked_is_everything() -> None:
    assert parsed("  ", NOW) == ()


@pytest.mark.parametrize(
    ("text", "column", "says"),
    [
        ("stuck", 1, "a qualifier and a colon"),
        ("type:A state", 8, "a qualifier and a colon"),
        ("type:A colour:red", 8, "no qualifier colour:"),
        ("type:", 6, "a value is missing"),
        ("type:A,", 8, "a value is missing"),
        ('type:""', 6, "a value is missing"),
        ('type:A error:"503', 14, "never closed"),
        ('type:"A"B', 9, "unexpected 'B'"),
        ('type:A"B"', 7, "a quote may only stand"),
        ("type:A status:sutck", 8, "there are running"),
        ("status:pending", 1, "there are running"),
        ("type:A waits:money", 8, "there are lock"),
        ("type:A age:30m", 8, "one comparison"),
        ("type:A age:>30m,>1h", 8, "one comparison"),
        ("type:A age:>999999999w", 8, "longer than time"),
        ("due:>999999999w", 1, "longer than time"),
        ("paused:perhaps", 1, "yes or no"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_column(text: str, column: int, says: str) -> None:
    with pytest.raises(InputError, match=f"column {column}: .*{says}"):
        parsed(text, NOW)


@pytest.mark.parametrize(
    "text", ['error:"503"', "state:shipped", "age:>1d", "-type:A", "-status:stuck age:<1d"]
)
def test_what_no_index_answers_is_refused_with_what_to_add(text: str) -> None:
    with pytest.raises(InputError, match="would read every saga: add one of type:"):
        parsed(text, NOW)
    assert len(parsed(f"{text} status:stuck", NOW)) == len(text.split()) + 1


@given(st.text(max_size=40))
def test_whatever_is_typed_is_terms_or_an_error_with_a_column(text: str) -> None:
    try:
        said = f"column {len(parsed(text, NOW))}"
    except InputError as error:
        said = str(error)
    assert said.startswith("column ")


@given(st.lists(st.text(min_size=1, max_size=12).filter(lambda t: "\x00" not in t), min_size=1, max_size=4))
def test_any_text_can_be_a_value_when_it_is_quoted(values: list[str]) -> None:
    quoted = ",".join('"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' for value in values)
    assert parsed(f"key:{quoted}", NOW) == (Term(field="key", values=tuple(values)),)
