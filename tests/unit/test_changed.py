"""A changed copy is what `dataclasses.replace` would make, and nothing else is touched."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from sagacity.model.changed import changed
from sagacity.model.record import Phase, Run

RUN = Run(step="charge", phase=Phase.OPEN, since=datetime(2026, 1, 1, tzinfo=UTC))


def test_a_changed_copy_is_the_one_that_the_library_makes() -> None:
    assert changed(RUN, attempt=2, error="late") == replace(RUN, attempt=2, error="late")


def test_the_original_stays_as_it_was() -> None:
    copy = changed(RUN, attempt=2)
    assert (RUN.attempt, copy.attempt, copy.step) == (1, 2, "charge")
    assert hash(copy) == hash(replace(RUN, attempt=2))


def test_a_field_that_it_does_not_have_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="Run has no field tries"):
        changed(RUN, tries=2)  # type: ignore[call-arg]
