"""Signs browsers in with a token, and out."""

import asyncio
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta, Struct

from kaiju_tasks.errors import Forbidden, InvalidRequest, KaijuError, TooLarge
from kaiju_tasks.rights import Kind
from kaiju_tasks.server.entrance import Entrance, refusal
from kaiju_tasks.server.front import FRONT
from kaiju_tasks.server.sessions import cookie_of, is_secure

__all__ = ["SignIn"]

BODY_BYTES_MAX = 4_096
BODY_SECONDS = 10.0


class _Presented(Struct, forbid_unknown_fields=True):
    token: Annotated[str, Meta(min_length=1)]


_decode = msgspec.json.Decoder(_Presented).decode


class SignIn:
    """The requests that begin and end sessions."""

    def __init__(self, entrance: Entrance) -> None:
        self._entrance = entrance

    async def begin(self, request: web.Request) -> web.StreamResponse:
        """Answer `{"token": …}` with the cookie of a session. Without tokens there is none."""
        try:
            self._entrance.check_page(request)
            token = await _token_in(request)
            admission = await self._entrance.admit_token(token, request.remote)
            if admission.principal.kind is Kind.EXECUTOR:
                raise Forbidden("the token of an executor cannot be used to sign in")
        except KaijuError as error:
            return refusal(error)
        response = web.Response(status=204)
        if admission.parts is not None:
            self._end(request)
            secret = self._entrance.sessions.begin(admission)
            response.set_cookie(
                cookie_of(request),
                secret,
                path=_path(request),
                secure=is_secure(request),
                httponly=True,
                samesite="Strict",
            )
        return response

    async def end(self, request: web.Request) -> web.StreamResponse:
        """End the session of a browser, on all its pages."""
        try:
            self._entrance.check_page(request)
        except KaijuError as error:
            return refusal(error)
        self._end(request)
        response = web.Response(status=204)
        response.del_cookie(
            cookie_of(request),
            path=_path(request),
            secure=is_secure(request),
            httponly=True,
            samesite="Strict",
        )
        return response

    def _end(self, request: web.Request) -> None:
        sessions = self._entrance.sessions
        if (session := sessions.of(request)) is not None:
            sessions.end(session)


async def _token_in(request: web.Request) -> str:
    size = request.content_length
    if size is None or size > BODY_BYTES_MAX:
        raise TooLarge(
            f"the request must have a length of at most {BODY_BYTES_MAX} bytes",
            limit=BODY_BYTES_MAX,
        )
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return _decode(await request.read()).token
    except TimeoutError:
        raise InvalidRequest("the request body did not arrive in time") from None
    except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError):
        raise InvalidRequest('the request must be {"token": "kt_…"}') from None


def _path(request: web.Request) -> str:
    return request.app[FRONT].base + "/"
