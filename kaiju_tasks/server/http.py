"""JSON-RPC over POST."""

import asyncio

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from kaiju_tasks.api import Caller
from kaiju_tasks.api.frames import Frames
from kaiju_tasks.errors import InvalidRequest, TooLarge
from kaiju_tasks.rpc import encode_error

__all__ = ["rpc_url", "serve_post"]

BODY_SECONDS = 60.0


async def serve_post(request: web.Request, frames: Frames) -> web.Response:
    """Answer a request or batch: 200 with the answer, 204 when nothing is to be said.

    Whatever its Content-Type (`curl -d` and urllib say it is a form): what a page of another site
    may send is decided by Origin and Host.
    """
    try:
        async with asyncio.timeout(BODY_SECONDS):
            body = await _read(request, frames.limits.max_body_bytes)
    except TimeoutError:
        said = f"the body did not come within {BODY_SECONDS:g} seconds"
        return _json(encode_error(None, InvalidRequest(said)), status=408)
    except (web.RequestPayloadError, HttpProcessingError, ConnectionError):
        said = "the body ended early, or cannot be unpacked"
        response = _json(encode_error(None, InvalidRequest(said)), status=400)
        response.force_close()  # where the next request begins is not known
        return response
    except TooLarge as error:
        return _json(encode_error(None, error))
    answer = await frames.answer(body, Caller(remote=request.remote, url=rpc_url(request)))
    return web.Response(status=204) if answer is None else _json(answer)


def rpc_url(request: web.Request) -> str:
    """Where the methods are called, as the client names the manager."""
    return f"{request.scheme}://{request.host}/rpc"


async def _read(request: web.Request, max_bytes: int) -> bytes:
    body = bytearray()
    while chunk := await request.content.readany():
        body += chunk
        if len(body) > max_bytes:
            raise TooLarge(f"at most {max_bytes} bytes are taken in a request", limit=max_bytes)
    return bytes(body)


def _json(body: bytes, status: int = 200) -> web.Response:
    return web.Response(body=body, status=status, content_type="application/json")
