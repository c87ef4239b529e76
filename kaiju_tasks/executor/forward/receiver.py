"""Receives the callbacks of a service over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from aiohttp import web
from yarl import URL

from kaiju_tasks.executor.forward.answer import CHUNK_BYTES, too_large
from kaiju_tasks.executor.forward.callbacks import (
    Callback,
    CallbackPortTaken,
    Callbacks,
)
from kaiju_tasks.http_runner import ASKED, Asked, Runner

__all__ = ["receiving"]

BODY_SECONDS = 30.0
"""The time from the headers of a message until it has arrived."""
CONNECTIONS_MAX = 1000
CONNECTIONS_EACH = 500
"""The most open connections, in all and from one address."""


@asynccontextmanager
async def receiving(callbacks: Callbacks) -> AsyncIterator[None]:
    """Listen at the host and port of the callbacks' URL.

    :raises CallbackPortTaken: this is not possible
    """
    app = web.Application()
    app[ASKED] = asked = Asked()
    app.router.add_route("*", "/{path:.*}", _Receiver(callbacks, asked).answer)
    runner = Runner(app, 0.5)
    await runner.setup()
    assert runner.server is not None
    try:
        listening = await _listen(runner.server, callbacks.url)
        try:
            yield
        finally:
            listening.close()
    finally:
        await runner.cleanup()


async def _listen(server: web.Server, url: URL) -> asyncio.Server:
    assert url.port is not None, "http has a default"
    loop = asyncio.get_running_loop()
    try:
        return await loop.create_server(lambda: _Entrance(server), url.host, url.port)
    except OSError as error:
        raise CallbackPortTaken(
            f"the executor cannot listen at {url}, where the service would call it: "
            f"{error.strerror or error}"
        ) from error


class _Entrance(asyncio.Protocol):
    """Passes a new connection on to the server, or closes it if there are too many."""

    def __init__(self, server: web.Server) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop has a class of its own
        open_ones = [_address(one.transport) for one in self._server.connections]
        from_there = open_ones.count(_address(transport))
        if len(open_ones) >= CONNECTIONS_MAX or from_there >= CONNECTIONS_EACH:
            transport.close()
            return
        handler = self._server()
        transport.set_protocol(handler)
        handler.connection_made(transport)


def _address(transport: asyncio.BaseTransport | None) -> str | None:
    """The address of the peer; None if the connection is closed."""
    peer = None if transport is None else transport.get_extra_info("peername")
    return peer[0] if peer else None


class _Receiver:
    def __init__(self, callbacks: Callbacks, asked: Asked) -> None:
        self._callbacks = callbacks
        self._asked = asked

    async def answer(self, request: web.Request) -> web.Response:
        self._asked.add(request.protocol)
        callback = self._callbacks.find(request.path)
        if callback is None:
            return _gone()
        if request.method != "POST":
            return _said(405, "send each message with POST")
        message = _Message(callback)
        try:
            refused = await message.read(request)
            if self._callbacks.find(request.path) is not callback:  # it has ended meanwhile
                return _gone()
            return refused or message.hand_over()
        finally:
            message.forget()


class _Message:
    """A message that arrives. Its bytes take room until the call gets it, or it is forgotten."""

    def __init__(self, callback: Callback) -> None:
        self._callback = callback
        self._parts: list[bytes] = []
        self._size = 0

    async def read(self, request: web.Request) -> web.Response | None:
        """Read the body of a request.

        :returns: None; the answer if the message cannot be accepted
        """
        limit = self._callback.limit
        try:
            async with asyncio.timeout(BODY_SECONDS):
                async for part in request.content.iter_chunked(CHUNK_BYTES):
                    if self._size + len(part) > limit:
                        self._callback.fail(too_large(limit))
                        return _said(413, f"a message has at most {limit:,} bytes")
                    if not self._callback.room.take(len(part)):
                        return _full()
                    self._size += len(part)
                    self._parts.append(part)
        except TimeoutError:
            response = _said(408, f"the message did not arrive within {BODY_SECONDS:g} seconds")
            response.force_close()
            return response
        return None

    def hand_over(self) -> web.Response:
        """Give the message to the call.

        :returns: the answer
        """
        if not self._callback.put(b"".join(self._parts)):
            return _full()
        self._size = 0  # the call gives the room back
        return web.Response(status=204)

    def forget(self) -> None:
        """Give the room back that the message still takes."""
        self._callback.room.leave(self._size)


def _gone() -> web.Response:
    return _said(
        404, "no call is waiting for messages at this URL: its stage has ended, or runs elsewhere"
    )


def _full() -> web.Response:
    return _said(429, "too many messages wait: send this one again")


def _said(status: int, message: str) -> web.Response:
    return web.json_response({"message": message}, status=status)
