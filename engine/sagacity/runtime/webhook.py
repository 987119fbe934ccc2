"""A signed web hook for what needs a human: one message for all that looks alike, at least once.

Nothing is remembered here that must not be lost: a notice stays in the outbox until the receiver has answered
2xx. The address comes from the process's settings alone, and no answer can lead elsewhere.

    POST, Content-Type: application/json
    Sagacity-Timestamp: seconds since 1970
    Sagacity-Signature: v1=<hex of HMAC-SHA256(secret, timestamp + "." + body)>
"""

import asyncio
import hashlib
import hmac
import ipaddress
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal
from urllib.parse import urlsplit
from uuid import UUID

import orjson
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from sagacity.clock import Clock
from sagacity.errors import ConfigError, StoreError
from sagacity.ids import derived_id
from sagacity.model.canonical import loaded
from sagacity.model.unit import NO_LINE, Notice
from sagacity.store.base import Store
from sagacity.telemetry import tell

SCHEMA_VERSION = 1
STAMP = "DRY"
"""What every notice of a dry run carries, in the outbox already."""

TURN_SECONDS = 15.0
"""The worker next in line sends what has lain unsent for so long, the one behind it after twice that."""

_ATTEMPTS, _TIMEOUT_SECONDS = 2, 5
_SHORTEST, _LONGEST = 1.0, 60.0
_NAMED, _TEXT = 20, 500


@dataclass(frozen=True, slots=True, kw_only=True)
class HookSettings:
    """Where to, how signed, and how often.

    Attributes:
        url: `https://…`; plain `http://` only to this machine.
        secret: shared with the receiver; at least 16 characters.
        every: after a message, more of the same kind are gathered for so long.
        console: address of the console, for a link in each message.
        lane: whose notices; in lane `dry` every end is told, stamped.

    Raises:
        ConfigError: the address or the secret cannot be used.
    """

    url: str
    secret: str
    every: timedelta = timedelta(seconds=60)
    console: str | None = None
    lane: Literal["live", "dry"] = "live"

    def __post_init__(self) -> None:
        said = "SAGACITY_DRY_NOTIFY" if self.lane == "dry" else "SAGACITY_NOTIFY"
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise ConfigError(f"{said}_URL={self.url}: give an address like https://alerts.example/hook")
        if parts.scheme == "http" and not _is_here(parts.hostname):
            raise ConfigError(f"{said}_URL={self.url}: off this machine it must be https")
        if len(self.secret) < 16:
            raise ConfigError(f"{said}_SECRET: give at least 16 characters, known to the receiver")


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address("127.0.0.1" if host == "localhost" else host).is_loopback
    except ValueError:
        return False


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """What stands in `Sagacity-Signature`."""
    digest = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256)
    return f"v1={digest.hexdigest()}"


class NotAcknowledged(Exception):
    """The receiver did not answer 2xx: it may or may not have the message."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler({}))


@dataclass(slots=True)
class _Group:
    """Notices that look alike, with their rows' ids."""

    ids: list[UUID] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)


