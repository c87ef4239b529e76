"""Admits requests: by their token, before their body is read."""

import asyncio
import math
from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web

from kaiju_tasks.errors import (
    Forbidden,
    InvalidRequest,
    KaijuError,
    TooManyRequests,
    Unauthorized,
)
from kaiju_tasks.manager.auth import Admission, Authenticator
from kaiju_tasks.rights import Access, may_call, read_token
from kaiju_tasks.rpc import encode_error
from kaiju_tasks.server.failures import Failures
from kaiju_tasks.server.sessions import Session, Sessions

__all__ = ["ADMISSION", "Entrance", "Handler", "refusal"]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

ADMISSION = web.RequestKey("admission", Admission)
SCHEME = "bearer"
JSON = "application/json"
SAFE = frozenset({hdrs.METH_GET, hdrs.METH_HEAD})
FETCH_SITE = "Sec-Fetch-Site"
OWN_SITE = frozenset({"same-origin", "none"})
IN_URL = ("token", "access_token")
"""Parameters in which other services take tokens."""


class Entrance:
    """Admits requests to the routes of a manager.

    :ivar sessions: of the browsers that have signed in
    """

    def __init__(self, auth: Authenticator) -> None:
        self._auth = auth
        self._failures = Failures()
        self.sessions = Sessions()

    def guard(self, access: Access, handler: Handler) -> Handler:
        """A handler that only those who have access reach. Its requests have an `ADMISSION`, unless
        the route is for everybody.

        :param access: who may use the route
        """

        async def guarded(request: web.Request) -> web.StreamResponse:
            if access.anonymous:
                return await handler(request)
            cookie = hdrs.COOKIE in request.headers
            session = self._session_of(request) if cookie else None
            try:
                request[ADMISSION] = await self._admit(request, access, session)
            except KaijuError as error:
                return refusal(error)
            if session is None or hdrs.UPGRADE not in request.headers:
                return await handler(request)
            with session.during():
                return await handler(request)

        guarded.access = access  # type: ignore[attr-defined]
        return guarded

    def _session_of(self, request: web.Request) -> Session | None:
        """The session of a request without a token."""
        return None if hdrs.AUTHORIZATION in request.headers else self.sessions.of(request)

    async def _admit(
        self, request: web.Request, access: Access, session: Session | None
    ) -> Admission:
        if request.query_string and any(name in request.query for name in IN_URL):
            raise InvalidRequest(
                "a token must not be in a URL, which is logged in many places: send it in the "
                "header `Authorization: Bearer`, and revoke this one"
            )
        if session is None:
            token, remote = _token_of(request), request.remote
            admission = self._auth.admit_now(token, remote)
            if admission is None:
                admission = await self.admit_token(token, remote)
        else:
            self.check_page(request)
            admission = await self._admit_session(session)
        if not may_call(admission.principal, access):
            raise Forbidden("your token does not allow to use this URL")
        return admission

    async def _admit_session(self, session: Session) -> Admission:
        """The caller with its present rights. Its session ends with its token."""
        try:
            session.admission = await self._auth.admit_again(session.admission)
        except Unauthorized:
            self.sessions.end(session)
            raise
        return session.admission

    def check_page(self, request: web.Request) -> None:
        """Check that a request comes from a page of this manager. `Guard` has refused the origins
        of others; this refuses requests without an origin, and those that a form can send.

        :raises Forbidden: the request has no origin
        :raises InvalidRequest: its content is not JSON
        """
        origin, site = request.headers.get(hdrs.ORIGIN), request.headers.get(FETCH_SITE)
        reads = request.method in SAFE and hdrs.UPGRADE not in request.headers
        if origin is None and not (reads and site in OWN_SITE):
            raise Forbidden("a request with a cookie must have an Origin")
        if request.method == hdrs.METH_POST and request.content_type != JSON:
            raise InvalidRequest(f"a request with a cookie must have the Content-Type {JSON}")

    async def admit_token(self, token: str | None, remote: str | None) -> Admission:
        """Authenticate who presents a token.

        :param token: an empty text is a wrong token
        :param remote: the address that it comes from
        :raises TooManyRequests: too many wrong tokens came from there
        :raises Unauthorized: it needs a valid token
        :raises Unavailable: the database cannot be reached
        """
        now = asyncio.get_running_loop().time()
        seconds = self._failures.seconds_left(remote, now)
        if seconds and not self._is_known(token):
            raise TooManyRequests(
                f"too many wrong tokens came from this address: wait {math.ceil(seconds)} seconds",
                retry_after=math.ceil(seconds),
            )
        try:
            return await self._auth.admit(token, remote)
        except Unauthorized:
            if token is not None:
                self._failures.failed(remote, now)
            raise

    def _is_known(self, token: str | None) -> bool:
        """Whether a token was valid when it was last presented, or there is none. Then it is looked
        at although others with the same address, such as that of a proxy, have failed."""
        parts = None if token is None else read_token(token)
        return token is None or (parts is not None and self._auth.has_admitted(parts))


def _token_of(request: web.Request) -> str | None:
    """The token of a request; None if there is none. An empty text is a wrong token."""
    if hdrs.AUTHORIZATION not in request.headers:
        return None
    headers = request.headers.getall(hdrs.AUTHORIZATION)
    scheme, _, token = headers[0].partition(" ")
    return token.strip() if len(headers) == 1 and scheme.lower() == SCHEME else ""


def refusal(error: KaijuError) -> web.Response:
    """The answer to a request that is not admitted."""
    headers = {}
    if isinstance(error, Unauthorized):
        headers[hdrs.WWW_AUTHENTICATE] = "Bearer"
    if isinstance(error, TooManyRequests):
        headers[hdrs.RETRY_AFTER] = str(error.data["retry_after"])
    status = 400 if isinstance(error, InvalidRequest) else error.code
    return web.Response(
        body=encode_error(None, error),
        status=status,
        headers=headers,
        content_type="application/json",
    )
