"""Fixtures that every suite may use: a private PostgreSQL, and a database of its own for each test."""

import itertools
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sagacity.store.private import PrivatePostgres
from tests.chaos.plants import planted

_numbers = itertools.count(1)


def pytest_configure() -> None:
    """Plant the bug that the environment names, if it names one: see tests/chaos/t31.py."""
    planted()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that takes a server says so in its marker: `pytest -m postgres` finds it."""
    for item in items:
        if "pg_server" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.postgres)


@pytest.fixture(scope="session")
def pg_server() -> Iterator[PrivatePostgres]:
    """One server for each test process; it flushes nothing, so it is for no test of durability."""
    # Not below pytest's own folder: only its owner may enter that, and the server has an account of its own.
    folder = Path(tempfile.mkdtemp(prefix="sagacity-test-pg-"))
    with PrivatePostgres(folder, durable=False) as server:
        yield server
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def pg_template() -> str | None:
    """The database that each test's database copies; a suite overrides this with one it has migrated."""
    return None


@pytest.fixture
def pg_url(pg_server: PrivatePostgres, pg_template: str | None) -> Iterator[str]:
    """The URL (`postgresql://…`) of a fresh database that is gone after the test."""
    name = f"test_{next(_numbers)}"
    yield pg_server.create_database(name, template=pg_template)
    pg_server.drop_database(name)
