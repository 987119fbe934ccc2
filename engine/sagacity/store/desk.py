# ruff: noqa: D102 - what each method promises is written in store/office.py, once
"""The office's part of a store, the same on every database, and the ground all portable parts stand on."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TypeVar
from uuid import UUID

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from sagacity.decide.attention import Limits
from sagacity.errors import StoreError
from sagacity.model.operating import ActLine, Plan, PlanStatus, Selection, Token
from sagacity.model.unit import Message
from sagacity.model.views import SagaSummary
from sagacity.store import claims, finding, plans, tokens
from sagacity.store import matters as looked
from sagacity.store.base import SagaRow
from sagacity.store.claims import Now
from sagacity.store.office import (
    ActsFilter,
    LockBoard,
    Matters,
    Moved,
    PlanFilter,
    PlanPage,
    Term,
    TokenFilter,
)
from sagacity.store.rows import Scope

Answer = TypeVar("Answer")
Work = Callable[[Connection], Answer]


class Ground(ABC):
    """How work gets a connection, a transaction and the time: what a database's own store fills in."""

    _scope: Scope

    @abstractmethod
    async def _read(self, work: Work[Answer]) -> Answer:
        """Run `work` in a transaction that changes nothing."""

    @abstractmethod
    async def _write(self, work: Work[Answer]) -> Answer:
        """Run `work` in a transaction and commit it durably; roll back where it raises."""

    async def _lease(self, work: Work[Answer]) -> Answer:
        """A write of leases and bells: nothing is promised by it, so it need not outlive the machine."""
        return await self._write(work)

    @abstractmethod
    async def _snapshot(self, work: Work[Answer]) -> Answer:
        """Run `work` so that all its reads see one moment."""

    @abstractmethod
    def _instant(self, conn: Connection) -> Now:
        """The instant that decides: the clock's where one was given, else the database's."""


class PortableOffice(Ground):
    """The office's methods (`store/office.py`)."""

    async def _put(self, work: Work[None]) -> None:
        """A write of something new."""
        try:
            await self._write(work)
        except IntegrityError as error:
            raise StoreError(f"it is there already: {error.orig}") from error

    async def put_plan(self, plan: Plan) -> None:
        await self._put(lambda conn: plans.put_plan(conn, self._scope, plan))

    async def plan(self, plan: UUID) -> Plan | None:
        return await self._read(lambda conn: plans.plan(conn, self._scope, plan))

    async def plans(self, narrowed: PlanFilter) -> PlanPage:
        return await self._snapshot(lambda conn: plans.plans(conn, self._scope, narrowed))

    async def move_plan(self, plan: Plan, *, expect: Sequence[PlanStatus], unexpired: bool = True) -> bool:
        def work(conn: Connection) -> bool:
            now = self._instant(conn) if unexpired else None
            return plans.move_plan(conn, self._scope, plan, expect=expect, now=now)

        return await self._write(work)

    async def apply_plan(
        self, plan: Plan, messages: Sequence[Message], *, expect: Sequence[PlanStatus]
    ) -> tuple[Moved, ...] | None:
        def work(conn: Connection) -> tuple[Moved, ...] | None:
            now = self._instant(conn)
            return plans.apply_plan(conn, self._scope, plan, messages, expect=expect, now=now)

        try:
            return await self._write(work)
        except plans.NotAsPlanned as stale:
            return stale.moved

    async def overtaken(self, made: Sequence[Plan], /, *, upto: int = 2_000) -> frozenset[UUID]:
        return await self._read(lambda conn: plans.overtaken(conn, self._scope, made, upto=upto))

    async def put_selection(self, selection: Selection) -> None:
        await self._put(lambda conn: plans.put_selection(conn, self._scope, selection))

    async def selection(self, selection: UUID) -> Selection | None:
        return await self._read(lambda conn: plans.selection(conn, self._scope, selection))

    async def put_token(self, token: Token) -> None:
        await self._put(lambda conn: tokens.put(conn, self._scope, token))

    async def token_by_hash(self, hash: str) -> Token | None:
        return await self._read(lambda conn: tokens.by_hash(conn, self._scope, hash))

    async def tokens(self, narrowed: TokenFilter) -> list[Token]:
        return await self._read(lambda conn: tokens.some(conn, self._scope, narrowed))

    async def revoke_token(self, token: UUID) -> bool:
        return await self._write(
            lambda conn: tokens.revoke(conn, self._scope, token, now=self._instant(conn))
        )

    async def token_used(self, token: UUID) -> None:
        await self._lease(lambda conn: tokens.used(conn, self._scope, token, now=self._instant(conn)))

    async def acts(self, narrowed: ActsFilter) -> list[ActLine]:
        return await self._read(lambda conn: plans.acts(conn, self._scope, narrowed))

    async def acts_of(self, sagas: Sequence[UUID]) -> list[ActLine]:
        return await self._read(lambda conn: plans.acts_of(conn, self._scope, sagas))

    async def sagas_by_id(self, sagas: Sequence[UUID]) -> dict[UUID, SagaRow]:
        return await self._snapshot(lambda conn: finding.by_id(conn, self._scope, sagas))

    async def search(
        self, terms: Sequence[Term], *, limit: int, before: UUID | None = None
    ) -> list[SagaSummary]:
        def work(conn: Connection) -> list[SagaSummary]:
            now = self._instant(conn)
            return finding.search(conn, self._scope, terms, limit=limit, before=before, now=now)

        return await self._read(work)

    async def matters(self, limits: Limits) -> Matters:
        def work(conn: Connection) -> Matters:
            leases = self._instant(conn)
            now = claims.instant(conn, leases)
            return looked.matters(conn, self._scope, limits, now=now, leases=leases)

        return await self._snapshot(work)

    async def lock_board(self, *, limit: int = 1_000) -> LockBoard:
        return await self._snapshot(lambda conn: plans.lock_board(conn, self._scope, limit=limit))
