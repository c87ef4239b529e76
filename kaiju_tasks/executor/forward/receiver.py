"""Receives the callbacks of a service over HTTP."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from yarl import URL

from kaiju_tasks.executor.forward.answer import CHUNK_BYTES, too_large
from kaiju_tasks.executor.forward.callbacks import (
    Callback,
    CallbackPortTaken,
    Callbacks,
)

__all__ = ["receiving"]


@asynccontextmanager
async def receiving(callbacks: Callbacks) -> AsyncIterator[None]:
    """Listen at the host and port of the callbacks' URL.

    :raises CallbackPortTaken: this is not possible
    """
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", _Receiver(callbacks).answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await _listen(runner, callbacks.url)
        yield
    finally:
        await runner.cleanup()


async def _listen(runner: web.AppRunner, url: URL) -> None:
    try:
        await web.TCPSite(runner, url.host, url.port).start()
    except OSError as error:
        raise CallbackPortTaken(
            f"the executor cannot listen at {url}, where the service would call it: "
            f"{error.strerror or error}"
        ) from error


class _Receiver:
    def __init__(self, callbacks: Callbacks) -> None:
        self._callbacks = callbacks

    async def answer(self, request: web.Request) -> web.Response:
        callback = self._callbacks.find(request.path)
        if callback is None:
            return _gone()
        if request.method != "POST":
            return _said(405, "send each message with POST")
        body = await _body(request, callback)
        if self._callbacks.find(request.path) is not callback:  # it has ended meanwhile
            return _gone()
        if body is None:
            callback.put(too_large(callback.limit))
            return _said(413, f"a message has at most {callback.limit:,} bytes")
        if not callback.put(body):
            return _said(429, "too many messages wait: send this one again")
        return web.Response(status=204)


async def _body(request: web.Request, callback: Callback) -> bytes | None:
    """The body of a request; None if it is too large."""
    parts, size = [], 0
    async for part in request.content.iter_chunked(CHUNK_BYTES):
        size += len(part)
        if size > callback.limit:
            return None
        parts.append(part)
    return b"".join(parts)


def _gone() -> web.Response:
    return _said(404, "no call awaits anything here: its stage has ended, or runs elsewhere")


def _said(status: int, message: str) -> web.Response:
    return web.json_response({"message": message}, status=status)
