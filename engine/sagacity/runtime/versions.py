"""Versions side by side: no definition changes under its sagas, and a saga is run by who has its version."""

from collections.abc import Iterable, Mapping

from sagacity.definition.flow import Flow
from sagacity.errors import ConfigError
from sagacity.store.base import Store
from sagacity.telemetry import tell


async def check_definitions(store: Store, flows: Iterable[Flow]) -> None:
    """See that none of these has changed without a new version.

    Raises:
        ConfigError: one has; the message says what to do.
    """
    by_name = {flow.name: flow for flow in flows}
    known = await store.definition_hashes(list(by_name))
    for name, flow in by_name.items():
        stored = known.get((name, flow.version))
        if stored is not None and stored != flow.hash:
            raise ConfigError(
                f"{name}@{flow.version} has changed since sagas were started with it: "
                f"give it version={flow.version + 1}, or put the old definition back"
            )


async def tell_unserved(
    store: Store, served: Mapping[str, int], told: set[tuple[str, int]]
) -> set[tuple[str, int]]:
    """Sagas of a version that nobody runs are left alone, and told of once for each version; returns them."""
    found = await store.unserved(served)
    for name, version in sorted(found - told):
        tell("version.unserved", definition=name, version=version, here=served[name])
    return found
