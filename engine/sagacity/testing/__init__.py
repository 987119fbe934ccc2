"""For tests of flows: a clock moved by hand, externals that answer from their mocks, a worker in a block.

Nothing here sleeps for a fixed time. Instants pass because a test says so, and a test goes on
because a fact is there, not because it waited long enough.

```python
async with running(Worker(app.store, project.flows, project.participants, externals=mocked(Payments))):
    handle = await app.start(Order, order)
    view = await settled(app, handle.id)
```

Whole processes, with their database, network and clocks, are simulated: `sagacity.testing.simulation`.
"""

from sagacity.testing.clock import NOON, ManualClock
from sagacity.testing.mocks import Called, Mocks, mocked
from sagacity.testing.running import PATIENCE, running, settled, until

__all__ = ["NOON", "PATIENCE", "Called", "ManualClock", "Mocks", "mocked", "running", "settled", "until"]
