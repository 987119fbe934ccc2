"""Operations on the user's own tables: they run in the live database, and none of them stays."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from sagacity.audit import verify
from sagacity.definition.project import Project
from sagacity.dry import dry_run, explored
from sagacity.model.canonical import loaded
from sagacity.orchestrator import Orchestrator
from sagacity.runtime.apart import guarded_tables
from sagas.offboarding import (
    Offboarding,
    accounts,
    clusters,
    metadata,
    resources,
    subscriptions,
)

ACCOUNT = {"account_id": "a1", "clusters": ["c1", "c2"], "subscriptions": ["s1"], "resources": ["r1"]}


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
async def place(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[tuple[Orchestrator, AsyncEngine]]:
    if request.param == "sqlite":
        url, driver = f"sqlite:///{tmp_path}/live.db", f"sqlite+aiosqlite:///{tmp_path}/live.db"
    else:
        url = request.getfixturevalue("pg_url")
        driver = url.replace("postgresql://", "postgresql+asyncpg://")
        from sagacity.store.migrate import upgrade_at

        await upgrade_at(url)
    async with await Orchestrator.open(url, project=Project.of(Offboarding), accept_loss=True) as app:
        engine = create_async_engine(driver)
        async with engine.begin() as conn:
            await conn.run_sync(metadata.create_all)
            await conn.execute(sa.insert(accounts), [{"id": "a1"}])
            for table, ids in ((clusters, ("c1", "c2")), (subscriptions, ("s1",)), (resources, ("r1",))):
                await conn.execute(sa.insert(table), [{"id": id, "account_id": "a1"} for id in ids])
        await app.store.guard(guarded_tables(app.project.participants))
        yield app, engine
        await engine.dispose()


async def rows(engine: AsyncEngine) -> list[Any]:
    async with engine.connect() as conn:
        return [
            [tuple(row) for row in (await conn.execute(sa.select(table).order_by(table.c.id))).all()]
            for table in (accounts, clusters, subscriptions, resources)
        ]


async def test_the_difference_is_shown_and_the_tables_stay_as_they_are(
    place: tuple[Orchestrator, AsyncEngine],
) -> None:
    app, engine = place
    before = await rows(engine)
    report = await dry_run("Offboarding", ACCOUNT, app=app, here=True)
    assert report.verdict == "would commit"
    assert await rows(engine) == before
    changed = {
        one.object: (loaded(one.before)["state"], loaded(one.after)["state"]) for one in report.objects
    }
    assert changed == {
        "customer_account:a1": ("active", "archived"),
        "cluster:c1": ("active", "gone"),
        "cluster:c2": ("active", "gone"),
        "subscription:s1": ("active", "closed"),
        "resource:r1": ("active", "archived"),
    }
    assert all(one.own_table for one in report.objects)
    assert [(other.definition, other.status) for other in report.others] == [("Deprovision", "committed")] * 2
    verdict = await verify(app.store.beside("dry"))
    assert (verdict.sagas, verdict.findings) == (3, ())


async def test_what_a_constraint_forbids_is_found_before_it_goes_live(
    place: tuple[Orchestrator, AsyncEngine],
) -> None:
    app, engine = place
    async with engine.begin() as conn:
        await conn.execute(sa.text("CREATE UNIQUE INDEX one_archived ON resources (state)"))
        await conn.execute(sa.insert(resources), [{"id": "r0", "account_id": "a1", "state": "archived"}])
    before = await rows(engine)
    report = await dry_run("Offboarding", ACCOUNT, app=app, here=True)
    assert report.verdict == "would roll back"
    assert "commit" in (report.why or "")
    assert await rows(engine) == before


async def test_it_is_explored_on_the_live_tables_too(place: tuple[Orchestrator, AsyncEngine]) -> None:
    app, engine = place
    before = await rows(engine)
    small = {**ACCOUNT, "clusters": [], "subscriptions": []}
    found = await explored("Offboarding", small, app=app)
    assert found.ok, found.text()
    assert await rows(engine) == before
