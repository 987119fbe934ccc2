"""Sagacity for synchronous code: the same calls, blocking, over one event loop in a thread.

A thin door and no second engine: each call is handed to the loop and waited for. A start in
the caller's own synchronous session runs in the caller's thread, on the caller's connection.
"""

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from types import TracebackType
from typing import Any, Self, TypeVar
from uuid import UUID

from sagacity.handle import Handle
from sagacity.model.views import HistoryLine, LockView, ObjectView, Outcome, RollbackPreview, SagaView
from sagacity.orchestrator import Orchestrator
from sagacity.store.base import Receipt

T = TypeVar("T")


class Client:
    """Blocking calls on one store. Use as `with Client(url) as client`.

    Args:
        url: the store's address.
        options: as `Orchestrator.open`.
    """

    def __init__(self, url: str, **options: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="sagacity-client", daemon=True)
        self._thread.start()
        try:
            self._app: Orchestrator = self._wait(Orchestrator.open(url, **options))
        except BaseException:
            self._end_loop()
            raise

    def _wait(self, call: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(call, self._loop).result()

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def close(self) -> None:
        """Let go of the store and of the thread. Twice is harmless."""
        if not self._loop.is_closed():
            self._wait(self._app.close())
            self._end_loop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _held(self, handle: Handle) -> "BlockingHandle":
        return BlockingHandle(
            id=handle.id, definition=handle.definition, key=handle.key, new=handle.new, client=self
        )

    def start(
        self,
        definition: Any,
        input: Any,
        *,
        key: str | None = None,
        session: Any = None,
        ignore_unknown: bool = False,
        actor: str | None = None,
    ) -> "BlockingHandle":
        """See `Orchestrator.start`; `session` is a synchronous `Session` or `Connection`."""
        if session is None:
            started = self._app.start(definition, input, key=key, ignore_unknown=ignore_unknown, actor=actor)
            return self._held(self._wait(started))
        message = self._app.message(definition, input, key=key, ignore_unknown=ignore_unknown, actor=actor)
        [receipt] = self._app.store.put_sync([message], session=session)
        return self._held(self._app.handle(message, receipt))

    def signal(self, saga: str | UUID, name: str, data: Any = None, **options: Any) -> Receipt:
        """See `Orchestrator.signal`."""
        return self._wait(self._app.signal(saga, name, data, **options))

    def cancel(self, saga: str | UUID, *, reason: str, actor: str | None = None) -> Receipt:
        """See `Orchestrator.cancel`."""
        return self._wait(self._app.cancel(saga, reason=reason, actor=actor))

    def retry(self, saga: str | UUID, *, reason: str | None = None, actor: str | None = None) -> Receipt:
        """See `Orchestrator.retry`."""
        return self._wait(self._app.retry(saga, reason=reason, actor=actor))

    def preview(self, saga: str | UUID) -> RollbackPreview:
        """See `Orchestrator.preview`."""
        return self._wait(self._app.preview(saga))

    def rollback(self, saga: str | UUID, *, reason: str, **options: Any) -> "BlockingHandle":
        """See `Orchestrator.rollback`."""
        return self._held(self._wait(self._app.rollback(saga, reason=reason, **options)))

    def outcome(self, saga: str | UUID, *, timeout: timedelta | None = None) -> Outcome:
        """See `Orchestrator.outcome`."""
        return self._wait(self._app.outcome(saga, timeout=timeout))

    def show(self, saga: str | UUID) -> SagaView:
        """See `Orchestrator.show`."""
        return self._wait(self._app.show(saga))

    def history(self, saga: str | UUID) -> Sequence[HistoryLine]:
        """See `Orchestrator.history`."""
        return self._wait(self._app.history(saga))

    def locks(self, *, object: str | None = None, saga: str | UUID | None = None) -> Sequence[LockView]:
        """See `Orchestrator.locks`."""
        return self._wait(self._app.locks(object=object, saga=saga))

    def object(self, object: str, *, at: int | None = None) -> ObjectView:
        """See `Orchestrator.object`."""
        return self._wait(self._app.object(object, at=at))


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockingHandle:
    """One saga, as blocking code holds it. `new`: this call started it; False: its key had started it before.

    It can be used for as long as its client is open.
    """

    id: UUID
    definition: str
    key: str
    new: bool
    client: Client = field(repr=False, compare=False)

    def outcome(self, *, timeout: timedelta | None = None) -> Outcome:
        """How it ended; after `timeout` (default: at once), where it stands."""
        return self.client.outcome(self.id, timeout=timeout)

    def signal(self, name: str, data: Any = None, *, actor: str | None = None) -> Receipt:
        """Tell it something; see `Orchestrator.signal`."""
        return self.client.signal(self.id, name, data, actor=actor)

    def cancel(self, *, reason: str, actor: str | None = None) -> Receipt:
        """Ask it to go back. Raises RefusedAct: it is over, or behind its point of no return."""
        return self.client.cancel(self.id, reason=reason, actor=actor)

    def show(self) -> SagaView:
        """All that is known of it."""
        return self.client.show(self.id)

    def history(self) -> Sequence[HistoryLine]:
        """Its story, line by line."""
        return self.client.history(self.id)
