"""The fixture that a user's own tests rehearse with."""

import pytest

from sagacity.dry import Arrival, Script
from sagacity.testing.rehearsing import Rehearsal, rehearsal
from tests.dry.flows import Forgetful, Sale

pytestmark = pytest.mark.simulation

__all__ = ["rehearsal"]


async def test_a_sound_flow_passes(rehearsal: Rehearsal) -> None:
    found = await rehearsal.is_sound(Sale, {"show": "lear"})
    assert len(found.paths) > 20
    report = await rehearsal.run(Sale, {"show": "lear"})
    assert report.ok


async def test_a_flow_with_a_gap_fails_with_its_table(rehearsal: Rehearsal) -> None:
    with pytest.raises(AssertionError, match="must not go live"):
        await rehearsal.is_sound(Forgetful, {"show": "lear"})


async def test_a_flow_that_does_not_end_as_it_should_fails(rehearsal: Rehearsal) -> None:
    never = Script(signals={"consent": Arrival(never=True)})
    with pytest.raises(AssertionError, match="where nothing fails it would roll back"):
        await rehearsal.is_sound(Sale, {"show": "lear"}, script=never)
    await rehearsal.is_sound(Sale, {"show": "lear"}, script=never, ends="would roll back")
