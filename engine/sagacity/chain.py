"""The hash chain of the log: positions without gaps, each line bound to the one before it.

A line's hash covers the previous hash, every column, and the SHA-256 digest of its `data`
rather than `data` itself: personal data can later be erased and the chain still verifies.
The construction is the classic linked timestamp of Haber and Stornetta (1991).
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import orjson

from sagacity.model.lines import SCHEMA_VERSION, Applied, Line, line_data
from sagacity.model.unit import ChainHead, LogRow, Unit

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def link(previous: bytes, row: LogRow, *, tenant: str, lane: str) -> bytes:
    """The hash that belongs to `row` behind a line whose hash is `previous` (b"" before the first)."""
    header = (
        tenant,
        lane,
        row.chain,
        row.position,
        str(row.saga),
        row.seq,
        row.kind,
        row.object,
        row.version,
    )
    tail = (row.schema_version, (row.at - _EPOCH) // _MICROSECOND, row.digest.hex())
    return sha256(previous + orjson.dumps(header + tail)).digest()


def extend(head: ChainHead, units: Sequence[Unit], *, tenant: str, lane: str) -> tuple[LogRow, ...]:
    """The log rows of `units`, in order, chained behind `head`."""
    rows: list[LogRow] = []
    position, previous = head.position, head.hash
    for unit in units:
        first = unit.record.seq - len(unit.lines)
        for seq, line in enumerate(unit.lines, first):
            position += 1
            row = _row(head.id, position, unit, (seq, line), previous=previous, scope=(tenant, lane))
            previous = row.hash
            rows.append(row)
    return tuple(rows)


def _row(
    chain: int,
    position: int,
    unit: Unit,
    numbered: tuple[int, Line],
    *,
    previous: bytes,
    scope: tuple[str, str],
) -> LogRow:
    seq, line = numbered
    data = line_data(line)
    digest = sha256(data.encode()).digest()
    object, version = (line.object, line.version) if isinstance(line, Applied) else (None, None)
    header = (*scope, chain, position, str(unit.saga), seq, line.kind, object, version)
    tail = (SCHEMA_VERSION, (line.at - _EPOCH) // _MICROSECOND, digest.hex())
    return LogRow(
        chain=chain,
        position=position,
        saga=unit.saga,
        seq=seq,
        kind=line.kind,
        object=object,
        version=version,
        schema_version=SCHEMA_VERSION,
        at=line.at,
        data=data,
        digest=digest,
        hash=sha256(previous + orjson.dumps(header + tail)).digest(),
    )


Link = tuple[int, str, int, str, str | None, int | None, int, int, str | None, bytes, bytes]
"""A line as the chain sees it: position, saga (text), seq, kind, object, version, schema version, its instant
in microseconds since 1970, data, digest, hash."""


def link_of(row: LogRow) -> Link:
    """The row as the chain sees it."""
    at = (row.at - _EPOCH) // _MICROSECOND
    named = (row.position, str(row.saga), row.seq, row.kind, row.object, row.version)
    return (*named, row.schema_version, at, row.data, row.digest, row.hash)


class ChainCheck:
    """Follows one chain line by line and says what is wrong with each.

    After a fault the chain is taken up again from the line's own hash, so one edit is one finding.
    `position` and `hash` are where it stands; a part of a chain is followed from where another ended.
    """

    def __init__(self, chain: int, *, tenant: str, lane: str, position: int = 0, hash: bytes = b"") -> None:
        self.chain = chain
        self.position = position
        self.hash = hash
        self._scope = (tenant, lane, chain)

    def follow(self, row: LogRow) -> str | None:
        """What is wrong with the next line; None: nothing."""
        return self.follow_link(link_of(row))

    def follow_link(self, line: Link) -> str | None:
        """The same for a line as the chain sees it; this is what a million lines go through."""
        position, data, digest, hash = line[0], line[8], line[9], line[10]
        fault: str | None = None
        if position != self.position + 1:
            fault = f"position {position} follows {self.position}: lines were removed or inserted"
        elif data is not None and sha256(data.encode()).digest() != digest:
            fault = "its data was edited: the digest does not match"
        else:
            told = orjson.dumps((*self._scope, *line[:8], digest.hex()))
            if sha256(self.hash + told).digest() != hash:
                fault = "its hash does not follow from the line before: edited, swapped or inserted"
        self.position, self.hash = position, hash
        return fault
