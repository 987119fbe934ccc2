"""What a small flow must come to, said a second time: no lines, no batches, no leases, no retries to watch.

It knows nothing of the engine. A deal queues for its pot, has a rider sent, waits for `go`, has a token
struck, waits for `close`, and fills the pot by one. Each of its two calls is tried twice at the most.
"""

from dataclasses import dataclass, field
from typing import Literal

Trouble = Literal["no", "busy", "lost"]
"""What one attempt of a call meets: a refusal for good; nobody there; a request that gets lost."""

State = Literal["queued", "sent", "struck", "committed", "rolled_back", "stuck"]
ATTEMPTS = 2


@dataclass(slots=True)
class Deal:
    """One deal.

    Attributes:
        state: queued; sent: it waits for `go`; struck: it waits for `close`; or how it ended.
        troubles: call → what its next attempts meet.
        mail: signals that came before they were awaited.
        stubborn: its token cannot be taken back for now.
        standing: its effects outside that were not taken back.
    """

    name: str
    pot: str
    troubles: dict[str, list[Trouble]] = field(default_factory=dict)
    state: State = "queued"
    mail: list[str] = field(default_factory=list)
    stubborn: bool = False
    standing: set[str] = field(default_factory=set)

    @property
    def over(self) -> bool:
        """Nothing moves it any more."""
        return self.state in ("committed", "rolled_back")


class Town:
    """All deals and pots. After each call everything has happened that can happen by itself."""

    def __init__(self) -> None:
        self.deals: dict[str, Deal] = {}
        self.totals: dict[str, int] = {}
        self.queues: dict[str, list[str]] = {}

    # --- what people do -------------------------------------------------------------------------------

    def start(self, name: str, pot: str, *, ride: list[Trouble], strike: list[Trouble]) -> None:
        """A deal comes in."""
        self.deals[name] = Deal(name, pot, {"ride": list(ride), "strike": list(strike)})
        queue = self.queues.setdefault(pot, [])
        queue.append(name)
        if len(queue) == 1:
            self._begin(self.deals[name])

    def signal(self, name: str, signal: str) -> None:
        """`go` or `close` is said; what comes early is kept."""
        deal = self.deals[name]
        if not deal.over and deal.state != "stuck":
            deal.mail.append(signal)
            self._go_on(deal)

    def cancel(self, name: str) -> None:
        """It is not wanted any more: all is taken back, or it is stuck where that cannot be."""
        deal = self.deals[name]
        if deal.state in ("queued", "sent", "struck"):
            self._back(deal)

    def retry(self, name: str) -> None:
        """An operator has mended what was stubborn, and sends a stuck deal on."""
        deal = self.deals[name]
        deal.stubborn = False
        if deal.state == "stuck":
            self._back(deal)

    def days_pass(self) -> None:
        """Nobody has said anything for longer than any deal waits."""
        waiting = [deal for deal in self.deals.values() if deal.state in ("sent", "struck")]
        for deal in waiting:
            self._back(deal)
        # Whoever came to the front only now has waited for less than a day.

    # --- what happens by itself -----------------------------------------------------------------------

    def _begin(self, deal: Deal) -> None:
        if self._called(deal, "ride"):
            deal.state = "sent"
            self._go_on(deal)
        else:
            self._back(deal)

    def _go_on(self, deal: Deal) -> None:
        if deal.state == "sent" and "go" in deal.mail:
            deal.mail.remove("go")
            if not self._called(deal, "strike"):
                self._back(deal)
                return
            deal.state = "struck"
        if deal.state == "struck" and "close" in deal.mail:
            deal.mail.remove("close")
            self.totals[deal.pot] = self.totals.get(deal.pot, 0) + 1
            self._end(deal, "committed")

    def _called(self, deal: Deal, call: str) -> bool:
        """Whether the call lands, within its attempts."""
        for _ in range(ATTEMPTS):
            trouble = deal.troubles[call].pop(0) if deal.troubles[call] else None
            if trouble is None:
                deal.standing.add(call)
                return True
            if trouble == "no":
                return False
        return False

    def _back(self, deal: Deal) -> None:
        """In reverse: the token first, then the rider."""
        if "strike" in deal.standing and deal.stubborn:
            deal.state = "stuck"
            return
        deal.standing.clear()
        self._end(deal, "rolled_back")

    def _end(self, deal: Deal, state: State) -> None:
        deal.state = state
        queue = self.queues[deal.pot]
        first = queue[0] == deal.name
        queue.remove(deal.name)
        if first and queue:
            self._begin(self.deals[queue[0]])
