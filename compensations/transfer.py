"""How a transfer is made good: by a second one in the other direction, since the bank cannot undo."""

from decimal import Decimal

from pydantic import BaseModel

from sagacity import Compensation
from sagas.outside import Bank, Payment


class Sent(BaseModel):
    """What this needs to know of the transfer."""

    transfer_id: str
    source: str
    target: str
    amount: Decimal


class TransferBack(Compensation, safe_on_nothing=True):
    """Send the money back. The bank bars the first transfer if it has not come by then."""

    async def run(self, sent: Sent, payment: Payment | None, bank: Bank) -> None:
        """Move the same amount from the target to the source."""
        await bank.transfer(sent.transfer_id, sent.target, sent.source, sent.amount)
