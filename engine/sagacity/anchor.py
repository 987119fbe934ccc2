"""Anchors: the heads of all chains at one moment, signed, to be kept outside the database.

Whoever can rewrite the whole database can also compute new hashes for it; he cannot change what was sent
away before, nor sign in its place: the key (HMAC-SHA256) never enters the database. One anchor is one JSON
line. Lines of the log may stand between anchors, for whoever wants a copy; they are recognised by `kind`.
"""

import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

import orjson

from sagacity.errors import ConfigError
from sagacity.model.unit import ChainHead, LogRow

KEY_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """Where every chain of one tenant and lane stood.

    Attributes:
        at: the database's instant, ISO 8601.
        heads: chain → (position, hash in hex).
        key: which key signed it (the first 8 hex digits of its SHA-256).
        sign: the signature, hex.
    """

    tenant: str
    lane: str
    at: str
    heads: Mapping[int, tuple[int, str]]
    key: str
    sign: str

    def line(self) -> bytes:
        """As one line of a sink, with its line end."""
        content = _content(self.tenant, self.lane, self.at, self.heads, self.key)
        return orjson.dumps(content | {"sign": self.sign}, option=orjson.OPT_SORT_KEYS) + b"\n"

    def fault(self, key: bytes) -> str | None:
        """What is wrong with its signature; None: nothing."""
        if self.key != key_id(key):
            return f"it was signed with another key ({self.key}, not {key_id(key)}): give that one"
        expected = _sign(_content(self.tenant, self.lane, self.at, self.heads, self.key), key)
        if not hmac.compare_digest(expected, self.sign):
            return "its signature does not match: the anchor was edited"
        return None


def anchor_of(heads: Iterable[ChainHead], *, tenant: str, lane: str, at: datetime, key: bytes) -> Anchor:
    """The anchor of these heads, signed."""
    told = {head.id: (head.position, head.hash.hex()) for head in heads if head.position}
    name = key_id(key)
    content = _content(tenant, lane, at.isoformat(), told, name)
    return Anchor(tenant=tenant, lane=lane, at=at.isoformat(), heads=told, key=name, sign=_sign(content, key))


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


def log_line(row: LogRow, *, tenant: str, lane: str) -> bytes:
    """One line of the log as one line of a sink: all of its columns, so that it can be chained again."""
    content = {
        "kind": "line",
        "tenant": tenant,
        "lane": lane,
        "chain": row.chain,
        "position": row.position,
        "saga": str(row.saga),
        "seq": row.seq,
        "line": row.kind,
        "object": row.object,
        "version": row.version,
        "schema_version": row.schema_version,
        "at": row.at,
        "data": row.data,
        "digest": row.digest.hex(),
        "hash": row.hash.hex(),
    }
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


def _content(
    tenant: str, lane: str, at: str, heads: Mapping[int, tuple[int, str]], key: str
) -> dict[str, Any]:
    told = [{"chain": c, "position": p, "hash": h} for c, (p, h) in sorted(heads.items())]
    return {"kind": "anchor", "tenant": tenant, "lane": lane, "at": at, "heads": told, "key": key}


def _sign(content: Mapping[str, Any], key: bytes) -> str:
    return hmac.new(key, orjson.dumps(content, option=orjson.OPT_SORT_KEYS), sha256).hexdigest()


def _read(content: Any) -> Anchor:
    if content["kind"] != "anchor":
        raise ValueError(content["kind"])
    heads = {int(h["chain"]): (int(h["position"]), str(h["hash"])) for h in content["heads"]}
    plain = {name: str(content[name]) for name in ("tenant", "lane", "at", "key", "sign")}
    return Anchor(heads=heads, **plain)
