"""The outside services that the reference sagas use: each a class, each method one HTTP call.

The one idea: what an answer means is said here and nowhere else. A refusal is final, a call that never left
may be tried again, and anything else leaves the effect's outcome unknown. Nothing guesses.
"""

from decimal import Decimal
from typing import Any, Self
from urllib.parse import quote

import httpx2
from pydantic import BaseModel

from sagacity import External, ExternalSettings, Landed, NotLanded, Refused, Unavailable, effect
from sagacity.errors import MissingExternal

_REFUSALS = (400, 409, 422)


class Reservation(BaseModel):
    """Goods that the warehouse keeps for an order."""

    reservation_id: str


class Charge(BaseModel):
    """Money that was taken for an order."""

    charge_id: str
    amount: Decimal


class Booking(BaseModel):
    """A parcel that the carrier will fetch."""

    booking_id: str


class Payment(BaseModel):
    """Money that the bank has moved."""

    bank_reference: str


class Deprovisioned(BaseModel):
    """A cluster that is gone."""

    cluster_id: str


class Service(External):
    """What all five have in common: a connection, one way to call, and a probe."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self._client = client

    @classmethod
    async def connect(cls, settings: ExternalSettings) -> Self:
        """Open a pool of connections to the service's address."""
        if settings.url is None:
            raise MissingExternal("it has no address")
        # Connections are kept for the next call; a step's own time limit is shorter than this one.
        limits = httpx2.Limits(max_connections=64, max_keepalive_connections=64)
        return cls(httpx2.AsyncClient(base_url=settings.url, limits=limits, timeout=60, trust_env=False))

    async def close(self) -> None:
        """Close the pool."""
        await self._client.aclose()

    async def probe(self, key: str) -> Landed | NotLanded | None:
        """Ask the service whether the effect with `key` landed."""
        answer = await self._client.get(f"/effects/{quote(key, safe='')}")
        said = answer.raise_for_status().json()
        return Landed(answer=said["answer"]) if said["landed"] else NotLanded()

    async def _post(self, path: str, key: str, undoes: str | None = None, **body: str) -> Any:
        headers = {"Idempotency-Key": key} | ({"Undoes": undoes} if undoes else {})
        try:
            answer = await self._client.post(path, json=body, headers=headers)
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as fault:
            raise Unavailable(f"{self.name} cannot be reached: {fault}") from None
        if answer.status_code in _REFUSALS:
            raise Refused(answer.json()["detail"])
        return answer.raise_for_status().json()


class Warehouse(Service):
    """Keeps goods for an order, and lets them go again."""

    @effect(inverse="release")
    async def reserve(self, order_id: str, *, key: str) -> Reservation:
        """Keep the goods of this order."""
        return Reservation(**await self._post("/reservations", key, order_id=order_id))

    @effect(safe_on_nothing=True)
    async def release(self, order_id: str, *, key: str, undoes: str) -> None:
        """Let the goods go; if nothing was reserved, nothing can be any more."""
        await self._post("/releases", key, undoes, order_id=order_id)

    class Mock:
        """Everything is in stock."""

        async def reserve(self, order_id: str) -> Reservation:
            """There is always enough."""
            return Reservation(reservation_id=f"mock-{order_id}")

        async def release(self, order_id: str) -> None:
            """Nothing was kept."""


class Payments(Service):
    """Takes a customer's money, and gives it back."""

    @effect(inverse="refund")
    async def charge(self, order_id: str, customer_id: str, amount: Decimal, *, key: str) -> Charge:
        """Take the money; whether it was approved comes later, as the signal `payments.approved`."""
        body = {"order_id": order_id, "customer_id": customer_id, "amount": str(amount)}
        return Charge(**await self._post("/charges", key, **body))

    @effect(safe_on_nothing=True)
    async def refund(self, order_id: str, amount: Decimal, *, key: str, undoes: str) -> None:
        """Give the money back; if none was taken, none can be any more."""
        await self._post("/refunds", key, undoes, order_id=order_id, amount=str(amount))

    class Mock:
        """Every customer can pay."""

        async def charge(self, order_id: str, customer_id: str, amount: Decimal) -> Charge:
            """It is always paid."""
            return Charge(charge_id=f"mock-{order_id}", amount=amount)

        async def refund(self, order_id: str, amount: Decimal) -> None:
            """Nothing was taken."""


class Carrier(Service):
    """Fetches parcels and delivers them; tells of both by signal."""

    @effect(inverse="cancel")
    async def book(self, order_id: str, *, key: str) -> Booking:
        """Have the parcel fetched."""
        return Booking(**await self._post("/bookings", key, order_id=order_id))

    @effect(safe_on_nothing=True)
    async def cancel(self, order_id: str, *, key: str, undoes: str) -> None:
        """Call the parcel back, wherever it is; if none was booked, none can be any more."""
        await self._post("/cancellations", key, undoes, order_id=order_id)

    class Mock:
        """The carrier comes at once."""

        async def book(self, order_id: str) -> Booking:
            """It is always fetched."""
            return Booking(booking_id=f"mock-{order_id}")

        async def cancel(self, order_id: str) -> None:
            """Nothing was fetched."""


class Bank(Service):
    """Moves money. It cannot undo: a transfer back is a second transfer, which names the first."""

    @effect
    async def transfer(
        self,
        transfer_id: str,
        source: str,
        target: str,
        amount: Decimal,
        *,
        key: str,
        undoes: str | None = None,
    ) -> Payment:
        """Move `amount` from `source` to `target`."""
        body = {"transfer_id": transfer_id, "source": source, "target": target, "amount": str(amount)}
        said = await self._post("/transfers", key, undoes, **body)
        return Payment(bank_reference=said["bank_reference"] or "")

    class Mock:
        """The bank moves everything."""

        async def transfer(self, transfer_id: str, source: str, target: str, amount: Decimal) -> Payment:
            """It is always moved."""
            return Payment(bank_reference=f"mock-{transfer_id}")


class Clusters(Service):
    """Runs customers' clusters. Taking one down is slow."""

    @effect(inverse="provision")
    async def deprovision(self, cluster_id: str, *, key: str) -> Deprovisioned:
        """Take the cluster down."""
        return Deprovisioned(**await self._post("/deprovisions", key, cluster_id=cluster_id))

    @effect(safe_on_nothing=True)
    async def provision(self, cluster_id: str, *, key: str, undoes: str) -> None:
        """Bring the cluster up again; if it was not taken down, it cannot be any more."""
        await self._post("/provisions", key, undoes, cluster_id=cluster_id)

    class Mock:
        """Clusters vanish at once."""

        async def deprovision(self, cluster_id: str) -> Deprovisioned:
            """It is down at once."""
            return Deprovisioned(cluster_id=cluster_id)

        async def provision(self, cluster_id: str) -> None:
            """It was never down."""
