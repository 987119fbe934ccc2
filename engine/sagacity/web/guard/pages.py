"""Whether a call that changes something was sent by a page of ours, or by a program.

A browser sends cookies with whatever any page asks it to. So a call from a browser must come from our own
origin, and one with a session must carry that session's token, which no other page can read.
"""

from urllib.parse import parse_qs, urlsplit

from fastapi import Request
from starlette.types import Message, Receive

from sagacity.web.guard.caller import Caller
from sagacity.web.guard.sessions import same

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_FORM = "application/x-www-form-urlencoded"


def foreign(request: Request) -> str | None:
    """What shows that a page of another origin sent this; None: nothing does."""
    site = request.headers.get("sec-fetch-site")
    if site not in (None, "same-origin", "none"):
        return f"it comes from another site (Sec-Fetch-Site: {site})"
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host", ""):
        return f"it comes from another origin ({origin})"
    return None


async def unproven(request: Request, caller: Caller, receive: Receive) -> tuple[bool, Receive]:
    """Whether the session's token is missing or wrong; and `receive`, as if nothing had been read."""
    if caller.session is None:
        return False, receive
    given = request.headers.get("x-csrf-token")
    if given is None and request.headers.get("content-type", "").partition(";")[0].strip() == _FORM:
        body, receive = await _kept(receive)
        given = parse_qs(body.decode("latin-1")).get("csrf", [None])[0]
    return not same(given, caller.session.csrf), receive


async def _kept(receive: Receive) -> tuple[bytes, Receive]:
    """The whole body, and a `receive` that gives it once more."""
    body, more = bytearray(), True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    again: Message | None = {"type": "http.request", "body": bytes(body), "more_body": False}

    async def replayed() -> Message:
        nonlocal again
        message, again = again, None
        return message if message is not None else await receive()

    return bytes(body), replayed


def local_path(wanted: str) -> str:
    """`wanted` where it is a path of this server; `/` for everything that could lead elsewhere."""
    fine = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and wanted.isprintable()
    return wanted if fine and "\\" not in wanted else "/"
