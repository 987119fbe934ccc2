"""Where notices go: one lane's listeners and web hook, which are told of no other lane.

A worker has those of its own lane, and may have those of the dry lane. What dry runs would have told is
sent by the latter alone: it was stamped before it was stored, and what is not stamped is not sent there.
"""

from dataclasses import dataclass
from uuid import UUID

from sagacity.clock import Clock
from sagacity.errors import ConfigError
from sagacity.runtime.relay import Listener, Relay
from sagacity.runtime.webhook import HookSettings, WebHook
from sagacity.store.base import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlets:
    """See the module. `listeners`: told of every end; `hook`: of what needs a human (dry: of every end)."""

    listeners: tuple[Listener, ...] = ()
    hook: HookSettings | None = None

    @property
    def there(self) -> bool:
        """Somebody is to be told."""
        return bool(self.listeners) or self.hook is not None

    def check_apart(self, live: "Outlets") -> None:
        """See that nobody is told of both lanes.

        Raises:
            ConfigError: an address or a function stands in both.
        """
        if self.hook is not None and live.hook is not None and self.hook.url == live.hook.url:
            raise ConfigError(
                f"SAGACITY_DRY_NOTIFY_URL={self.hook.url}: that is the web hook of the live lane: "
                "give dry runs one of their own"
            )
        both = [listener for listener in self.listeners if listener in live.listeners]
        if both:
            name = getattr(both[0], "__name__", str(both[0]))
            raise ConfigError(f"[tool.sagacity] dry_listeners: {name} is told of live sagas: give another")

    def relay(self, store: Store, *, living: Store, worker: UUID, clock: Clock) -> Relay | None:
        """What tells them of `store`'s notices; None: nobody is to be told.

        Args:
            store: opened, of the lane.
            living: knows the workers that live, of whom one sends.
            worker: whose relay it is.
            clock: port.
        """
        if self.hook is None:
            return Relay(store, self.listeners) if self.listeners else None
        hook = WebHook(self.hook, store=living, worker=worker, clock=clock)
        return Relay(store, self.listeners, outlets=(hook,))


def relays_of(store: Store, live: Outlets, dry: Outlets | None, *, worker: UUID, clock: Clock) -> list[Relay]:
    """What tells them of each lane, apart from one another: who is away in one holds up nobody in the other.

    Args:
        store: opened, of the worker's own lane.
        live: told of that lane.
        dry: told of lane `dry`.
        worker: whose relays they are.
        clock: port.

    Raises:
        ConfigError: somebody is told of both.
    """
    found = [live.relay(store, living=store, worker=worker, clock=clock)]
    if dry is not None and dry.there:
        dry.check_apart(live)
        found.append(dry.relay(store.beside("dry"), living=store, worker=worker, clock=clock))
    return [relay for relay in found if relay is not None]
