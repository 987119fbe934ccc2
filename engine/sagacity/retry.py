"""When to try again.

Tenacity's strategies are pure functions of an attempt, so a durable engine can ask
"how long?" without anybody sleeping: the answer becomes a due time in the database.
"""

from datetime import datetime, timedelta

from tenacity import Future, RetryCallState

from sagacity.definition.flow import Retry


def retry_at(
    retry: Retry,
    *,
    attempt: int,
    since: datetime,
    now: datetime,
    error: str,
    wish: timedelta | None = None,
) -> datetime | None:
    """When the next attempt is due, or None: the strategy stops.

    Args:
        retry: the strategies.
        attempt: the one that has just failed, from 1.
        since: when the first attempt began.
        now: the present instant.
        error: what went wrong, for strategies that look at it.
        wish: the outside's own wish (`Retry-After`); it replaces the strategy's wait, never its stop.
    """
    state = RetryCallState(retry_object=None, fn=None, args=(), kwargs={})  # type: ignore[arg-type]
    state.attempt_number = attempt
    state.start_time = 0.0
    state.outcome_timestamp = max(0.0, (now - since).total_seconds())
    state.idle_for = 0.0
    outcome = Future(attempt)
    outcome.set_exception(RuntimeError(error))
    state.outcome = outcome
    delay = wish.total_seconds() if wish is not None else float(retry.wait(state))
    state.upcoming_sleep = delay
    if retry.stop(state):
        return None
    return now + timedelta(seconds=max(0.0, delay))
