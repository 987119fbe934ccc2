"""How a deprovisioned cluster is made good: it is brought up again."""

from pydantic import BaseModel

from sagacity import Compensation
from sagas.outside import Clusters, Deprovisioned


class Gone(BaseModel):
    """What this needs to know of the cluster."""

    cluster_id: str


class Provision(Compensation, safe_on_nothing=True):
    """Bring the cluster up again."""

    async def run(self, gone: Gone, deprovisioned: Deprovisioned | None, clusters: Clusters) -> None:
        """Provision, also when nobody knows whether the cluster was taken down."""
        await clusters.provision(gone.cluster_id)
