"""The sessions of browsers that have signed in with a token.

A session is a secret in a cookie that pages cannot read. This process knows only its hash. It ends
with its token, after a time, or when somebody signs out; its WebSockets end with it.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from secrets import token_urlsafe

from aiohttp import web

from kaiju_tasks.manager.auth import Admission
from kaiju_tasks.server.front import FRONT

__all__ = ["Session", "Sessions", "cookie_of"]

LONGEST_SECONDS = 12 * 3600.0
IDLE_SECONDS = 30 * 60.0
"""The time without a request after which a session ends. An open WebSocket is a request."""
SESSIONS_MAX = 1_000
SECRET_BYTES = 32


class Session:
    """A browser that has signed in.

    :param key: the hash of its secret
    :ivar admission: the caller, as it was last admitted
    """

    def __init__(self, key: bytes, admission: Admission, now: float) -> None:
        self.key = key
        self.admission = admission
        self.expires_at = now + LONGEST_SECONDS
        self.used_at = now
        self._open: set[asyncio.Task[object]] = set()

    def is_over(self, now: float) -> bool:
        """Whether the session has ended by itself."""
        idle = not self._open and now - self.used_at > IDLE_SECONDS
        return idle or now > self.expires_at

    @contextmanager
    def during(self) -> Iterator[None]:
        """Cancel the current task if the session ends before the end of the block."""
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            yield
        finally:
            self._open.discard(task)
            self.used_at = asyncio.get_running_loop().time()

    def end(self) -> None:
        """Cancel what is going on in it."""
        for task in self._open:
            task.cancel()


class Sessions:
    """The open sessions of one manager, the one used last at the end."""

    def __init__(self) -> None:
        self._open: OrderedDict[bytes, Session] = OrderedDict()

    def begin(self, admission: Admission) -> str:
        """Begin a session. Too many end the one that was not used for the longest time.

        :returns: its secret
        """
        secret = token_urlsafe(SECRET_BYTES)
        session = Session(_hash(secret), admission, _now())
        self._open[session.key] = session
        self._end_expired()
        while len(self._open) > SESSIONS_MAX:
            self.end(next(iter(self._open.values())))
        return secret

    def of(self, request: web.Request) -> Session | None:
        """The session of a request, or None."""
        if not self._open:
            return None
        secret = request.cookies.get(cookie_of(request))
        session = None if secret is None else self._open.get(_hash(secret))
        if session is None:
            return None
        now = _now()
        if session.is_over(now):
            self.end(session)
            return None
        session.used_at = now
        self._open.move_to_end(session.key)
        return session

    def end(self, session: Session) -> None:
        """End a session."""
        self._open.pop(session.key, None)
        session.end()

    def _end_expired(self) -> None:
        now = _now()
        for session in [one for one in self._open.values() if one.is_over(now)]:
            self.end(session)


def cookie_of(request: web.Request) -> str:
    """The name of the cookie. Browsers believe the prefixes only over TLS; without TLS, the port
    distinguishes the managers of a machine."""
    if not is_secure(request):
        return f"kaiju-{request.url.port}"
    return "__Secure-kaiju" if request.app[FRONT].base else "__Host-kaiju"


def is_secure(request: web.Request) -> bool:
    """Whether the browser uses TLS."""
    origin = request.app[FRONT].origin
    return request.scheme == "https" or (origin is not None and origin.startswith("https:"))


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()


def _now() -> float:
    return asyncio.get_running_loop().time()
