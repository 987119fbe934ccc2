"""Whether a call was sent by a page of ours, or by a program; and what a page is told that is refused.

A browser sends cookies with whatever any page asks it to. So a call from a browser must come from our own
origin, and one with a session must carry that session's token, which no other page can read.
"""

from html import escape
from urllib.parse import parse_qs, urlsplit

import orjson
from fastapi import Request
from fastapi.responses import HTMLResponse, Response
from starlette.types import Message, Receive

from sagacity.web.guard.caller import Caller
from sagacity.web.guard.sessions import same
from sagacity.web.problems import MEDIA_TYPE

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


_PROGRAMS = ("/v1", "/metrics", "/health", "/ready")
"""Where only programs call."""
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title} · Sagacity</title>
<link rel="stylesheet" href="/console/static/console.css">
<link rel="icon" href="/console/static/mark.svg" type="image/svg+xml">
</head>
<body>
<header class="top"><a class="brand" href="/">Sagacity</a></header>
<main id="main">
<div class="head"><p class="over num">{status}</p><h1>{title}</h1></div>
<p class="lead">{detail}</p>
{more}
</main>
</body>
</html>
"""
_MORE = {
    401: "<p>A browser cannot send a token. Whoever runs this server lets people sign in by setting "
    "<code>SAGACITY_OIDC_ISSUER</code>.</p>",
    403: '<p><a href="/">What needs somebody</a></p>',
}


def readable(request: Request, refusal: Response) -> Response:
    """A refusal as a page, for a browser that asked for one; else as it is. Its headers stay."""
    path = request.scope["path"]
    program = any(path == one or path.startswith(f"{one}/") for one in _PROGRAMS)
    wanted = "text/html" in request.headers.get("accept", "") and not program
    if not wanted or refusal.media_type != MEDIA_TYPE:
        return refusal
    told = orjson.loads(bytes(refusal.body))
    status = refusal.status_code
    page = _PAGE.format(
        title=escape(told["title"]),
        detail=escape(told["detail"]),
        status=status,
        more=_MORE.get(status, ""),
    )
    kept = {name: refusal.headers[name] for name in _KEPT if name in refusal.headers}
    return HTMLResponse(page, status, headers=kept)


_KEPT = ("retry-after", "www-authenticate")
