"""Serves JSON-RPC over HTTP POST."""

import asyncio
import select
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from kaiju_tasks.api import Caller
from kaiju_tasks.api.frames import Frames
from kaiju_tasks.errors import (
    InvalidRequest,
    TooLarge,
    TooManyRequests,
    Unauthorized,
    Unavailable,
)
from kaiju_tasks.manager.auth import Admission, Authenticator
from kaiju_tasks.rpc import Effort, encode_error
from kaiju_tasks.server.arrivals import Arrival
from kaiju_tasks.server.entrance import ADMISSION, refusal
from kaiju_tasks.server.front import public_url_of
from kaiju_tasks.server.seat import CallSeat
from kaiju_tasks.server.traffic import LARGE_ANSWER_BYTES, Traffic

__all__ = [
    "POSTS",
    "Posts",
    "client_of",
    "connection_of",
    "given_up",
    "is_gone",
    "peer_of",
    "rpc_url",
    "unread",
]

BODY_SECONDS = 60.0
"""The time in which a body has to arrive."""
HUNG_UP = getattr(select, "POLLRDHUP", 0)
"""What only Linux reports; elsewhere, a connection that is aborted is noticed, and no other."""
GIVEN_UP_SECONDS = 0.01
"""What it costs to receive a request that does not become complete."""


class Posts:
    """Answers JSON-RPC over HTTP POST: 200 with the response, or 204 if there is none.

    The Content-Type is ignored, because `curl -d` and urllib send that of a form. Foreign pages are
    refused by Origin and Host.
    """

    def __init__(self, auth: Authenticator, frames: Frames, traffic: Traffic) -> None:
        self._auth = auth
        self._frames = frames
        self._traffic = traffic

    def answer(self, request: web.Request) -> Coroutine[Any, Any, web.Response]:
        """Answer a request or a batch. Most bodies have arrived together with their request: then
        the caller was admitted a moment ago, and nothing has to be waited for."""
        admission, content = request[ADMISSION], request.content
        client = admission.principal.id or connection_of(request)
        size, traffic = content.total_bytes, self._traffic
        if (
            content.is_eof()
            and content.exception() is None
            and size <= self._frames.limits.max_body_bytes
            and not traffic.pace.rests(client)
            and (taken := traffic.requests.take_now(client, size))
        ):
            return self._answer(request, content.read_nowait(), admission, client, taken)
        return self._answer_later(request, client)

    async def _answer_later(self, request: web.Request, client: str) -> web.Response:
        """Wait for the body, and for room to answer it. The caller is authenticated again then,
        because its token can end meanwhile."""
        traffic = self._traffic
        arrival = traffic.arrivals.begin(client_of(request), given_up(request, traffic, client))
        try:
            arrival.grew(request.content.total_bytes)
            with unread(request):
                await traffic.pace.turn(client, partial(is_gone, request))
            body = await self._body(request, arrival)
            if isinstance(body, web.Response):
                return body
            taken = await traffic.requests.take(client, len(body))
        finally:
            arrival.ended()
        return await self._answer(request, body, None, client, taken)

    async def _answer(
        self,
        request: web.Request,
        body: bytes,
        admission: Admission | None,
        client: str,
        taken: int,
    ) -> web.Response:
        """Answer a request, and give back what it has taken.

        :param admission: None if it is to be authenticated again
        """
        traffic, effort = self._traffic, Effort()
        seat: CallSeat | None = None
        try:
            if admission is None:
                admission = await self._auth.admit_again(request[ADMISSION])
            caller = Caller(
                admission.principal,
                remote=request.remote,
                url=partial(rpc_url, request),
                is_gone=partial(is_gone, request),
            )
            seat = CallSeat(caller)
            self._auth.sit(seat, admission)
            answer = await effort.measure(self._frames.answer(body, caller))
            size = 0 if answer is None else len(answer)
            response = web.Response(status=204) if answer is None else _json(answer)
            traffic.pace.answered(client, effort, len(body) + size)
            if size >= LARGE_ANSWER_BYTES:
                traffic.answers.add(client, response, size)
            return response
        except (Unauthorized, Unavailable) as error:
            traffic.pace.answered(client, effort, len(body))
            return refusal(error)
        except TooManyRequests as error:
            return refusal(error)
        finally:
            if seat is not None:
                self._auth.leave(seat)
            traffic.requests.give(client, taken)

    async def _body(self, request: web.Request, arrival: Arrival) -> bytes | web.Response:
        """The body, or the answer to a request whose body does not arrive."""
        try:
            async with asyncio.timeout(BODY_SECONDS):
                return await _read(request, self._frames.limits.max_body_bytes, arrival)
        except TimeoutError:
            message = f"the request body did not arrive within {BODY_SECONDS:g} seconds"
            return _json(encode_error(None, InvalidRequest(message)), status=408)
        except (web.RequestPayloadError, HttpProcessingError, ConnectionError):
            message = "the request body is incomplete or cannot be decompressed"
            response = _json(encode_error(None, InvalidRequest(message)), status=400)
            response.force_close()  # the start of the next request is unknown
            return response
        except TooLarge as error:
            return _json(encode_error(None, error))


