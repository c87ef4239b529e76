"""The fake manager behind a real WebSocket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import WSMsgType, web

from tests.executor.fakes import FakeManager


class Server:
    """Serves a FakeManager on a free port. `tokens` are those it saw."""

    def __init__(self, manager: FakeManager, token: str | None = None) -> None:
        self.manager = manager
        self.token = token
        self.tokens: list[str | None] = []
        self.sockets: set[web.WebSocketResponse] = set()
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.tokens.append(request.headers.get("Authorization"))
        if self.token is not None and self.tokens[-1] != f"Bearer {self.token}":
            raise web.HTTPUnauthorized
        socket = web.WebSocketResponse(max_msg_size=64 * 1024 * 1024)
        await socket.prepare(request)
        self.sockets.add(socket)
        self.manager.connections += 1
        frames: asyncio.Queue[bytes] = asyncio.Queue()
        self.manager.send = frames.put_nowait
        pump = asyncio.create_task(self._pump(socket, frames))
        try:
            async for message in socket:
                assert message.type is WSMsgType.TEXT
                self.manager.take(message.data)
        finally:
            pump.cancel()
            self.sockets.discard(socket)
            await asyncio.gather(pump, return_exceptions=True)
        return socket

    async def _pump(self, socket: web.WebSocketResponse, frames: "asyncio.Queue[bytes]") -> None:
        while True:
            await socket.send_str((await frames.get()).decode())

    async def cut(self) -> None:
        """Close every connection without a word."""
        for socket in list(self.sockets):
            if socket._req is not None and socket._req.transport is not None:
                socket._req.transport.abort()


@asynccontextmanager
async def serving(manager: FakeManager, token: str | None = None) -> AsyncIterator[Server]:
    server = Server(manager, token)
    app = web.Application()
    app.router.add_get("/rpc", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield server
    finally:
        await server.cut()
        await runner.cleanup()
