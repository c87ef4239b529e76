"""A service that answers as a test wants, and an executor that forwards to it."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from aiohttp import web

from kaiju_tasks.executor.forward import ForwardExecutor
from kaiju_tasks.protocol import Report
from tests.executor.fakes import Rig, assignment, command
from tests.support.http_server import http_server
from tests.support.wait import wait_until


class Service:
    """A service that answers `answer`, or with the JSON-RPC members in `body`.

    :ivar calls: headers and bodies of the requests, except those whether it is there
    :ivar probes: how often it was asked whether it is there
    :ivar description: what it answers then, as the result of `rpc.discover`
    :ivar there: whether it answers that it is there; otherwise as any request
    """

    def __init__(self) -> None:
        self.body: Any = {"result": 1}
        self.answer: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None
        self.calls: list[tuple[dict[str, str], Any]] = []
        self.paths: list[str] = []
        self.probes = 0
        self.description: Any = None
        self.there = True
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json() if request.body_exists else None
        own = {"jsonrpc": "2.0", "id": body.get("id") if isinstance(body, dict) else None}
        if request.path.endswith("/") or (isinstance(body, dict) and is_probe(body)):
            self.probes += 1
            if self.there:
                return web.json_response(own | {"result": self.description})
        else:
            self.paths.append(request.path)
            self.calls.append((dict(request.headers), body))
        if self.answer is not None:
            return await self.answer(request)
        return web.json_response(own | self.body)

    def respond(self, status: int = 200, text: str = "", **options: Any) -> None:
        async def answer(request: web.Request) -> web.StreamResponse:
            return web.Response(status=status, text=text, **options)

        self.answer = answer


def is_probe(body: dict[str, Any]) -> bool:
    return body.get("method") == "rpc.discover"


@contextlib.asynccontextmanager
async def serving_service() -> AsyncIterator[Service]:
    service = Service()
    async with http_server(service.handle) as url:
        service.url = f"{url}/rpc"
        yield service


@contextlib.asynccontextmanager
async def rigged(service: Service, **options: Any) -> AsyncIterator[Rig]:
    """An executor that forwards, connected to a fake manager."""
    executor = ForwardExecutor("app", service.url, **options)
    assert executor.lifespan is not None
    async with executor.lifespan(executor) as executor.state, Rig(executor) as rig:
        rig.manager.max_result_bytes = 1000
        yield rig


async def forwarded(
    service: Service, *, seconds: float | None = None, options: Any = None, **fields: Any
) -> Report:
    options = {"headers": {"X-Key": "k"}, "now": lambda: 1000.0} | (options or {})
    async with rigged(service, **options) as rig:
        one = command("any.method", params={"a": [1]}, max_timeout=seconds)
        rig.manager.run(assignment(one, **fields))
        await wait_until(rig.manager.outcomes, "the stage ends")
        return rig.manager.reports[-1]