POSTS = web.AppKey("posts", Posts)


def client_of(request: web.Request) -> str:
    """Whose sockets are counted together: those of a principal or, without tokens, of a remote
    address."""
    return request[ADMISSION].principal.id or request.remote or ""


def peer_of(request: web.Request) -> str:
    """Whose requests are counted together: those of a principal or, without tokens, of a
    connection, because all clients on this machine have one address."""
    return request[ADMISSION].principal.id or connection_of(request)


def connection_of(request: web.Request) -> str:
    """A name of the connection."""
    return f"connection {id(request.protocol)}"


def is_gone(request: web.Request) -> bool:
    """Whether the connection of a request has ended, so that nobody reads the answer."""
    transport = request.transport
    if transport is None or transport.is_closing():
        return True
    return not transport.is_reading() and _has_hung_up(transport)


def _has_hung_up(transport: asyncio.BaseTransport) -> bool:
    """Whether the other end has closed a connection that is not read, so that nobody notices."""
    poll = select.poll()
    poll.register(transport.get_extra_info("socket"), HUNG_UP)
    return bool(poll.poll(0))


@contextmanager
def unread(request: web.Request) -> Iterator[None]:
    """Read nothing of a connection for the duration of the block."""
    transport = request.transport
    if transport is None or not transport.is_reading():  # its buffer is full already
        yield
        return
    transport.pause_reading()
    try:
        yield
    finally:
        if request.transport is transport:  # the connection was not given up
            transport.resume_reading()


def given_up(request: web.Request, traffic: Traffic, client: str) -> Callable[[], None]:
    """A function that closes the connection of a request, ends the task that calls this, and lets
    the client rest."""
    task = asyncio.current_task()

    def end() -> None:
        traffic.pace.charge(client, GIVEN_UP_SECONDS)
        traffic.closings.close(request, client_of(request))
        if task is not None:
            task.cancel()

    return end


def rpc_url(request: web.Request) -> str:
    """The URL of the methods, with the host name that the client uses."""
    return f"{public_url_of(request)}/rpc"


async def _read(request: web.Request, max_bytes: int, arrival: Arrival) -> bytes:
    body, content = bytearray(), request.content
    counted = arrival.bytes
    try:
        while chunk := await content.readany():
            arrival.grew(content.total_bytes - counted)
            counted = content.total_bytes
            body += chunk
            if len(body) > max_bytes:
                raise TooLarge(f"a request may have at most {max_bytes} bytes", limit=max_bytes)
    except asyncio.CancelledError:
        body.clear()  # the traceback would keep it until cycles are looked for
        raise
    return bytes(body)


def _json(body: bytes, status: int = 200) -> web.Response:
    return web.Response(body=body, status=status, content_type="application/json")
