"""Where anchors and lines go, outside the database: a file that is only appended to, or an HTTP address.

A sink is asked for what it has before anything is sent, so nothing is remembered here: whoever dies in the
middle is continued by whoever comes next. What was sent twice is recognised by chain and position.

An HTTP sink answers GET with JSON lines, its newest anchor last (older lines may stand before it), or with
404 or 204 while it has none; it takes POST of JSON lines (`application/x-ndjson`) and answers 2xx once they
are kept.
"""

import asyncio
import contextlib
import fcntl
import os
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

from sagacity.errors import SinkUnavailable

_BLOCK = 1 << 16
_TIMEOUT_SECONDS = 20
_FORM = {"Content-Type": "application/x-ndjson"}


class Sink(Protocol):
    """See the module."""

    def held(self) -> AbstractAsyncContextManager[bool]:
        """For one round of sending; False: somebody else is at it, and will have done it."""

    async def anchors(self, *, newest: int | None = None) -> list[bytes]:
        """Lines that hold anchors, oldest first; `newest`: at most so many, from the end."""

    async def append(self, lines: bytes) -> None:
        """Keep these lines behind all others, durably.

        Raises:
            SinkUnavailable: they may or may not be kept; send them again.
        """


def sink_of(place: str) -> Sink:
    """The sink that a path or an address names."""
    if place.startswith(("http://", "https://")):
        return HttpSink(place)
    return FileSink(Path(place))


class FileSink:
    """A file of JSON lines. Its owner may make it append-only (`chattr +a`) or ship it away."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @asynccontextmanager
    async def held(self) -> AsyncIterator[bool]:
        """See `Sink`: by a lock on the file."""
        with _told(self._path):
            file = await asyncio.to_thread(_locked, self._path)
        try:
            yield file is not None
        finally:
            if file is not None:
                os.close(file)

    async def anchors(self, *, newest: int | None = None) -> list[bytes]:
        """See `Sink`."""
        with _told(self._path):
            return await asyncio.to_thread(self._anchors, newest)

    def _anchors(self, newest: int | None) -> list[bytes]:
        found: list[bytes] = []
        if self._path.exists():
            for line in _backwards(self._path):
                if b'"kind":"anchor"' in line:
                    found.append(line)
                    if len(found) == newest:
                        break
        return found[::-1]

    async def append(self, lines: bytes) -> None:
        """See `Sink`. A line that somebody left torn is ended first, so that it tears no other."""
        with _told(self._path):
            await asyncio.to_thread(self._append, lines)

    def _append(self, lines: bytes) -> None:
        file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            size = os.fstat(file).st_size
            torn = size > 0 and os.pread(file, 1, size - 1) != b"\n"
            rest = memoryview(b"\n" + lines if torn else lines)
            while rest:
                rest = rest[os.write(file, rest) :]
            os.fsync(file)
        finally:
            os.close(file)


def _locked(path: Path) -> int | None:
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    return file


def _backwards(path: Path) -> Iterator[bytes]:
    """Whole lines, the last one first."""
    with path.open("rb") as file:
        at = file.seek(0, os.SEEK_END)
        rest, torn = b"", True
        while at > 0:
            size = min(_BLOCK, at)
            at -= size
            file.seek(at)
            first, *lines = (file.read(size) + rest).split(b"\n")
            for line in reversed(lines):
                if not torn and line:
                    yield line
                torn = False  # what stands behind the last line end is no whole line
            rest = first
        if rest and not torn:
            yield rest


@contextlib.contextmanager
def _told(place: object) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SinkUnavailable(f"{place}: {error.strerror or error}: anchors cannot be kept there") from error


class HttpSink:
    """An address; see the module for what it must answer."""

    def __init__(self, url: str) -> None:
        self._url = url

    @asynccontextmanager
    async def held(self) -> AsyncIterator[bool]:
        """See `Sink`: always; the far side drops what it has."""
        yield True

    async def anchors(self, *, newest: int | None = None) -> list[bytes]:
        """See `Sink`."""
        with _told(self._url):
            body = await asyncio.to_thread(self._get)
        found = [line for line in body.splitlines() if b'"anchor"' in line]
        return found if newest is None else found[-newest:]

    async def append(self, lines: bytes) -> None:
        """See `Sink`."""
        with _told(self._url):
            await asyncio.to_thread(self._post, lines)

    def _get(self) -> bytes:
        try:
            with urllib.request.urlopen(self._url, timeout=_TIMEOUT_SECONDS) as answer:
                body: bytes = answer.read()
                return body
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return b""
            raise

    def _post(self, lines: bytes) -> None:
        request = urllib.request.Request(self._url, data=lines, headers=_FORM, method="POST")
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS):
            return
