"""What a flow says about trying again, made into one `Retry`.

Tenacity's strategies are asked as pure functions of an attempt and nobody sleeps on them. So
only strategies whose answer depends on the attempt alone are taken: chance would make two
workers disagree, and an event in memory is gone after a crash.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any

from tenacity import (
    stop_after_attempt,
    stop_all,
    stop_any,
    stop_never,
    stop_when_event_set,
    wait_chain,
    wait_combine,
    wait_exponential,
    wait_exponential_jitter,
    wait_random,
    wait_random_exponential,
)
from tenacity.stop import stop_base
from tenacity.wait import wait_base

from sagacity.definition.flow import Retry

RetrySpec = stop_base | wait_base | tuple[stop_base, wait_base] | Mapping[str, Any] | None
"""What `retry=` takes: a stop, a wait, a pair of both, or `dict(stop=…, wait=…)`."""

DEFAULT_STOP = stop_after_attempt(5)
UNDO_STOP = stop_after_attempt(10)
DEFAULT_WAIT = wait_exponential(multiplier=0.1, min=0.1, max=60)
DEFAULT_TIMEOUT = timedelta(seconds=30)

_CHANCE = (wait_random, wait_random_exponential, wait_exponential_jitter)
Blame = Callable[[str, str], None]
"""Takes what is wrong and the fix."""


def retry_of(spec: RetrySpec, blame: Blame, *, stop: Any = DEFAULT_STOP) -> Retry:
    """The retry policy that `spec` asks for.

    Args:
        spec: as the user wrote it; None takes the defaults.
        blame: told of what cannot be taken; the default then stands in.
        stop: the stop where `spec` names none.
    """
    wait: Any = DEFAULT_WAIT
    for part in _parts(spec, blame):
        if isinstance(part, stop_base):
            stop = part
        elif isinstance(part, wait_base):
            wait = part
        else:
            blame(
                f"retry={part!r} is not one of tenacity's strategies.",
                "Write `retry=stop_after_attempt(5)`, a wait such as `wait_exponential(max=60)`, or both.",
            )
    _refuse_impure((stop, wait), blame)
    return Retry(stop=stop, wait=wait, gives_up=gives_up(stop))


def _parts(spec: RetrySpec, blame: Blame) -> Iterable[Any]:
    if spec is None:
        return ()
    if isinstance(spec, Mapping):
        unknown = sorted(set(spec) - {"stop", "wait"})
        if unknown:
            blame(f"retry has no {', '.join(unknown)}.", "Give `dict(stop=…, wait=…)`.")
        return tuple(spec[name] for name in ("stop", "wait") if name in spec)
    return spec if isinstance(spec, tuple) else (spec,)


def _refuse_impure(strategies: Iterable[Any], blame: Blame) -> None:
    for strategy in strategies:
        if isinstance(strategy, _CHANCE):
            blame(
                f"{type(strategy).__name__} depends on chance, and a retry's due time must not.",
                "Use `wait_exponential(min=…, max=…)`.",
            )
        if isinstance(strategy, stop_when_event_set):
            blame(
                "stop_when_event_set looks at memory that a crash forgets.",
                "Use `stop_after_attempt(…)` or `stop_after_delay(…)`.",
            )
        _refuse_impure(_inner(strategy), blame)


def _inner(strategy: Any) -> tuple[Any, ...]:
    if isinstance(strategy, stop_any | stop_all):
        return tuple(strategy.stops)
    if isinstance(strategy, wait_combine):
        return tuple(strategy.wait_funcs)
    if isinstance(strategy, wait_chain):
        return tuple(strategy.strategies)
    return ()


def gives_up(stop: Any) -> bool:
    """Whether `stop` ever says stop."""
    if stop is stop_never:
        return False
    if isinstance(stop, stop_any):
        return any(gives_up(inner) for inner in stop.stops)
    if isinstance(stop, stop_all):
        return all(gives_up(inner) for inner in stop.stops)
    return True


def described(strategy: Any) -> Any:
    """A strategy as plain values: its name and what it was made with (for the hash)."""
    inner = _inner(strategy)
    name = type(strategy).__name__
    if inner:
        return [name, [described(item) for item in inner]]
    return [name, {key: str(value) for key, value in sorted(vars(strategy).items()) if not callable(value)}]
