"""A receiver of webhooks on a real socket."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import web

from tests.support.ports import free_port


class Call:
    """One request, as it came."""

    def __init__(self, headers: dict[str, str], body: bytes) -> None:
        self.headers = headers
        self.body = body

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Receiver:
    """Keeps every call, and answers as it is set to.

    :ivar answer: status for the n-th call, from 1
    :ivar gate: calls are answered while it is open
    """

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/hook"
        self.calls: list[Call] = []
        self.answered: list[tuple[str, int]] = []
        self.answer: Callable[[int], int] = lambda n: 200
        self.headers: dict[str, str] = {}
        self.text = "thanks"
        self.gate = asyncio.Event()
        self.gate.set()

    @property
    def accepted(self) -> list[str]:
        """Ids of the calls that were answered by 2xx."""
        return [id for id, status in self.answered if 200 <= status < 300]

    async def handle(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.calls.append(Call(headers, await request.read()))
        call, status = self.calls[-1], self.answer(len(self.calls))
        await self.gate.wait()
        self.answered.append((call.id, status))
        return web.Response(status=status, text=self.text, headers=self.headers)


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    port = free_port()
    receiver = Receiver(port)
    app = web.Application(client_max_size=2**26)
    app.router.add_post("/hook", receiver.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield receiver
    finally:
        receiver.gate.set()
        await runner.cleanup()
