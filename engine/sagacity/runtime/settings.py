"""How a worker behaves, in one place; every duration is a `timedelta`."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """Settings of one worker process.

    Attributes:
        name: shown to operators.
        lease: how long a worker may be silent before others take over its sagas; at least 1 s.
        poll: how often to look for work when no hint comes.
        sweep: how often to look for dead workers, unrung bells and lock cycles.
        concurrency: sagas at once.
        batch: units in one batch at the most.
        threads: threads for plain (not async) steps.
        own_chains: connections for commits that touch the user's own tables.
        short_sleep: waits up to this are held in memory instead of being put into the database.
        takeovers: how often in a row a saga may take its worker down with it before it is stuck; at least 1.
            From the second on such sagas are driven one at a time, so that the guilty one stands alone.
        anchor_every: time between two anchors, where the worker was given a place for them.
        attention_every: time between two looks for what came to need a human with time, where somebody is
            to be told.
        notices: put ends (committed, rolled back, stuck) into the outbox for listeners.
    """

    name: str = "worker"
    lease: timedelta = timedelta(seconds=15)
    poll: timedelta = timedelta(milliseconds=100)
    sweep: timedelta = timedelta(milliseconds=500)
    concurrency: int = 200
    batch: int = 200
    threads: int = 16
    own_chains: int = 2
    short_sleep: timedelta = timedelta(seconds=1)
    takeovers: int = 5
    anchor_every: timedelta = timedelta(seconds=60)
    attention_every: timedelta = timedelta(seconds=30)
    notices: bool = False
