"""Identifiers as a port: ordered ones for new things, derived ones for things that must not be made twice.

UUIDv7 (RFC 9562) sorts by creation time, so rows that are born together lie together.
A derived id is UUIDv5 over its parents: whoever computes it again gets the same id, and a
second insert is recognised as a repeat.
"""

import secrets
from collections.abc import Callable
from uuid import NAMESPACE_URL, UUID, uuid5

import uuid_utils

IdSource = Callable[[], UUID]

_NAMESPACE = uuid5(NAMESPACE_URL, "sagacity")


def new_secret(size: int) -> bytes:
    """Fresh secret bytes, for keys."""
    return secrets.token_bytes(size)


def new_id() -> UUID:
    """A fresh UUIDv7."""
    return UUID(int=uuid_utils.uuid7().int)


def derived_id(*parts: object) -> UUID:
    """The one id that belongs to `parts`, in this order, for ever."""
    return uuid5(_NAMESPACE, "\x1f".join(str(part) for part in parts))
