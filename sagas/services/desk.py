"""How every outside service takes a call: once per key, never after its own undo, always on record.

The ledger line is written before the answer leaves, and the answer is a function of that line alone. So a
repeated key gets the same answer from a service that was killed and started again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from uuid import UUID, uuid5

from sagas.services.ledger import Entry, Kind, Ledger

NAMESPACE = UUID("b5f0c3f2-6f0e-5b7e-9d57-0a3c64f2a1de")
"""Everything a service names (bookings, charges, hooks) is a UUIDv5 in here, so that it never changes."""

Body = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request for an effect, or for its undo when `undoes` names the forward key."""

    action: str
    key: str
    about: str
    undoes: str | None = None
    amount: str | None = None
    source: str | None = None
    target: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An HTTP status and its JSON body."""

    status: int
    body: Body


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One endpoint that changes something.

    `about` names the field that says what the call is for, `needs` the other fields it must have; `reference`
    is the field under which a landed effect is named; `shown` maps further fields of the answer to the
    attributes of the entry that fill them. `undo` is `None` where the header alone decides (the bank).
    """

    path: str
    action: str
    about: str
    undo: bool | None
    needs: tuple[str, ...] = ()
    reference: str | None = None
    shown: Mapping[str, str] = field(default_factory=dict)


OFFERS: dict[str, tuple[Offer, ...]] = {
    "warehouse": (
        Offer(
            path="/reservations",
            action="reserve",
            about="order_id",
            undo=False,
            reference="reservation_id",
            shown={"order_id": "about"},
        ),
        Offer(path="/releases", action="release", about="order_id", undo=True),
    ),
    "payments": (
        Offer(
            path="/charges",
            action="charge",
            about="order_id",
            undo=False,
            needs=("customer_id", "amount"),
            reference="charge_id",
            shown={"amount": "amount"},
        ),
        Offer(path="/refunds", action="refund", about="order_id", undo=True, needs=("amount",)),
    ),
    "carrier": (
        Offer(path="/bookings", action="book", about="order_id", undo=False, reference="booking_id"),
        Offer(path="/cancellations", action="cancel", about="order_id", undo=True),
    ),
    "bank": (
        Offer(
            path="/transfers",
            action="transfer",
            about="transfer_id",
            undo=None,
            needs=("source", "target", "amount"),
            reference="bank_reference",
        ),
    ),
    "clusters": (
        Offer(
            path="/deprovisions",
            action="deprovision",
            about="cluster_id",
            undo=False,
            shown={"cluster_id": "about"},
        ),
        Offer(
            path="/provisions",
            action="provision",
            about="cluster_id",
            undo=True,
            shown={"cluster_id": "about"},
        ),
    ),
}


def made_id(*parts: str) -> str:
    """Make the id that stands for these parts, the same in every process."""
    return str(uuid5(NAMESPACE, "\n".join(parts)))


def problem(status: int, title: str, detail: str) -> Reply:
    """Make an RFC 9457 answer."""
    return Reply(
        status=status, body={"type": "about:blank", "title": title, "status": status, "detail": detail}
    )


def reply_for(entry: Entry, offer: Offer) -> Reply:
    """Answer a call from its ledger line; a repeat is answered from the line it repeats."""
    if entry.kind in ("refused", "late"):
        title = "Refused" if entry.kind == "refused" else "Undone before it arrived"
        return problem(409, title, entry.detail or title)
    landed = entry.kind in ("done", "undone")
    body: Body = {}
    if offer.reference is not None:
        body[offer.reference] = made_id(offer.reference, entry.key) if landed else None
    for name, attribute in offer.shown.items():
        body[name] = getattr(entry, attribute)
    if entry.undoes is not None:
        body["undone"] = landed
    made = landed and (entry.kind == "done" or offer.undo is None)
    return Reply(status=201 if made else 200, body=body)


class Desk:
    """Takes the calls of one service and remembers each by its key.

    `refuse` says why a forward call is refused, or `None`; `landed` is told of every forward effect, again
    after a restart, before the call is answered.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        service: str,
        refuse: Callable[[Call], str | None],
        landed: Callable[[Entry], None],
    ) -> None:
        self._ledger = ledger
        self._offers = {offer.action: offer for offer in OFFERS[service]}
        self._refuse = refuse
        self._landed = landed
        self._first: dict[str, Entry] = {}
        self._undone: dict[str, Entry] = {}
        self._barred: set[str] = set()
        for entry in ledger.entries:
            self._remember(entry)

    def take(self, call: Call) -> Reply:
        """Do what is asked, or what was answered before; the line stands in the ledger first."""
        known = self._first.get(call.key)
        if known is not None and not _is_same(known, call):
            return problem(
                422,
                "Key used twice",
                f"key {call.key!r} already stands for another call ({known.action} {known.about}): "
                "use a key of its own for every effect",
            )
        kind, detail = ("repeat", None) if known is not None else self._judge(call)
        entry = self._record(call, kind=kind, detail=detail)
        self._remember(entry)
        return self._reply(call.key)

    def probe(self, key: str) -> Body:
        """Say whether a call under `key` landed, and what it was answered then."""
        entry = self._first.get(key)
        if entry is None or entry.kind in ("refused", "late"):
            return {"landed": False}
        return {"landed": True, "answer": self._reply(key).body}

    def _judge(self, call: Call) -> tuple[Kind, str | None]:
        if call.undoes is None:
            if call.key in self._barred:
                return "late", f"the undo of {call.key!r} came before it"
            detail = self._refuse(call)
            return ("done", None) if detail is None else ("refused", detail)
        if call.undoes in self._undone:
            return "repeat", None
        forward = self._first.get(call.undoes)
        return ("undone" if forward is not None and forward.kind == "done" else "empty"), None

    def _record(self, call: Call, *, kind: Kind, detail: str | None) -> Entry:
        return self._ledger.append(
            action=call.action,
            kind=kind,
            key=call.key,
            undoes=call.undoes,
            about=call.about,
            amount=call.amount,
            source=call.source,
            target=call.target,
            detail=detail,
        )

    def _remember(self, entry: Entry) -> None:
        if entry.kind == "repeat":
            # A second undo under a key of its own is answered like the first one.
            if entry.undoes in self._undone:
                self._first.setdefault(entry.key, self._undone[entry.undoes])
            return
        self._first[entry.key] = entry
        if entry.kind == "done":
            self._landed(entry)
        elif entry.undoes is not None and entry.kind == "undone":
            self._undone[entry.undoes] = entry
        elif entry.undoes is not None:
            self._barred.add(entry.undoes)

    def _reply(self, key: str) -> Reply:
        entry = self._first[key]
        return reply_for(entry, self._offers[entry.action])


def _is_same(known: Entry, call: Call) -> bool:
    asked = (call.action, call.undoes, call.about, call.amount, call.source, call.target)
    return asked == (known.action, known.undoes, known.about, known.amount, known.source, known.target)
