"""How one effect is made good, as a class of its own.

`run` gets the saga's input, what the step returned, and the externals it names, all by type.
A result of None means that nobody knows whether the effect happened; only a compensation that
declares itself safe on nothing is ever called so, because undoing what never happened pays out money.
"""

import inspect
from datetime import timedelta
from typing import Any, ClassVar

from sagacity.definition.flow import Retry
from sagacity.definition.params import Wish, wishes_of
from sagacity.definition.registry import REGISTRY, place_of
from sagacity.definition.retries import DEFAULT_TIMEOUT, UNDO_STOP, RetrySpec, retry_of
from sagacity.errors import DefinitionError, Fault


class Compensation:
    """Makes one effect good. Subclasses write `run(self, input, result, externals…)`.

    Attributes:
        safe_on_nothing: it may run although the effect may never have happened (the result is then None).
        retry: by default ten attempts with exponential waits; after the last the saga is stuck.
        timeout: how long one attempt may take.
        wishes: what `run` takes, resolved.
    """

    safe_on_nothing: ClassVar[bool] = False
    retry: ClassVar[Retry]
    timeout: ClassVar[timedelta] = DEFAULT_TIMEOUT
    wishes: ClassVar[tuple[Wish, ...]] = ()

    def __init_subclass__(
        cls,
        *,
        safe_on_nothing: bool = False,
        retry: RetrySpec = None,
        timeout: Any = DEFAULT_TIMEOUT,
        **options: Any,
    ) -> None:
        super().__init_subclass__(**options)
        faults: list[Fault] = []

        def blame(what: str, fix: str, *, name: str = "run") -> None:
            faults.append(Fault(where=place_of(cls), name=name, what=what, fix=fix))

        cls.safe_on_nothing = safe_on_nothing
        cls.retry = retry_of(retry, blame, stop=UNDO_STOP)
        cls.timeout = timeout
        if not isinstance(timeout, timedelta) or timeout <= timedelta(0):
            blame(f"timeout={timeout!r} is no span of time.", "Give a `timedelta` above zero.")
        run = inspect.getattr_static(cls, "run", None)
        if inspect.isfunction(run):
            cls.wishes = wishes_of(run, dict(vars(cls)), lambda n, w, f: blame(w, f, name=n)).params
        else:
            blame(
                "it has no method `run`.",
                "Write `async def run(self, order: …, result: …, payments: Payments) -> None`.",
            )
        if faults:
            raise DefinitionError(faults)
        REGISTRY.add("compensations", cls.__name__, cls)
