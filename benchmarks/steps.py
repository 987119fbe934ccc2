"""The work of one saga, the same for every contender: three effects outside, and how each is taken back.

Nothing here sleeps and nothing leaves the process, so what is measured is what a contender does around a
step. Only the standard library is imported: the peers have an environment of their own.
"""

from dataclasses import dataclass

OBJECTS = 1_000
HOT = 10
ACCOUNTS = 1_000_003


class Refusal(Exception):
    """The outside says no, for good: what was done before is to be taken back."""


@dataclass(frozen=True, slots=True)
class Order:
    """One saga to run.

    Attributes:
        name: its business key, never used before.
        account: the second object that it locks.
        refused: the third effect is refused.
    """

    name: str
    account: str
    refused: bool = False


async def reserve(name: str) -> dict[str, str]:
    """The first effect."""
    return {"reservation_id": f"R-{name}"}


async def charge(name: str) -> dict[str, str]:
    """The second effect."""
    return {"charge_id": f"C-{name}", "amount": "19.90"}


async def book(name: str, *, refused: bool) -> dict[str, str]:
    """The third effect.

    Raises:
        Refusal: where `refused`.
    """
    if refused:
        raise Refusal(f"no carrier for {name}")
    return {"booking_id": f"B-{name}"}


async def release(name: str) -> None:
    """Takes `reserve` back."""


async def refund(name: str) -> None:
    """Takes `charge` back."""


async def call_off(name: str) -> None:
    """Takes `book` back."""


def order(run: str, n: int, *, refused: float = 0.0, hot: float = 0.0) -> Order:
    """The `n`-th order of a run; which are refused and which are hot is the same in every run.

    Args:
        run: sets apart the keys of different runs.
        n: which one, from 0.
        refused: share of the orders whose third effect is refused, 0 to 1.
        hot: share of the orders that lock one of the 10 hot objects among 1,000; the others lock any
            of the 1,000. With 0, every order locks an object that nobody else wants.
    """
    say_no = int((n + 1) * refused) > int(n * refused)
    if not hot:
        account = f"{run}-{n % ACCOUNTS}"
    elif int((n + 1) * hot) > int(n * hot):
        account = f"shared-{n * 7 % HOT}"
    else:
        account = f"shared-{n * 7919 % OBJECTS}"
    return Order(name=f"{run}-{n}", account=account, refused=say_no)
