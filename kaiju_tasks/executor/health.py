"""Serves the liveness and readiness endpoints of an executor process."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

__all__ = ["HealthPortTaken", "health_server"]


class HealthPortTaken(Exception):
    """The health port cannot be used."""


@asynccontextmanager
async def health_server(
    port: int, ready: Callable[[], bool], *, host: str = "127.0.0.1"
) -> AsyncIterator[int]:
    """Serve `/healthz` (200 while the loop runs) and `/readyz` (200 or 503).

    :param port: the port; 0 chooses a free one
    :param ready: returns whether a manager is connected
    :returns: the port
    :raises HealthPortTaken: the server cannot listen on the port
    """

    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readyz(_: web.Request) -> web.Response:
        if ready():
            return web.json_response({"status": "ready"})
        return web.json_response({"status": "no manager"}, status=503)

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise HealthPortTaken(
                f"the health port {port} on {host} cannot be used: {error.strerror or error}"
            ) from error
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()
