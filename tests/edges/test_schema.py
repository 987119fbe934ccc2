"""The API against its own description, as every role: whatever is sent, nothing is a 5xx."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

from sagacity.definition.project import Project
from sagacity.model.operating import Role
from sagacity.orchestrator import Orchestrator
from sagacity.web.server import hosted
from tests.edges.guarded import Guarded
from tests.edges.shop import Shop

EXAMPLES = 2
"""Calls for each operation and role: the gate has a minute for all of it."""
ROLES = (Role.VIEWER, Role.SENIOR, Role.APPROVER, Role.ADMIN)
"""Senior stands for operator too: it has all that an operator has."""


class Served:
    """The API on a socket, in a thread of its own, with a token for each role."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self.url = ""
        self.tokens: dict[Role, str] = {}
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve()))

    async def _serve(self) -> None:
        project = Project.load(f"{self._shop.module}.py", folder=self._shop.folder)
        wanted = [flow.cls for name, flow in project.flows.items() if name != "Distant"]
        try:
            async with await Orchestrator.open(
                "sqlite:///sagacity.db", project=Project.of(*wanted), accept_loss=True
            ) as sagas:
                guarded = Guarded(sagas)
                self.tokens = {role: await guarded.token(role, role, kind="person") for role in ROLES}
                await sagas.start("Order", {"order_id": "o1", "amount": "1"})
                async with hosted(sagas, settings=guarded.app.state.settings) as url:
                    self.url = url
                    self._ready.set()
                    await self._over.wait()
        finally:
            self._ready.set()

    def __enter__(self) -> "Served":
        self._thread.start()
        self._ready.wait(60)
        assert self.url, "it did not start"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def served(shop: Shop) -> Iterator[Served]:
    with Served(shop) as found:
        yield found


SKIPPED = ("/v1/events", "/v1/sagas/{ref}/outcome")
"""A stream, and a call that waits: each has tests of its own."""


@pytest.mark.parametrize("role", ROLES)
def test_no_call_of_any_role_is_a_server_error_and_every_answer_is_described(
    served: Served, role: Role
) -> None:
    headers = {"authorization": f"Bearer {served.tokens[role]}"}
    schema = schemathesis.openapi.from_url(f"{served.url}/v1/openapi.json", headers=headers)
    judged = 0
    for found in schema.get_all_operations():
        operation: Any = found.ok()  # type: ignore[union-attr]
        if operation.path not in SKIPPED:
            judged += 1
            for mode in GenerationMode:
                judge(operation, mode, headers)
    assert judged > 25


def judge(operation: Any, mode: GenerationMode, headers: dict[str, str]) -> None:
    """Send some calls that fit (or do not), and look at the answers."""
    described = operation.definition.raw["responses"]

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def call(case: Any) -> None:
        answer = case.call(headers=headers, timeout=30)
        told = (operation.label, answer.status_code, answer.text[:500])
        assert answer.status_code < 500, told
        assert str(answer.status_code) in described, told
        kind = answer.headers.get("content-type", [""])[0].partition(";")[0]
        if answer.status_code >= 400:
            assert kind == "application/problem+json", told
        elif answer.status_code != 304:
            assert kind in ("application/json", "text/plain", "text/plain; version=0.0.4"), told

    try:
        call()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE, "nothing fits what the call is described as"