class WebHook:
    """An outlet of the relay; see the module.

    Args:
        settings: see there.
        store: asked which workers live, so that one of them sends.
        worker: whose outlet it is.
        clock: port.
    """

    def __init__(self, settings: HookSettings, *, store: Store, worker: UUID, clock: Clock) -> None:
        self._settings = settings
        self._store = store
        self._worker = worker
        self._clock = clock
        self._seen: dict[UUID, float] = {}
        self._sent: dict[str, float] = {}
        self._pause = _SHORTEST
        self._not_before = 0.0

    def wants(self, notice: Notice) -> bool:
        """It is of the hook's lane, and in the live one it tells of something that needs a human."""
        said = loaded(notice.data) or {}
        if self._settings.lane == "dry":
            return said.get("stamp") == STAMP
        return said.get("attention") is not None and "stamp" not in said

    async def send(self, found: Sequence[tuple[UUID, Notice]], *, at_once: bool = False) -> list[UUID]:
        """Send what is due of these; the ids of those that the receiver has acknowledged.

        Args:
            found: with the ids of their rows; what is not sent now is to be given again.
            at_once: gather no longer (the worker stops).
        """
        now = self._clock.monotonic()
        self._seen = {id: self._seen.get(id, now) for id, _ in found}
        if not found or now < self._not_before:
            return []
        patience = 0.0 if at_once else TURN_SECONDS * await self._turn()
        due = [(id, notice) for id, notice in found if now - self._seen[id] >= patience]
        sent: list[UUID] = []
        for fingerprint, group in _grouped(due).items():
            if not at_once and now - self._sent.get(fingerprint, float("-inf")) < self._every:
                continue
            if not await self._told(fingerprint, group):
                break  # the others go to the same address
            sent += group.ids
        return sent

    @property
    def _every(self) -> float:
        return self._settings.every.total_seconds()

    async def _turn(self) -> int:
        """How many living workers come before this one."""
        try:
            living = sorted(worker.id for worker in await self._store.workers())
        except StoreError:
            return 1
        return living.index(self._worker) if self._worker in living else 0

    async def _told(self, fingerprint: str, group: _Group) -> bool:
        body = self._body(fingerprint, group)
        try:
            async for attempt in AsyncRetrying(
                stop=stop_after_attempt(_ATTEMPTS),
                wait=wait_exponential(multiplier=0.2),
                retry=retry_if_exception_type(NotAcknowledged),
                sleep=self._clock.sleep,
                reraise=True,
            ):
                with attempt:
                    await asyncio.to_thread(self._post, body, str(int(self._clock.now().timestamp())))
        except NotAcknowledged as error:
            tell("notify.failed", error=str(error), waiting=len(group.ids), again_in=self._pause)
            self._not_before = self._clock.monotonic() + self._pause
            self._pause = min(self._pause * 2, _LONGEST)
            return False
        self._pause, self._not_before = _SHORTEST, 0.0
        now = self._clock.monotonic()
        self._sent = {f: at for f, at in self._sent.items() if now - at < self._every} | {fingerprint: now}
        return True

    def _body(self, fingerprint: str, group: _Group) -> bytes:
        said = [loaded(notice.data) for notice in group.notices]
        first = said[0]
        console, dry = self._settings.console, self._settings.lane == "dry"
        return orjson.dumps(
            {
                "schema_version": SCHEMA_VERSION,
                # The same notices make the same id: a receiver knows a repeat by it.
                "id": str(derived_id(*sorted(group.ids))),
                "kind": group.notices[0].kind if dry else first["attention"],
                "lane": self._settings.lane,
                "fingerprint": fingerprint,
                "definition": first["definition"],
                "state": first["state"],
                "why": str(first["reason"] or "")[:_TEXT],
                "count": len(said),
                "first_at": min(one["at"] for one in said),
                "last_at": max(one["at"] for one in said),
                "sagas": [
                    _named(notice, one) for notice, one in zip(group.notices[:_NAMED], said, strict=False)
                ],
                "command": f"sagacity dry-run {first['run']}" if dry else "sagacity attention",
                "url": None if console is None else f"{console.rstrip('/')}/",
                "stamp": STAMP if dry else None,
            }
        )

    def _post(self, body: bytes, timestamp: str) -> None:
        request = urllib.request.Request(
            self._settings.url,
            data=body,
            method="POST",
            headers={
                "Content-Type": "application/json",
                "User-Agent": "sagacity",
                "Sagacity-Timestamp": timestamp,
                "Sagacity-Signature": signature(self._settings.secret, timestamp, body),
            },
        )
        try:
            with _OPENER.open(request, timeout=_TIMEOUT_SECONDS):
                return
        except urllib.error.HTTPError as error:
            error.close()
            raise NotAcknowledged(f"the receiver answered {error.code}") from None
        except OSError as error:
            raise NotAcknowledged(f"the receiver cannot be reached: {error}") from None


def _named(notice: Notice, said: Any) -> dict[str, Any]:
    """One of the sagas; `seq` is of the line that tells of it, where there is one."""
    named = {"id": str(notice.saga), "key": said["key"], "seq": None if notice.seq == NO_LINE else notice.seq}
    return named if said.get("plan") is None else {**named, "plan": said["plan"]}


def _grouped(found: Sequence[tuple[UUID, Notice]]) -> dict[str, _Group]:
    groups: defaultdict[str, _Group] = defaultdict(_Group)
    for id, notice in found:
        group = groups[loaded(notice.data)["fingerprint"]]
        group.ids.append(id)
        group.notices.append(notice)
    return groups
