"""Builds the web application: its routes and the resources behind them."""

from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
from aiohttp import WSCloseCode, hdrs, web

from kaiju_tasks.api.document import api_document
from kaiju_tasks.api.frames import Frames
from kaiju_tasks.api.registry import TITLE
from kaiju_tasks.manager import Manager
from kaiju_tasks.rpc import Registry, servers
from kaiju_tasks.server.guard import Guard
from kaiju_tasks.server.health import Readiness
from kaiju_tasks.server.http import rpc_url, serve_post
from kaiju_tasks.server.metrics import Metrics
from kaiju_tasks.server.page import PAGE
from kaiju_tasks.server.websocket import Sockets, serve_socket
from kaiju_tasks.settings import Settings
from kaiju_tasks.store.base import StoreError
from kaiju_tasks.version import __version__

__all__ = ["create_app"]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

MANAGER = web.AppKey("manager", Manager)
FRAMES = web.AppKey("frames", Frames)
GUARD = web.AppKey("guard", Guard)
METRICS = web.AppKey("metrics", Metrics)
READINESS = web.AppKey("readiness", Readiness)
OPENRPC = web.AppKey("openrpc", dict)
SOCKETS = web.AppKey("sockets", Sockets)

# Probes use any host name for a manager. These answers contain nothing confidential.
UNGUARDED = frozenset({"/healthz", "/readyz"})
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'",
    "Cache-Control": "no-store",
}


def create_app(manager: Manager, registry: Registry, settings: Settings) -> web.Application:
    """Build the application that serves a manager.

    :param manager: a manager that the caller starts and stops
    :param registry: the public methods
    """
    app = web.Application(middlewares=[_guarded, _with_headers])
    app[MANAGER] = manager
    app[FRAMES] = Frames(manager, registry, settings)
    app[GUARD] = Guard(settings.host)
    app[METRICS] = Metrics(manager)
    app[READINESS] = Readiness(manager)
    app[OPENRPC] = api_document(registry)
    app.cleanup_ctx.append(_sockets)
    app.on_shutdown.append(_close_sockets)
    app.router.add_get("/", _page, allow_head=True)
    app.router.add_post("/rpc", _post)
    app.router.add_get("/rpc", _socket, allow_head=False)
    app.router.add_get("/openrpc.json", _openrpc)
    app.router.add_get("/healthz", _healthz)
    app.router.add_get("/readyz", _readyz)
    app.router.add_get("/metrics", _metrics)
    return app


async def _sockets(app: web.Application) -> AsyncIterator[None]:
    app[SOCKETS] = Sockets()
    yield
    app[SOCKETS].clear()


async def _close_sockets(app: web.Application) -> None:
    sockets = app[SOCKETS]
    for socket in list(sockets):
        await socket.close(code=WSCloseCode.GOING_AWAY, message=b"the manager stops")


@web.middleware
async def _guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
    if request.path not in UNGUARDED:
        headers = request.headers
        refusal = request.app[GUARD].refusal(headers.get(hdrs.HOST), headers.get(hdrs.ORIGIN))
        if refusal is not None:
            return web.Response(status=403, text=f"403: {refusal}\n")
    return await handler(request)


@web.middleware
async def _with_headers(request: web.Request, handler: Handler) -> web.StreamResponse:
    response = await handler(request)
    if not response.prepared:
        response.headers.update(HEADERS)
    return response


async def _post(request: web.Request) -> web.StreamResponse:
    return await serve_post(request, request.app[FRAMES])


async def _socket(request: web.Request) -> web.StreamResponse:
    if not web.WebSocketResponse().can_prepare(request).ok:
        raise web.HTTPMethodNotAllowed("GET", ["POST"], text="405: POST here, or open a WebSocket")
    app = request.app
    return await serve_socket(request, app[MANAGER], app[FRAMES], app[SOCKETS])


async def _page(request: web.Request) -> web.StreamResponse:
    text = PAGE.format(url=f"{request.scheme}://{request.host}")
    return web.Response(text=text, content_type="text/html")


async def _openrpc(request: web.Request) -> web.StreamResponse:
    document = request.app[OPENRPC].copy()
    document["servers"] = servers(TITLE, rpc_url(request))
    return web.Response(body=msgspec.json.encode(document), content_type="application/json")


async def _healthz(request: web.Request) -> web.StreamResponse:
    return web.json_response({"status": "up", "version": __version__})


async def _readyz(request: web.Request) -> web.StreamResponse:
    reason = await request.app[READINESS].problem()
    if reason is None:
        return web.json_response({"ready": True})
    return web.json_response({"ready": False, "reason": reason}, status=503)


async def _metrics(request: web.Request) -> web.StreamResponse:
    try:
        text = await request.app[METRICS].render()
    except StoreError:
        raise web.HTTPServiceUnavailable(text="503: the database cannot be reached") from None
    return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4"})
