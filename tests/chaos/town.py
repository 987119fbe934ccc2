"""Where the simulated sagas live: six pots, a table of purses, and two outside services."""

import sqlalchemy as sa
from pydantic import BaseModel

from sagacity import Compensation, External, Participant, effect, operation
from sagacity.definition.external import Landed, NotLanded

POTS = tuple(f"pot{n}" for n in range(6))


class Token(BaseModel):
    """What both services answer."""

    number: str


class Pot(Participant, type="chaos_pot"):
    """An object of the engine's: how much is in it, and by how many sagas it was changed."""

    class State(BaseModel):
        total: int = 0

    @operation(inverse="take")
    def put(self, state: State, amount: int) -> State:
        return Pot.State(total=state.total + amount)

    @operation(inverse="put")
    def take(self, state: State, amount: int) -> State:
        # Never refused: a rollback that the books forbid is stuck for good, which is right and ends no seed.
        return Pot.State(total=state.total - amount)


metadata = sa.MetaData()
purses = sa.Table(
    "chaos_purses",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("coins", sa.Integer, sa.CheckConstraint("coins >= -1000"), nullable=False),
)


class Purse(Participant, type="chaos_purse", table=purses, key="id"):
    """A row of the user's own table."""

    @operation(inverse="spend")
    def earn(self, id: str, coins: int) -> sa.Executable:
        return sa.update(purses).where(purses.c.id == id).values(coins=purses.c.coins + coins)

    @operation(inverse="earn")
    def spend(self, id: str, coins: int) -> sa.Executable:
        return sa.update(purses).where(purses.c.id == id).values(coins=purses.c.coins - coins)


class Mint(External, name="chaos_mint"):
    """Can tell whether an effect landed. Taking one back needs to know what it was."""

    @effect(inverse="melt")
    async def strike(self, what: str, *, key: str) -> Token:
        raise AssertionError("the mock answers")

    @effect
    async def melt(self, token: Token, *, key: str, undoes: str) -> None:
        raise AssertionError("the mock answers")

    async def probe(self, key: str) -> Landed | NotLanded | None:
        raise AssertionError("the mock answers")

    class Mock:
        def strike(self, what: str) -> Token:
            return Token(number=f"mint-{what}")

        def melt(self, token: Token) -> None:
            return None


class Rider(External, name="chaos_rider"):
    """Cannot tell anything. Calling it off is safe although it may never have been sent."""

    @effect(inverse="call_off")
    async def send(self, what: str, *, key: str) -> Token:
        raise AssertionError("the mock answers")

    @effect(safe_on_nothing=True)
    async def call_off(self, token: Token | None, *, key: str, undoes: str) -> None:
        raise AssertionError("the mock answers")

    @effect
    async def shout(self, what: str, *, key: str) -> Token:
        raise AssertionError("the mock answers")

    class Mock:
        def send(self, what: str) -> Token:
            return Token(number=f"ride-{what}")

        def call_off(self, token: Token | None) -> None:
            return None

        def shout(self, what: str) -> Token:
            return Token(number=f"shout-{what}")


class Named(BaseModel):
    """The part of every input that compensations need."""

    name: str


class MeltDown(Compensation):
    """A compensation written as a class."""

    async def run(self, asked: Named, token: Token, mint: Mint) -> None:
        await mint.melt(token)


__all__ = ["POTS", "MeltDown", "Mint", "Pot", "Purse", "Rider", "Token", "metadata", "purses"]
