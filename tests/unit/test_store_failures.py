"""Errors of the database in the words of the contract, where no server is needed to make them."""

import pytest
from sqlalchemy.exc import TimeoutError as PoolTimeout

from sagacity.errors import StoreUnavailable
from sagacity.store.failures import naming
from sagacity.store.postgres import _outcome


@pytest.mark.parametrize("block", [naming, _outcome])
def test_a_pool_without_a_free_connection_is_a_database_that_cannot_be_reached_now(block: object) -> None:
    with pytest.raises(StoreUnavailable, match="QueuePool limit"), block():  # type: ignore[operator]
        raise PoolTimeout("QueuePool limit of size 5 overflow 10 reached, connection timed out")
