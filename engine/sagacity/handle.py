"""What a caller holds of a saga it has started."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol
from uuid import UUID

from sagacity.model.views import HistoryLine, Outcome, SagaView


class _Calls(Protocol):
    async def outcome(self, saga: UUID, *, timeout: timedelta | None = None) -> Outcome: ...
    async def signal(self, saga: UUID, name: str, data: Any = None, *, actor: str | None = None) -> Any: ...
    async def cancel(self, saga: UUID, *, reason: str, actor: str | None = None) -> Any: ...
    async def show(self, saga: UUID) -> SagaView: ...
    async def history(self, saga: UUID) -> list[HistoryLine]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Handle:
    """One saga. `new`: this call started it; False: its key had started it before."""

    id: UUID
    definition: str
    key: str
    new: bool
    calls: _Calls

    async def outcome(self, *, timeout: timedelta | None = None) -> Outcome:
        """How it ended; after `timeout`, where it stands."""
        return await self.calls.outcome(self.id, timeout=timeout)

    async def signal(self, name: str, data: Any = None, *, actor: str | None = None) -> None:
        """Tell it something."""
        await self.calls.signal(self.id, name, data, actor=actor)

    async def cancel(self, *, reason: str, actor: str | None = None) -> None:
        """Ask it to go back."""
        await self.calls.cancel(self.id, reason=reason, actor=actor)

    async def show(self) -> SagaView:
        """All that is known of it."""
        return await self.calls.show(self.id)

    async def history(self) -> list[HistoryLine]:
        """Its story."""
        return await self.calls.history(self.id)
