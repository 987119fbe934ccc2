"""Externals that answer from their mocks, and remember what they were asked."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sagacity.definition.external import External


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """One call that a mocked external answered. `key` is the idempotency key; None for a read."""

    external: str
    call: str
    args: tuple[Any, ...]
    key: str | None


class Mocks(dict[str, External]):
    """Externals by name, as a `Worker` takes them.

    Attributes:
        calls: what was called, in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Called] = []


def mocked(*externals: type[External], instead: Mapping[type[External], Any] | None = None) -> Mocks:
    """Instances of `externals` whose effects and reads are answered by their `Mock`.

    A mock's method gets `key` and `undoes` if it takes them. Where the mock has a `probe`, that is asked
    too; otherwise a probe does not know.

    Args:
        externals: their classes.
        instead: class → an object that answers in place of that class's `Mock`.

    Raises:
        TypeError: a class has no mock, or what answers lacks a declared call.
    """
    mocks = Mocks()
    for cls in externals:
        mock = (instead or {}).get(cls)
        if mock is None:
            if cls.Mock is None:
                raise TypeError(f"{cls.__name__} has no mock: declare `class Mock:` in it")
            mock = cls.Mock()
        mocks[cls.name] = _answering(cls, mock, mocks.calls)
    return mocks


def _answering(cls: type[External], mock: Any, calls: list[Called]) -> External:
    # Not made by `connect` and not by `__init__`: those would open connections.
    instance = object.__new__(cls)
    answers: dict[str, Any] = vars(instance)
    for name in (*cls.effects, *cls.reads):
        if not callable(getattr(mock, name, None)):
            raise TypeError(f"{type(mock).__name__} cannot answer {cls.__name__}.{name}: give it that method")
        answers[name] = _answer(cls.name, name, getattr(mock, name), calls)
    answers["probe"] = getattr(mock, "probe", _unknown)
    answers["close"] = _closed
    return instance


def _answer(external: str, name: str, method: Callable[..., Any], calls: list[Called]) -> Any:
    takes = inspect.signature(method).parameters

    async def answer(*args: Any, **named: Any) -> Any:
        calls.append(Called(external=external, call=name, args=args, key=named.get("key")))
        extra = {n for n in ("key", "undoes") if n not in takes}
        value = method(*args, **{n: v for n, v in named.items() if n not in extra})
        return await value if inspect.isawaitable(value) else value

    return answer


async def _unknown(key: str) -> None:
    del key


async def _closed() -> None:
    return None
