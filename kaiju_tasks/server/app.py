"""Builds the web application: its routes and the resources behind them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable

from aiohttp import WSCloseCode, hdrs, web
from aiohttp.typedefs import Middleware

from kaiju_tasks.api import Caller
from kaiju_tasks.api.document import api_document
from kaiju_tasks.api.frames import Frames
from kaiju_tasks.api.registry import TITLE
from kaiju_tasks.http_runner import ASKED, Asked
from kaiju_tasks.manager import Manager
from kaiju_tasks.rights import Access, access, may_call, sight_of
from kaiju_tasks.rpc import Registry
from kaiju_tasks.server.console import asset, page
from kaiju_tasks.server.contract import Contract
from kaiju_tasks.server.entrance import ADMISSION, Entrance, Handler
from kaiju_tasks.server.front import FRONT, Front, behind_proxy, front_of
from kaiju_tasks.server.guard import Guard
from kaiju_tasks.server.health import Readiness
from kaiju_tasks.server.http import POSTS, Posts, rpc_url
from kaiju_tasks.server.memory import keep_memory_low
from kaiju_tasks.server.metrics import Metrics
from kaiju_tasks.server.sign_in import SignIn
from kaiju_tasks.server.traffic import Traffic
from kaiju_tasks.server.websocket import Sockets, serve_socket
from kaiju_tasks.settings import Settings
from kaiju_tasks.store.base import StoreError
from kaiju_tasks.version import __version__

__all__ = ["ROUTES", "create_app"]

MANAGER = web.AppKey("manager", Manager)
FRAMES = web.AppKey("frames", Frames)
METRICS = web.AppKey("metrics", Metrics)
SIGN_IN = web.AppKey("sign_in", SignIn)
READINESS = web.AppKey("readiness", Readiness)
CONTRACT = web.AppKey("contract", Contract)
SOCKETS = web.AppKey("sockets", Sockets)
TRAFFIC = web.AppKey("traffic", Traffic)

# Probes use any host name for a manager. These answers contain nothing confidential.
FETCH_SITE, FETCH_MODE = "Sec-Fetch-Site", "Sec-Fetch-Mode"
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
    :raises SettingsError: a setting is not valid
    """
    front = front_of(settings)
    guard = Guard(settings.host, front.hosts, front.origin)
    app = web.Application(middlewares=[_entering(front, guard, asked := Asked())])
    app[FRONT] = front
    app[ASKED] = asked
    app[MANAGER] = manager
    app[FRAMES] = frames = Frames(manager, registry, settings)
    app[METRICS] = Metrics(manager)
    app[READINESS] = Readiness(manager)
    app[CONTRACT] = Contract(registry, api_document(registry), TITLE)
    app[TRAFFIC] = traffic = Traffic(frames.largest)
    app[POSTS] = Posts(manager.auth, frames, traffic)
    entrance = Entrance(manager.auth)
    app[SIGN_IN] = SignIn(entrance)
    app.cleanup_ctx.append(_sockets)
    app.cleanup_ctx.append(_memory)
    app.on_shutdown.append(_close_sockets)
    for method, path, needs, handler in ROUTES:
        guarded = entrance.guard(needs, handler)
        app.router.add_route(method, path, guarded)
        if front.base:
            app.router.add_route(method, front.base + path, guarded)
    if front.base:
        app.router.add_get(front.base, entrance.guard(access.PUBLIC, _to_page))
    return app


async def _sockets(app: web.Application) -> AsyncIterator[None]:
    app[SOCKETS] = Sockets()
    yield
    app[SOCKETS].clear()


async def _memory(app: web.Application) -> AsyncIterator[None]:
    keeping = asyncio.create_task(keep_memory_low())
    yield
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)


async def _close_sockets(app: web.Application) -> None:
    sockets = app[SOCKETS]
    for socket in list(sockets):
        await socket.close(code=WSCloseCode.GOING_AWAY, message=b"the manager stops")
    app[TRAFFIC].closings.close_all()


def _entering(front: Front, guard: Guard, asked: Asked) -> Middleware:
    """What applies to every request. One middleware, because each one costs a coroutine, and what
    it needs is at hand, because a look into the application costs a call."""
    unguarded = UNGUARDED | {front.base + path for path in UNGUARDED}

    @web.middleware
    async def entered(request: web.Request, handler: Handler) -> web.StreamResponse:
        asked.add(request.protocol)
        if front.proxies:
            request = behind_proxy(request, front)
        refusal = None if request.path in unguarded else _refusal(request, guard)
        response = refusal or await handler(request)
        if not response.prepared and hdrs.CACHE_CONTROL not in response.headers:
            response.headers.update(HEADERS)
        return response

    return entered


