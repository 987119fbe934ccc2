"""Load with a history: every call is an invocation, and then ok, fail, or info (nobody knows).

Whoever judges may trust only `ok`; an `info` may or may not have happened, and both are right.
"""

import asyncio
import json
import random
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sagacity.errors import SagacityError, StoreError
from sagacity.model.record import Status
from sagacity.orchestrator import Orchestrator


@dataclass(slots=True)
class History:
    """What a client saw, in order."""

    lines: list[dict[str, Any]] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    told: dict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))

    def note(self, kind: str, call: str, key: str, **more: Any) -> None:
        """One line: `invoke`, `ok`, `fail` or `info` of a call about `key`."""
        at = round(time.monotonic() - self.began, 4)
        self.lines.append({"type": kind, "f": call, "key": key, "at": at, **more})
        self.told[kind, call].append(key)

    def keys(self, kind: str, call: str = "start") -> list[str]:
        """Keys of the calls that came to this, in order."""
        return self.told[kind, call]

    def write(self, path: Path) -> None:
        path.write_text("".join(json.dumps(line) + "\n" for line in self.lines))


def chains(count: int, chance: random.Random, *, refused: float, seats: int) -> list[dict[str, Any]]:
    """Inputs of `Chain`: some are refused at one of their steps, and they share seats."""
    return [
        {
            "name": f"c{n}",
            "seat": f"s{chance.randrange(seats)}",
            "refused": chance.randint(1, 5) if chance.random() < refused else 0,
        }
        for n in range(count)
    ]


class Feed:
    """Starts sagas at an even rate through the facade."""

    def __init__(
        self, app: Orchestrator, flow: Any, inputs: Iterable[dict[str, Any]], *, per_second: float
    ) -> None:
        self.app = app
        self.flow = flow
        self.inputs = {one["name"]: one for one in inputs}
        self.per_second = per_second
        self.history = History()
        self.enough = asyncio.Event()

    @property
    def acked(self) -> list[str]:
        return self.history.keys("ok")

    @property
    def wanted(self) -> dict[str, Status]:
        """How each must end."""
        ends = {True: Status.ROLLED_BACK, False: Status.COMMITTED}
        return {name: ends[bool(one["refused"])] for name, one in self.inputs.items()}

    def input(self, key: str) -> dict[str, Any]:
        return self.inputs[key]

    async def run(self) -> None:
        """Start them all, or until `enough` is set, in lots, not faster than the rate."""
        waiting = list(self.inputs.values())
        began, sent = time.monotonic(), 0
        while waiting and not self.enough.is_set():
            due = int((time.monotonic() - began) * self.per_second) - sent
            lot, waiting = waiting[: max(0, due)], waiting[max(0, due) :]
            sent += len(lot)
            await self._start(lot)
            await asyncio.sleep(0.1)

    async def _start(self, lot: list[dict[str, Any]]) -> None:
        for one in lot:
            self.history.note("invoke", "start", one["name"])
        try:
            answers = await self.app.start_many(self.flow, [(None, one) for one in lot]) if lot else []
        except StoreError as error:
            for one in lot:
                self.history.note("info", "start", one["name"], error=str(error))
            return
        for one, answer in zip(lot, answers, strict=True):
            if isinstance(answer, SagacityError):
                self.history.note("fail", "start", one["name"], error=str(answer))
            else:
                self.history.note("ok", "start", one["name"], saga=str(answer.id))
