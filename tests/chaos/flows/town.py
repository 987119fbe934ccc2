"""The outside of the chaos tests: one service, reached by HTTP, whose ledger is the judge.

What an answer means is said here: a refusal is final, a call that never left may be tried again, and
everything else leaves the effect's outcome unknown.
"""

from typing import Any, Self
from urllib.parse import quote

import httpx2
from pydantic import BaseModel

from sagacity import External, Refused, Unavailable, effect
from sagacity.definition.external import ExternalSettings, Landed, NotLanded
from sagacity.errors import MissingExternal


class Receipt(BaseModel):
    """What the service answers."""

    number: str


class Till(External):
    """Takes things, and gives them back; it refuses what it is told to refuse."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self._client = client

    @classmethod
    async def connect(cls, settings: ExternalSettings) -> Self:
        if settings.url is None:
            raise MissingExternal(f"set SAGACITY_{cls.name.upper()}_URL")
        limits = httpx2.Limits(max_connections=128, max_keepalive_connections=64)
        return cls(httpx2.AsyncClient(base_url=settings.url, limits=limits, timeout=30, trust_env=False))

    async def close(self) -> None:
        await self._client.aclose()

    async def probe(self, key: str) -> Landed | NotLanded | None:
        answer = await self._client.get(f"/effects/{quote(key, safe='')}")
        said = answer.raise_for_status().json()
        if said["landed"] is None:
            return None
        return Landed(answer=said["answer"]) if said["landed"] else NotLanded()

    @effect(inverse="give_back")
    async def take(self, about: str, step: str, *, refuse: bool = False, key: str) -> Receipt:
        return Receipt(**await self._post(key, None, about=about, action=f"take {step}", refuse=refuse))

    @effect(safe_on_nothing=True)
    async def give_back(self, receipt: Receipt | None, *, key: str, undoes: str) -> None:
        await self._post(key, undoes, about="", action="give back", refuse=False)

    async def _post(self, key: str, undoes: str | None, **body: Any) -> Any:
        headers = {"Idempotency-Key": key} | ({"Undoes": undoes} if undoes else {})
        try:
            answer = await self._client.post("/effects", json=body, headers=headers)
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as fault:
            raise Unavailable(f"{self.name} cannot be reached: {fault}") from None
        if answer.status_code == 409:
            raise Refused(answer.json()["detail"])
        return answer.raise_for_status().json()

    class Mock:
        async def take(self, about: str, step: str, *, refuse: bool = False) -> Receipt:
            return Receipt(number=f"mock-{about}-{step}")

        async def give_back(self, receipt: Receipt | None) -> None:
            return None
