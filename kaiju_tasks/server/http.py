"""Serves JSON-RPC over HTTP POST."""

import asyncio
from collections.abc import Callable
from functools import partial

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
from kaiju_tasks.manager.auth import Authenticator
from kaiju_tasks.rpc import Effort, encode_error
from kaiju_tasks.server.arrivals import Arrival
from kaiju_tasks.server.entrance import ADMISSION, refusal
from kaiju_tasks.server.front import public_url_of
from kaiju_tasks.server.pace import Pace
from kaiju_tasks.server.seat import CallSeat
from kaiju_tasks.server.traffic import Traffic

__all__ = ["client_of", "connection_of", "given_up", "peer_of", "rpc_url", "serve_post"]

BODY_SECONDS = 60.0
"""The time in which a body has to arrive."""
GIVEN_UP_SECONDS = 0.01
"""What it costs to receive a request that does not become complete."""


async def serve_post(
    request: web.Request, auth: Authenticator, frames: Frames, traffic: Traffic
) -> web.Response:
    """Answer a request or a batch: 200 with the response, or 204 if there is none.

    The Content-Type is ignored, because `curl -d` and urllib send that of a form. Foreign pages are
    refused by Origin and Host. The caller is authenticated again when the body is complete, because
    its token can end meanwhile.
    """
    client, size = peer_of(request), _arrived(request, frames.limits.max_body_bytes)
    if size is None or traffic.pace.rests(client):
        taken = 0
    else:
        taken = traffic.requests.take_now(client, size)
    if taken:
        body = request.content.read_nowait()
        return await _answer(request, body, auth, frames, traffic, client, taken)
    await traffic.pace.turn(client)
    arrival = traffic.arrivals.begin(client_of(request), given_up(request, traffic.pace, client))
    try:
        read = await _body(request, frames, arrival)
        if isinstance(read, web.Response):
            return read
        taken = await traffic.requests.take(client, len(read))
    finally:
        arrival.ended()
    return await _answer(request, read, auth, frames, traffic, client, taken)


def _arrived(request: web.Request, most: int) -> int | None:
    """The size of a body that has arrived together with its request, as most do, and that nothing
    is wrong with; None for any other."""
    content = request.content
    complete = content.is_eof() and content.exception() is None
    return content.total_bytes if complete and content.total_bytes <= most else None


async def _answer(
    request: web.Request,
    body: bytes,
    auth: Authenticator,
    frames: Frames,
    traffic: Traffic,
    client: str,
    taken: int,
) -> web.Response:
    """Answer a request, and give back what it has taken."""
    effort = Effort()
    try:
        response, size = await effort.measure(_serve(request, body, auth, frames))
        traffic.pace.answered(client, effort, len(body) + size)
        traffic.answers.add(client, response, size)
        return response
    except TooManyRequests as error:
        return refusal(error)
    finally:
        traffic.requests.give(client, taken)


async def _body(request: web.Request, frames: Frames, arrival: Arrival) -> bytes | web.Response:
    """The body, or the answer to a request whose body does not arrive."""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await _read(request, frames.limits.max_body_bytes, arrival)
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


async def _serve(
    request: web.Request, body: bytes, auth: Authenticator, frames: Frames
) -> tuple[web.Response, int]:
    """The response and the size of its body."""
    try:
        admission = await auth.admit_again(request[ADMISSION])
    except (Unauthorized, Unavailable) as error:
        return refusal(error), 0
    caller = Caller(admission.principal, remote=request.remote, url=partial(rpc_url, request))
    with auth.seated(CallSeat(caller), admission):
        answer = await frames.answer(body, caller)
    return (web.Response(status=204), 0) if answer is None else (_json(answer), len(answer))


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


def given_up(request: web.Request, pace: Pace, client: str) -> Callable[[], None]:
    """A function that closes the connection of a request, ends the task that calls this, and lets
    the client rest."""
    task = asyncio.current_task()

    def end() -> None:
        pace.charge(client, GIVEN_UP_SECONDS)
        if request.transport is not None:
            request.transport.abort()
        if task is not None:
            task.cancel()

    return end


def rpc_url(request: web.Request) -> str:
    """The URL of the methods, with the host name that the client uses."""
    return f"{public_url_of(request)}/rpc"


async def _read(request: web.Request, max_bytes: int, arrival: Arrival) -> bytes:
    body = bytearray()
    while chunk := await request.content.readany():
        arrival.grew(len(chunk))
        body += chunk
        if len(body) > max_bytes:
            raise TooLarge(f"a request may have at most {max_bytes} bytes", limit=max_bytes)
    return bytes(body)


def _json(body: bytes, status: int = 200) -> web.Response:
    return web.Response(body=body, status=status, content_type="application/json")
