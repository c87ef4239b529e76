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

__all__ = ["ADMISSION", "Entrance", "Handler", "refusal"]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

ADMISSION = web.RequestKey("admission", Admission)
SCHEME = "bearer"
IN_URL = ("token", "access_token")
"""Parameters in which other services take tokens."""


class Entrance:
    """Admits requests to the routes of a manager."""

    def __init__(self, auth: Authenticator) -> None:
        self._auth = auth
        self._failures = Failures()

    def guard(self, access: Access, handler: Handler) -> Handler:
        """A handler that only those who have access reach. Its requests have an `ADMISSION`, unless
        the route is for everybody.

        :param access: who may use the route
        """

        async def guarded(request: web.Request) -> web.StreamResponse:
            if not access.anonymous:
                try:
                    request[ADMISSION] = await self._admit(request, access)
                except KaijuError as error:
                    return refusal(error)
            return await handler(request)

        guarded.access = access  # type: ignore[attr-defined]
        return guarded

    async def _admit(self, request: web.Request, access: Access) -> Admission:
        if request.query_string and any(name in request.query for name in IN_URL):
            raise InvalidRequest(
                "a token must not be in a URL, which is logged in many places: send it in the "
                "header `Authorization: Bearer`, and revoke this one"
            )
        admission = await self._authenticate(request)
        if not may_call(admission.principal, access):
            raise Forbidden("your token does not allow to use this URL")
        return admission

    async def _authenticate(self, request: web.Request) -> Admission:
        token, remote = _token_of(request), request.remote
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
    headers = request.headers.getall(hdrs.AUTHORIZATION, [])
    if not headers:
        return None
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
