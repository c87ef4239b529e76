"""Serves JSON-RPC over a WebSocket, with concurrent requests."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

from aiohttp import WSMsgType, web

from kaiju_tasks.api import Caller, connection_closed
from kaiju_tasks.api.frames import Frames, RpcConnection
from kaiju_tasks.errors import TooManyRequests
from kaiju_tasks.manager import Manager
from kaiju_tasks.rights import may_call
from kaiju_tasks.rights.access import SERVE
from kaiju_tasks.rpc import Effort, Share, encode_error
from kaiju_tasks.server.arrivals import Arrival
from kaiju_tasks.server.counted_socket import CountedSocket, early_bytes
from kaiju_tasks.server.entrance import ADMISSION
from kaiju_tasks.server.http import (
    client_of,
    connection_of,
    given_up,
    is_gone,
    peer_of,
    rpc_url,
    unread,
)
from kaiju_tasks.server.pace import MESSAGE_SECONDS, Pace
from kaiju_tasks.server.peer import Peer
from kaiju_tasks.server.seat import SocketSeat
from kaiju_tasks.server.traffic import Traffic

__all__ = ["Sockets", "serve_socket"]

logger = logging.getLogger(__name__)

AT_ONCE_MAX = 64
WAITING_MAX = 1_000
HEARTBEAT_SECONDS = 20.0
CLOSED_BY_CLIENT = 499
"""The status for a client that is gone. It is only logged."""
CLIENT_FRAME_BODIES = 4
"""A request that is too large is answered with an error if it is at most so many times larger than
allowed. A larger one closes the connection. Executors send larger frames."""


class Sockets(set[web.WebSocketResponse]):
    """The open WebSockets."""


async def serve_socket(
    request: web.Request, manager: Manager, frames: Frames, sockets: Sockets, traffic: Traffic
) -> web.StreamResponse:
    """Serve a WebSocket until it closes.

    :param sockets: the set that contains the socket while it is open
    """
    try:
        with traffic.sockets.opened(client_of(request)):
            return await _serve(request, manager, frames, sockets, traffic)
    except TooManyRequests as error:
        return web.Response(body=encode_error(None, error), status=error.code)


async def _serve(
    request: web.Request, manager: Manager, frames: Frames, sockets: Sockets, traffic: Traffic
) -> web.StreamResponse:
    admission = request[ADMISSION]
    serves = may_call(admission.principal, SERVE)
    largest = frames.largest if serves else CLIENT_FRAME_BODIES * frames.limits.max_body_bytes
    client = peer_of(request)
    arrival = traffic.arrivals.begin(client_of(request), given_up(request, traffic, client))
    socket = CountedSocket(
        arrival.grew, heartbeat=HEARTBEAT_SECONDS, max_msg_size=largest, compress=False
    )
    try:
        with unread(request), counted_before(request, arrival):
            await traffic.pace.turn(client, partial(is_gone, request))
        await socket.prepare(request)
    except ConnectionResetError:
        logger.debug("%s was gone before its WebSocket was open", request.remote)
        arrival.ended()
        return web.Response(status=CLOSED_BY_CLIENT)  # nobody reads it
    except asyncio.CancelledError:  # it was given up
        arrival.ended()
        raise
    peer = Peer(socket, lambda: _unsent_bytes(request), backlog=traffic.backlog)
    caller = Caller(
        admission.principal,
        remote=request.remote,
        connection=peer,
        url=partial(rpc_url, request),
    )
    sockets.add(socket)
    calls = _Calls(frames.connection(caller), peer, traffic.pace)
    executor = _Room(traffic.reports, connection_of(request))
    others = _Room(traffic.requests, client)
    try:
        with manager.auth.seated(SocketSeat(manager, caller, peer), admission):
            async for message in socket:
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    body = message.data
                    if isinstance(body, str):
                        body = body.encode()
                    del message  # an idle connection keeps no frame
                    await calls.begin(body, others if caller.session is None else executor)
                    arrival.shrank(len(body))
                    del body
                elif message.type is WSMsgType.ERROR:
                    logger.info("WebSocket of %s failed: %s", request.remote, socket.exception())
    except asyncio.CancelledError:
        socket.free()
        raise
    finally:
        sockets.discard(socket)
        arrival.ended()
        await calls.cancel()
        await peer.ended()
        await connection_closed(manager, caller)
    return socket


@contextmanager
def counted_before(request: web.Request, arrival: Arrival) -> Iterator[None]:
    """Count what has come over a connection before its WebSocket counts it."""
    size = early_bytes(request)
    arrival.grew(size)
    try:
        yield
    finally:
        arrival.shrank(size)


def _unsent_bytes(request: web.Request) -> int:
    transport = request.transport
    return 0 if transport is None else transport.get_write_buffer_size()


class _Room(NamedTuple):
    """Where the bytes of requests are counted, and for whom."""

    share: Share
    client: str


class _Calls:
    """The open requests of a WebSocket. The socket is read while they run, so that pongs and
    reports are received. Requests beyond the limit are refused."""

    def __init__(self, connection: RpcConnection, peer: Peer, pace: Pace) -> None:
        self._connection = connection
        self._peer = peer
        self._pace = pace
        self._turns = connection.turns = asyncio.Semaphore(AT_ONCE_MAX)
        self._open: set[asyncio.Task[None]] = set()

    async def begin(self, body: bytes, room: "_Room") -> None:
        """Begin to answer a request when there is room for it; the socket is not read meanwhile."""
        if len(self._open) >= AT_ONCE_MAX + WAITING_MAX:
            limit = AT_ONCE_MAX + WAITING_MAX
            error = TooManyRequests(f"a connection may have at most {limit} open requests")
            self._peer.send(encode_error(None, error))
            self._pace.charge(room.client, MESSAGE_SECONDS)
            await self._pace.turn(room.client)  # a refusal costs the client, too
            return
        await self._pace.turn(room.client)
        taken = await room.share.take(room.client, len(body))
        task = asyncio.create_task(self._answer(body, room.client))
        task.add_done_callback(lambda _: room.share.give(room.client, taken))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def cancel(self) -> None:
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _answer(self, body: bytes, client: str) -> None:
        async with self._turns:
            effort = Effort()
            answer = await effort.measure(self._connection.answer(body))
            self._pace.answered(client, effort, len(body) + len(answer or b""))
        if answer is not None:
            self._peer.send(answer)
