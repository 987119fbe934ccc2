"""A client of the HTTP API under load: it starts sagas and looks at them, and remembers every answer."""

import asyncio
import random
import statistics
import time
from collections import Counter
from typing import Any

from sagacity.errors import Unavailable
from sagacity.model.record import Status
from tests.chaos.flows.town import Http
from tests.chaos.harness.load import History
from tests.chaos.harness.report import Report

BUDGET = 10.0
"""Seconds that the API may wait for its database; what takes longer counts as failed."""

_MARGIN = 2.0


class Client:
    """Calls at an even rate, whether or not earlier ones have been answered."""

    def __init__(self, url: str, inputs: list[dict[str, Any]], chance: random.Random) -> None:
        self._http = Http(url)
        self._inputs = {one["name"]: one for one in inputs}
        self._waiting = list(inputs)[::-1]
        self._chance = chance
        self.history = History()
        self.enough = asyncio.Event()
        self.took: list[float] = []
        self.failed: list[str] = []
        self.statuses: Counter[str] = Counter()
        self.stored: list[float] = []

    @property
    def acked(self) -> list[str]:
        return self.history.keys("ok")

    @property
    def wanted(self) -> dict[str, Status]:
        sent = set(self.history.keys("invoke"))
        ends = {True: Status.ROLLED_BACK, False: Status.COMMITTED}
        return {name: ends[bool(one["refused"])] for name, one in self._inputs.items() if name in sent}

    def input(self, key: str) -> dict[str, Any]:
        return self._inputs[key]

    async def load(self, per_second: float) -> None:
        """Call until `enough` is set; return when every call has its answer.

        What a starved client did not send in its half second is not sent later in a heap.
        """
        due = time.monotonic()
        async with asyncio.TaskGroup() as group:
            while not self.enough.is_set():
                due = max(due, time.monotonic() - 0.5)
                while due <= time.monotonic():
                    group.create_task(self._call())
                    due += 1 / per_second
                await asyncio.sleep(0.01)

    async def _call(self) -> None:
        draw = self._chance.random()
        known = self.history.keys("ok") if draw >= 0.3 else []
        if not known:
            await self._start(self._waiting.pop())
        elif draw < 0.9:
            key = self._chance.choice(known)
            await self._ask("show", key, f"/v1/sagas/{key}?definition=Chain")
        else:
            await self._ask("list", "", "/v1/sagas?limit=5")

    async def _start(self, one: dict[str, Any]) -> None:
        body = {"definition": "Chain", "input": one}
        if await self._ask("start", one["name"], "/v1/sagas", good=201, body=body):
            self.stored.append(time.monotonic())

    async def _ask(self, call: str, key: str, path: str, *, good: int = 200, body: Any = None) -> bool:
        method = "GET" if body is None else "POST"
        began = time.monotonic()
        self.history.note("invoke", call, key)
        try:
            async with asyncio.timeout(BUDGET + _MARGIN):
                headers = "content-type: application/json\r\n" if body is not None else ""
                status, said = await self._http.ask(method, path, headers, body)
        except (OSError, EOFError, TimeoutError, Unavailable) as error:
            self.history.note("info", call, key, error=repr(error))
            self.failed.append(f"{call} {key}: {error!r}")
            self.statuses[f"{call} lost"] += 1
            return False
        self.took.append(time.monotonic() - began)
        self.statuses[f"{call} {status}"] += 1
        if status == good:
            self.history.note("ok", call, key, status=status)
            return True
        self.history.note("info" if status >= 500 else "fail", call, key, status=status, said=said)
        self.failed.append(f"{call} {key}: {status} {said}")
        return False

    def judge(self, report: Report, opened: list[float]) -> None:
        """No call failed. `opened`: when each restart of the database let connections in."""
        report.figure("API requests", sum(self.statuses.values()))
        report.figure("answers", dict(sorted(self.statuses.items())))
        report.figure("failed API requests", len(self.failed))
        for what in self.failed[:10]:
            report.blame(f"failed request: {what}")
        report.figure("request, median ms", 1000 * statistics.median(self.took))
        report.figure("request, longest s", max(self.took))
        waits = [min((t for t in self.stored if t > at), default=at) - at for at in opened]
        report.figure("first commit after the socket opened, median s", statistics.median(waits or [0.0]))
        report.figure("first commit after the socket opened, longest s", max(waits, default=0.0))
