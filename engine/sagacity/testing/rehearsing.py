"""A pytest fixture, so that a user's own tests rehearse and explore their flows.

```python
from sagacity.testing.rehearsing import rehearsal

async def test_an_order_leaves_nothing_standing(rehearsal):
    await rehearsal.is_sound(Order, {"order_id": "A-1", "customer_id": "C-7", "amount": "9.90"})
```
"""

from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from sagacity.dry import Explored, Report, Script, dry_run, explored


class Rehearsal:
    """Dry runs of one test, in its own process and without a store. Arguments as for `dry_run`."""

    async def run(self, definition: Any, input: Any, **given: Any) -> Report:
        """One run; what came of it."""
        return await dry_run(definition, input, here=True, **given)

    async def explore(self, definition: Any, input: Any, **given: Any) -> Explored:
        """All failure points; what each leaves behind."""
        return await explored(definition, input, **given)

    async def is_sound(
        self,
        definition: Any,
        input: Any,
        *,
        ends: str = "would commit",
        mocks: Mapping[Any, Any] | None = None,
        script: Script | None = None,
        objects: Mapping[str, Any] | None = None,
        accept: Iterable[str] = (),
    ) -> Explored:
        """Explore, and fail the test with the whole table where a failure point leaves anything standing.

        Args:
            definition: the flow.
            input: one that shows it whole.
            ends: how it is to end where nothing fails.
            mocks: as for `dry_run`.
            script: as for `dry_run`.
            objects: as for `dry_run`.
            accept: texts of faults whose outcome is accepted, e.g. `undo refund: refused`.
        """
        found = await explored(definition, input, mocks=mocks, script=script, objects=objects)
        accepted = set(accept)
        bad = [path for path in found.failing if not accepted & {str(fault) for fault in path.faults}]
        first = found.paths[0].verdict
        assert first == ends, f"where nothing fails it {first}, not {ends}\n\n{found.text()}"
        assert not bad, found.text()
        return found


@pytest.fixture
def rehearsal() -> Rehearsal:
    """Rehearses flows in this test."""
    return Rehearsal()
