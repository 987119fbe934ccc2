"""Browsers that are signed in. The cookie holds a signed name only; what it stands for stays here.

So signing out ends a session for good: the same cookie sent again is nobody's. Sessions live in this process:
a restart ends them, and people sign in again.
"""

import hmac
from collections import OrderedDict
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from http.cookies import SimpleCookie

from itsdangerous import BadSignature, Signer

from sagacity.clock import Clock
from sagacity.ids import new_secret
from sagacity.model.operating import Actor
from sagacity.web.guard.settings import WebSettings

COOKIE = "sagacity_session"
_MOST = 10_000


@dataclass(slots=True, kw_only=True)
class Session:
    """One browser that is signed in; instants are the clock's monotonic seconds."""

    name: str
    actor: Actor
    csrf: str
    began: float
    seen: float


class Sessions:
    """Those that live, the least used first; at most 10,000, and the least used give way."""

    def __init__(self, settings: WebSettings) -> None:
        self._clock: Clock = settings.clock
        self._signer = Signer(settings.secret, salt=b"sagacity.session", digest_method=sha256)
        self._secure = settings.secure
        self._idle, self._longest = settings.idle, settings.session
        self._living: OrderedDict[str, Session] = OrderedDict()

    def begin(self, actor: Actor) -> Session:
        """A new session with a new name, whatever the browser had before."""
        now = self._clock.monotonic()
        name = new_secret(32).hex()
        session = Session(name=name, actor=actor, csrf=new_secret(32).hex(), began=now, seen=now)
        self._living[name] = session
        while len(self._living) > _MOST:
            self._living.popitem(last=False)
        return session

    def header(self, session: Session | None) -> str:
        """The `Set-Cookie` header that gives a browser `session`; None takes away what it has."""
        made: SimpleCookie = SimpleCookie()
        made[COOKIE] = self._signer.sign(session.name).decode() if session is not None else ""
        morsel = made[COOKIE]
        morsel["path"], morsel["samesite"] = "/", "Lax"
        morsel["httponly"], morsel["secure"] = True, self._secure
        if session is None:
            morsel["max-age"] = 0
        return morsel.OutputString()

    def of(self, cookie: str | None) -> Session | None:
        """The living session that a cookie names; None: forged, over, or there is none."""
        if not cookie:
            return None
        try:
            name = self._signer.unsign(cookie).decode()
        except (BadSignature, UnicodeError):
            return None
        session = self._living.get(name)
        if session is None:
            return None
        now = self._clock.monotonic()
        if self._over(now - session.seen, self._idle) or self._over(now - session.began, self._longest):
            del self._living[name]
            return None
        session.seen = now
        self._living.move_to_end(name)
        return session

    @staticmethod
    def _over(seconds: float, limit: timedelta) -> bool:
        return seconds > limit.total_seconds()

    def end(self, session: Session) -> None:
        """Sign out: the cookie is worth nothing from now on."""
        self._living.pop(session.name, None)


def same(given: str | None, wanted: str) -> bool:
    """Whether two secrets are the same, in a time that does not tell where they differ."""
    return given is not None and hmac.compare_digest(given.encode(), wanted.encode())