def _refusal(request: web.Request, guard: Guard) -> web.StreamResponse | None:
    headers = request.headers
    host = request.host if hdrs.HOST in headers else None
    site = headers.get(FETCH_SITE)
    mode = None if site is None else headers.get(FETCH_MODE)
    refusal = guard.refusal(host, headers.get(hdrs.ORIGIN), site, mode)
    return None if refusal is None else web.Response(status=403, text=f"403: {refusal}\n")


def _post(request: web.Request) -> Awaitable[web.StreamResponse]:
    return request.app[POSTS].answer(request)


async def _socket(request: web.Request) -> web.StreamResponse:
    if not web.WebSocketResponse().can_prepare(request).ok:
        raise web.HTTPMethodNotAllowed("GET", ["POST"], text="405: POST here, or open a WebSocket")
    app = request.app
    return await serve_socket(request, app[MANAGER], app[FRAMES], app[SOCKETS], app[TRAFFIC])


async def _sign_in(request: web.Request) -> web.StreamResponse:
    return await request.app[SIGN_IN].begin(request)


async def _sign_out(request: web.Request) -> web.StreamResponse:
    return await request.app[SIGN_IN].end(request)


async def _to_page(request: web.Request) -> web.StreamResponse:
    """Relative links need the slash."""
    raise web.HTTPPermanentRedirect(request.app[FRONT].base + "/")


async def _openrpc(request: web.Request) -> web.StreamResponse:
    caller = Caller(request[ADMISSION].principal)
    return request.app[CONTRACT].answer(request, caller, rpc_url(request))


async def _healthz(request: web.Request) -> web.StreamResponse:
    status = {"status": "up"}
    if request.app[MANAGER].auth.local:
        status["version"] = __version__
    return web.json_response(status)


async def _readyz(request: web.Request) -> web.StreamResponse:
    reason = await request.app[READINESS].problem()
    sign = {"insecure_host": True} if request.app[MANAGER].insecure_host else {}
    if reason is None:
        return web.json_response({"ready": True, **sign})
    return web.json_response({"ready": False, "reason": reason, **sign}, status=503)


async def _metrics(request: web.Request) -> web.StreamResponse:
    try:
        sight = sight_of(request[ADMISSION].principal, access.READ_METRICS)
        tokens = may_call(request[ADMISSION].principal, access.MANAGE)
        text = await request.app[METRICS].render(sight, tokens=tokens)
    except StoreError:
        raise web.HTTPServiceUnavailable(text="503: the database cannot be reached") from None
    return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4"})


ROUTES: tuple[tuple[str, str, Access, Handler], ...] = (
    (hdrs.METH_GET, "/", access.PUBLIC, page),
    (hdrs.METH_HEAD, "/", access.PUBLIC, page),
    (hdrs.METH_POST, "/rpc", access.SIGNED_IN, _post),
    (hdrs.METH_GET, "/rpc", access.SIGNED_IN, _socket),
    (hdrs.METH_GET, "/openrpc.json", access.SIGNED_IN, _openrpc),
    (hdrs.METH_HEAD, "/openrpc.json", access.SIGNED_IN, _openrpc),
    (hdrs.METH_GET, "/healthz", access.PUBLIC, _healthz),
    (hdrs.METH_HEAD, "/healthz", access.PUBLIC, _healthz),
    (hdrs.METH_GET, "/readyz", access.PUBLIC, _readyz),
    (hdrs.METH_HEAD, "/readyz", access.PUBLIC, _readyz),
    (hdrs.METH_GET, "/metrics", access.READ_METRICS, _metrics),
    (hdrs.METH_HEAD, "/metrics", access.READ_METRICS, _metrics),
    (hdrs.METH_POST, "/session", access.PUBLIC, _sign_in),
    (hdrs.METH_DELETE, "/session", access.PUBLIC, _sign_out),
    (hdrs.METH_GET, "/assets/{name}", access.PUBLIC, asset),
    (hdrs.METH_HEAD, "/assets/{name}", access.PUBLIC, asset),
    (hdrs.METH_GET, "/{screen}", access.PUBLIC, page),
)
"""Every route, with who may use it."""
