"""The HTTP face of one outside service.

Thin on purpose: it reads a request into a `Call`, hands it to the desk and sends the answer. Whatever must
hold about keys, undos and hooks is decided elsewhere, without HTTP.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sagas.services.desk import OFFERS, Body, Call, Desk, Offer, Reply, made_id, problem
from sagas.services.hooks import Hook, Outlet
from sagas.services.ledger import Entry, Ledger
from sagas.services.playback import (
    CALLED_OFF,
    PlayedOrder,
    after_booking,
    after_charge,
    declined,
    unavailable,
)

Handler = Callable[[Request], Awaitable[Response]]
_MONEY_LIMIT = Decimal(10) ** 15


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What the services are told about the world they play.

    An order that is not in `orders` is served like one that stopped right after it was placed: nothing is
    refused and no signal follows. `bank_refuses` is a fraction from 0 to 1; `slow` is in seconds.
    """

    orders: dict[str, PlayedOrder]
    bank_refuses: float = 0.0
    slow: float = 0.2


class BadCallError(Exception):
    """A request that no service would take; nothing was recorded and the caller must change it."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


def bank_refuses(transfer_id: str, *, fraction: float) -> bool:
    """Say whether the bank refuses this transfer: the same ones every time, about `fraction` of them all."""
    drawn = int.from_bytes(hashlib.sha256(transfer_id.encode()).digest()[:8], "big")
    return drawn < fraction * 2**64


class Service:
    """One outside service: its ledger, its desk, its outlet for hooks and its routes."""

    def __init__(self, *, name: str, folder: Path, world: World, hooks: str | None) -> None:
        """Open the files in `folder` and go on from what stands in them."""
        self.name = name
        self.outlet = Outlet(folder, service=name, url=hooks)
        self._world = world
        self._ledger = Ledger(folder / f"{name}.jsonl", service=name)
        self._desk = Desk(self._ledger, service=name, refuse=self._refuse, landed=self._landed)
        self._calls = 0
        self._refuses: dict[str, str] = {}

    def app(self) -> Starlette:
        """Make the ASGI application."""
        effects = [Route(offer.path, self._taker(offer), methods=["POST"]) for offer in OFFERS[self.name]]
        return Starlette(
            routes=[
                *effects,
                Route("/effects/{key:path}", self._probe),
                Route("/pending", self._pending),
                Route("/hooks", self._hooks, methods=["PUT"]),
                Route("/refuses", self._told_to_refuse, methods=["PUT"]),
                Route("/ledger", self._whole_ledger),
                Route("/health", self._health),
            ]
        )

    def _refuse(self, call: Call) -> str | None:
        if self.name == "bank":
            refused = bank_refuses(call.about, fraction=self._world.bank_refuses)
            return f"the bank refuses transfer {call.about}" if refused else None
        order = self._world.orders.get(call.about)
        if order is None:
            return None
        if call.action == "reserve":
            return unavailable(order)
        return declined(order) if call.action == "charge" else None

    def _landed(self, entry: Entry) -> None:
        order = self._world.orders.get(entry.about)
        if order is None or entry.action not in ("charge", "book"):
            return
        names = after_charge(order) if entry.action == "charge" else after_booking(order)
        self.outlet.owe(_hook(entry, name) for name in names)

    def _taker(self, offer: Offer) -> Handler:
        async def take(request: Request) -> Response:
            self._calls += 1
            try:
                call = read_call(request, await request.body(), offer)
                if offer.action in self._refuses:
                    return _send(problem(409, "Refused", self._refuses[offer.action]))
                if offer.action == "deprovision":
                    # Slow before it decides: an undo that overtakes the call bars it, as in life.
                    await asyncio.sleep(self._world.slow)
                return _send(self._desk.take(call))
            except BadCallError as fault:
                return _send(problem(fault.status, "Bad call", str(fault)))
            finally:
                self._calls -= 1

        return take

    async def _probe(self, request: Request) -> Response:
        return _json(self._desk.probe(request.path_params["key"]))

    async def _pending(self, _: Request) -> Response:
        return _json({"owed": self.outlet.owed + self._calls})

    async def _hooks(self, request: Request) -> Response:
        try:
            url = _object(await request.body()).get("url")
            if url is not None and not isinstance(url, str):
                raise ValueError(f"{url!r} is not an address")
            self.outlet.point_at(url)
        except (BadCallError, ValueError) as fault:
            return _send(problem(422, "Bad address", str(fault)))
        return _json({"url": self.outlet.url, "owed": self.outlet.owed})

    async def _told_to_refuse(self, request: Request) -> Response:
        """From now on refuse these actions, each for its reason; nothing of it stands in the ledger."""
        try:
            asked = _object(await request.body())
            self._refuses = {action: _text(asked, action) for action in asked}
        except BadCallError as fault:
            return _send(problem(fault.status, "Bad call", str(fault)))
        return _json({"refuses": list(self._refuses)})

    async def _whole_ledger(self, _: Request) -> Response:
        return Response(self._ledger.path.read_bytes(), media_type="application/x-ndjson")

    async def _health(self, _: Request) -> Response:
        return _json({"service": self.name, "healthy": True})


def read_call(request: Request, body: bytes, offer: Offer) -> Call:
    """Read a request into a call.

    Raises:
        BadCallError: 400 for a missing header, 422 for a body with a field missing or of the wrong kind.
    """
    key, undoes = request.headers.get("idempotency-key"), request.headers.get("undoes")
    if not key:
        raise BadCallError(400, "every effect needs the header Idempotency-Key")
    if offer.undo is True and not undoes:
        raise BadCallError(400, f"{offer.path} undoes something: name its key in the header Undoes")
    if offer.undo is False and undoes:
        raise BadCallError(400, f"{offer.path} undoes nothing: leave the header Undoes out")
    fields = _object(body)
    for name in (offer.about, *offer.needs):
        if not fields.get(name):
            raise BadCallError(422, f"the field {name} is missing")
    return Call(
        action=offer.action,
        key=key,
        undoes=undoes or None,
        about=_text(fields, offer.about),
        amount=exact(fields["amount"]) if "amount" in offer.needs else None,
        source=_text(fields, "source") if "source" in offer.needs else None,
        target=_text(fields, "target") if "target" in offer.needs else None,
    )


def exact(amount: object) -> str:
    """Read an amount of money as an exact decimal string, without an exponent.

    Raises:
        BadCallError: it is a float, not a number, not above zero, or too large to be money.
    """
    if not isinstance(amount, str | int) or isinstance(amount, bool):
        raise BadCallError(422, f"amount {amount!r} is not exact: send a decimal string")
    try:
        number = Decimal(amount)
    except InvalidOperation:
        raise BadCallError(422, f"amount {amount!r} is not a decimal number") from None
    if not number.is_finite() or not 0 < number < _MONEY_LIMIT:
        raise BadCallError(422, f"amount {amount!r} is not an amount of money above zero")
    return format(number, "f")


def _object(body: bytes) -> dict[str, object]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as fault:
        raise BadCallError(422, f"the body is not JSON: {fault}") from None
    if not isinstance(value, dict):
        raise BadCallError(422, "the body is not a JSON object")
    return value


def _text(fields: dict[str, object], name: str) -> str:
    value = fields[name]
    if not isinstance(value, str):
        raise BadCallError(422, f"the field {name} is not a string")
    return value


def _hook(entry: Entry, name: str) -> Hook:
    told = {"order_id": entry.about}
    if name == CALLED_OFF:
        told["reason"] = "the carrier called the shipment off"
    return Hook(id=made_id("hook", entry.key, name), key=entry.about, name=name, data=told)


def _send(reply: Reply) -> Response:
    if "detail" in reply.body:
        return _json(reply.body, status=reply.status, media_type="application/problem+json")
    return _json(reply.body, status=reply.status)


def _json(body: Body, *, status: int = 200, media_type: str = "application/json") -> Response:
    return Response(orjson.dumps(body), status_code=status, media_type=media_type)
