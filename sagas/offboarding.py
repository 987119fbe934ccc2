"""Archive an account and all that hangs on it: clusters, subscriptions, resources.

The rows are the application's own, in its own tables; Sagacity changes them only at commit.
"""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel

from compensations.offboarding import Provision
from sagacity import Lock, Participant, Saga, Stage, State, exclusive, operation, spawns, step
from sagas.outside import Clusters, Deprovisioned

metadata = sa.MetaData()


def _table(name: str, *columns: sa.Column[Any]) -> sa.Table:
    state = sa.Column("state", sa.String, nullable=False, server_default="active")
    return sa.Table(name, metadata, sa.Column("id", sa.String, primary_key=True), *columns, state)


def _belongs() -> sa.Column[Any]:
    return sa.Column("account_id", sa.String, sa.ForeignKey("accounts.id"), nullable=False)


accounts = _table("accounts")
clusters = _table("clusters", _belongs())
subscriptions = _table("subscriptions", _belongs())
resources = _table("resources", _belongs())


class OwnAccount(Participant, type="customer_account", table=accounts, key="id", guarded=True):
    """A row of `accounts`."""

    @operation(inverse="reopen")
    def archive(self, id: str) -> sa.Executable:
        """Archive it."""
        return sa.update(accounts).where(accounts.c.id == id).values(state="archived")

    @operation(inverse="archive")
    def reopen(self, id: str) -> sa.Executable:
        """Make it active again."""
        return sa.update(accounts).where(accounts.c.id == id).values(state="active")


class Cluster(Participant, type="cluster", table=clusters, key="id", guarded=True):
    """A row of `clusters`."""

    @operation(inverse="bring_back")
    def take_down(self, id: str) -> sa.Executable:
        """Note that the cluster is gone."""
        return sa.update(clusters).where(clusters.c.id == id).values(state="gone")

    @operation(inverse="take_down")
    def bring_back(self, id: str) -> sa.Executable:
        """Note that the cluster is there again."""
        return sa.update(clusters).where(clusters.c.id == id).values(state="active")


class Subscription(Participant, type="subscription", table=subscriptions, key="id", guarded=True):
    """A row of `subscriptions`."""

    @operation(inverse="reopen")
    def close(self, id: str) -> sa.Executable:
        """Close it."""
        return sa.update(subscriptions).where(subscriptions.c.id == id).values(state="closed")

    @operation(inverse="close")
    def reopen(self, id: str) -> sa.Executable:
        """Make it active again."""
        return sa.update(subscriptions).where(subscriptions.c.id == id).values(state="active")


class Resource(Participant, type="resource", table=resources, key="id", guarded=True):
    """A row of `resources`."""

    @operation(inverse="restore")
    def archive(self, id: str) -> sa.Executable:
        """Archive it."""
        return sa.update(resources).where(resources.c.id == id).values(state="archived")

    @operation(inverse="archive")
    def restore(self, id: str) -> sa.Executable:
        """Make it active again."""
        return sa.update(resources).where(resources.c.id == id).values(state="active")


class Deprovision(Saga, version=1, key="cluster_id"):
    """Take one cluster down."""

    class Input(BaseModel):
        """Which one."""

        cluster_id: str

    running = State(initial=True)
    gone = State()
    noted = State(final=True)

    take_down = running.to(gone)
    note = gone.to(noted)

    def participants(self, cluster: Input) -> Iterable[Lock]:
        """The cluster alone; the account is its parent's."""
        yield exclusive("cluster", cluster.cluster_id)

    @step(take_down, undo=Provision, timeout=timedelta(minutes=5))
    async def deprovision(self, cluster: Input, clusters: Clusters) -> Deprovisioned:
        """Take it down, which is slow."""
        return await clusters.deprovision(cluster.cluster_id)

    @step(note)
    def note_down(self, cluster: Input, stage: Stage) -> None:
        """Note it in our table."""
        stage(Cluster, cluster.cluster_id).take_down()


class Offboarding(Saga, version=1, key="account_id"):
    """Archive one account and all that hangs on it."""

    class Input(BaseModel):
        """The account and what hangs on it, as read from our tables."""

        account_id: str
        clusters: list[str] = []
        subscriptions: list[str] = []
        resources: list[str] = []

    asked = State(initial=True)

    class work(State.Parallel):
        """Three kinds of work, side by side."""

        class on_clusters(State.Compound):
            """Each cluster is a child saga."""

            up = State(initial=True)
            down = State(final=True)

        class on_subscriptions(State.Compound):
            """Subscriptions are closed."""

            open = State(initial=True)
            closed = State(final=True)

        class on_resources(State.Compound):
            """Resources are archived."""

            kept = State(initial=True)
            archived = State(final=True)

    offboarded = State(final=True)

    archive = asked.to(work)
    deprovision = work.on_clusters.up.to(work.on_clusters.down)
    close = work.on_subscriptions.open.to(work.on_subscriptions.closed)
    put_away = work.on_resources.kept.to(work.on_resources.archived)
    done_state_work = work.to(offboarded)

    def participants(self, asked: Input) -> Iterable[Lock]:
        """The account and its rows; each cluster is locked by its own child saga."""
        yield exclusive("customer_account", asked.account_id)
        yield from (exclusive("subscription", id) for id in asked.subscriptions)
        yield from (exclusive("resource", id) for id in asked.resources)

    @step(archive)
    def archive_account(self, asked: Input, stage: Stage) -> None:
        """Archive the account itself."""
        stage(OwnAccount, asked.account_id).archive()

    @spawns(deprovision, Deprovision)
    def each_cluster(self, asked: Input) -> list[Deprovision.Input]:
        """Take all clusters down at once."""
        return [Deprovision.Input(cluster_id=id) for id in asked.clusters]

    @step(close)
    def close_subscriptions(self, asked: Input, stage: Stage) -> None:
        """Close every subscription."""
        for id in asked.subscriptions:
            stage(Subscription, id).close()

    @step(put_away)
    def archive_resources(self, asked: Input, stage: Stage) -> None:
        """Archive every resource."""
        for id in asked.resources:
            stage(Resource, id).archive()
