"""Errors of the database in the words of the contract, where no server is needed to make them."""

import asyncpg
import pytest
from sqlalchemy.exc import TimeoutError as PoolTimeout

from sagacity.errors import StoreUnavailable
from sagacity.model.unit import OutcomeUnknown
from sagacity.store.failures import naming
from sagacity.store.postgres import _outcome


@pytest.mark.parametrize("block", [naming, _outcome])
def test_a_pool_without_a_free_connection_is_a_database_that_cannot_be_reached_now(block: object) -> None:
    with pytest.raises(StoreUnavailable, match="QueuePool limit"), block():  # type: ignore[operator]
        raise PoolTimeout("QueuePool limit of size 5 overflow 10 reached, connection timed out")


def test_a_driver_that_a_dead_line_left_half_way_is_a_line_that_died() -> None:
    half_way = asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress")
    with pytest.raises(StoreUnavailable), naming():
        raise half_way
    with pytest.raises(OutcomeUnknown), _outcome():
        raise half_way


def test_a_server_without_room_is_one_that_cannot_be_reached_now() -> None:
    with pytest.raises(StoreUnavailable), naming():
        raise asyncpg.DiskFullError("could not extend file")
