"""Whether two who act can be one person: who issued a token has seen it, so may be the one who uses it.

A second person is one only if nobody could have been both.
"""

from uuid import UUID

from sagacity.errors import Forbidden
from sagacity.store.base import Store
from sagacity.store.office import TokenFilter

_TOKEN = "token:"
_HANDS_OUT = ("local:", "dev", "second")
"""Who issues on the store's own machine hands tokens out: two of these are two persons, if not the issuer."""
_LONGEST = 20


async def check_other(store: Store, actor: str, earlier: str | None, *, plan: UUID, doing: str) -> None:
    """That `actor` is not `earlier`, the id of somebody who acted on the plan before; None: nobody has.

    Raises:
        Forbidden: they are one, or can be; the message says by what, and what to do.
    """
    if earlier is None:
        return
    one, other = await behind(store, actor), await behind(store, earlier)
    both = sorted(id for id in one & other if id in (actor, earlier) or not id.startswith(_HANDS_OUT))
    if both:
        raise Forbidden(
            f"{actor} cannot {doing} plan {plan}: {both[0]} may be behind both it and {earlier}, for who "
            "issued a token has seen it; somebody else must, who signs in or has a token of another issuer"
        )


async def behind(store: Store, actor: str) -> frozenset[str]:
    """Everybody who may be the one that acts as `actor`: also who issued its token, and who that one's."""
    found: set[str] = set()
    asked = [actor]
    while asked and len(found) < _LONGEST:
        id = asked.pop()
        found.add(id)
        if id.startswith(_TOKEN):
            # A name may have been given again: whoever issued it once is counted.
            issued = await store.tokens(TokenFilter(name=id.removeprefix(_TOKEN)))
            asked += {one.made_by for one in issued} - found
    return frozenset(found)
