"""Anchors: the heads of all chains at one moment, signed, to be kept outside the database.

Whoever can rewrite the whole database can also compute new hashes for it; he cannot change what was sent
away before, nor sign in its place: the key (HMAC-SHA256) never enters the database. One anchor is one JSON
line. Lines of the log may stand between anchors, for whoever wants a copy; they are recognised by `kind`.
"""

import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import Any

import orjson

from sagacity.chain import Link
from sagacity.errors import ConfigError
from sagacity.model.unit import ChainHead

KEY_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """Where every chain of one tenant and lane stood.

    Attributes:
        at: the database's instant, ISO 8601.
        heads: chain → (position, hash in hex).
        lines: every line up to these heads stands in the same sink, before the anchor.
        key: which key signed it (the first 8 hex digits of its SHA-256).
        sign: the signature, hex.
    """

    tenant: str
    lane: str
    at: str
    heads: Mapping[int, tuple[int, str]]
    lines: bool
    key: str
    sign: str

    def signed(self) -> bytes:
        """What the signature covers: everything but itself, canonical."""
        return orjson.dumps(self._content(), option=orjson.OPT_SORT_KEYS)

    def line(self) -> bytes:
        """As one line of a sink, with its line end."""
        return orjson.dumps(self._content() | {"sign": self.sign}, option=orjson.OPT_SORT_KEYS) + b"\n"

    def _content(self) -> dict[str, Any]:
        told = [{"chain": c, "position": p, "hash": h} for c, (p, h) in sorted(self.heads.items())]
        scope = {"kind": "anchor", "tenant": self.tenant, "lane": self.lane}
        return scope | {"at": self.at, "heads": told, "lines": self.lines, "key": self.key}

    def fault(self, key: bytes) -> str | None:
        """What is wrong with its signature; None: nothing."""
        if self.key != key_id(key):
            return f"it was signed with another key ({self.key}, not {key_id(key)}): give that one"
        if not hmac.compare_digest(_sign(self.signed(), key), self.sign):
            return "its signature does not match: the anchor was edited"
        return None


def anchor_of(
    heads: Iterable[ChainHead], *, tenant: str, lane: str, at: datetime, key: bytes, lines: bool = False
) -> Anchor:
    """The anchor of these heads, signed."""
    bare = Anchor(
        tenant=tenant,
        lane=lane,
        at=at.isoformat(),
        heads={head.id: (head.position, head.hash.hex()) for head in heads if head.position},
        lines=lines,
        key=key_id(key),
        sign="",
    )
    return replace(bare, sign=_sign(bare.signed(), key))


def read_anchors(lines: Iterable[bytes], *, tenant: str, lane: str) -> list[Anchor]:
    """The anchors of one tenant and lane among the lines of a sink; torn and other lines are left out."""
    found: list[Anchor] = []
    for line in lines:
        if b'"anchor"' not in line:
            continue
        try:
            anchor = _read(orjson.loads(line))
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
        if (anchor.tenant, anchor.lane) == (tenant, lane):
            found.append(anchor)
    return found


_COLUMNS = ("position", "saga", "seq", "line", "object", "version", "schema_version", "micros", "data")


def log_line(line: Link, *, chain: int, tenant: str, lane: str) -> bytes:
    """One line of the log as one line of a sink: all of its columns, so that it can be chained again."""
    content = dict(zip(_COLUMNS, line[:9], strict=True))
    content |= {"kind": "line", "tenant": tenant, "lane": lane, "chain": chain}
    content |= {"digest": line[9].hex(), "hash": line[10].hex()}
    return orjson.dumps(content, option=orjson.OPT_SORT_KEYS) + b"\n"


def behind(anchor: Anchor, heads: Sequence[ChainHead]) -> str | None:
    """Why a store whose chains stand at `heads` has lost what was anchored; None: they do not say so."""
    now = {head.id: head for head in heads}
    for chain, (position, hash) in sorted(anchor.heads.items()):
        head = now.get(chain)
        stands = 0 if head is None else head.position
        if stands < position:
            return (
                f"chain {chain} was anchored at {position} ({anchor.at}), and ends at {stands}: "
                f"{position - stands} lines were lost by a restore or failover, or cut off"
            )
        if head is not None and stands == position and head.hash.hex() != hash:
            return f"chain {chain} was anchored at {position} with another hash: its history was rewritten"
    return None


def key_id(key: bytes) -> str:
    """What names a key without telling it."""
    return sha256(b"sagacity anchor key" + key).hexdigest()[:8]


def key_of(text: str, *, file: str) -> bytes:
    """The key that a key file holds.

    Raises:
        ConfigError: it holds none.
    """
    try:
        key = bytes.fromhex(text.strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigError(f"{file} holds no key: make one with `sagacity anchor --new-key FILE`")
    return key


def _sign(content: bytes, key: bytes) -> str:
    return hmac.new(key, content, sha256).hexdigest()


def _read(content: Any) -> Anchor:
    if content["kind"] != "anchor":
        raise ValueError(content["kind"])
    heads = {int(h["chain"]): (int(h["position"]), str(h["hash"])) for h in content["heads"]}
    plain = {name: str(content[name]) for name in ("tenant", "lane", "at", "key", "sign")}
    return Anchor(heads=heads, lines=bool(content["lines"]), **plain)
