"""T2 in the gate: whatever is done, the engine and a model of two pages agree about what came of it."""

import pytest

from tests.chaos import reference
from tests.chaos.t02 import model_based


def test_engine_and_reference_model_agree() -> None:
    model_based(20, steps=30)


def test_a_model_that_is_wrong_is_contradicted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "ATTEMPTS", 1)
    with pytest.raises(AssertionError):
        model_based(100, steps=10)
