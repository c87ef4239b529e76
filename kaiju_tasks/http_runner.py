"""Runs an HTTP application, and closes connections that do not ask for anything."""

import asyncio
from logging import Logger

from aiohttp import web
from aiohttp.log import server_logger
from aiohttp.web_protocol import RequestHandler

__all__ = ["ASKED", "Asked", "Runner"]

HEADERS_SECONDS = 30.0
"""The time from the begin of a connection until the headers of its first request have arrived."""
IDLE_SECONDS = 75.0
"""The time from an answer until the headers of the next request have arrived."""
LOOKS = 3
"""How often a connection is looked at in that time."""


class Asked(set[RequestHandler]):
    """The connections that have sent a request."""


ASKED = web.AppKey("asked", Asked)


class Runner(web.AppRunner):
    """Runs an application that keeps the connections that have sent a request in ASKED.

    :param handlers_seconds: the time that open requests have when it stops
    :param logger: of errors of connections
    """

    def __init__(
        self, app: web.Application, handlers_seconds: float, logger: Logger = server_logger
    ) -> None:
        super().__init__(
            app,
            logger=logger,
            access_log=None,
            shutdown_timeout=handlers_seconds,
            keepalive_timeout=IDLE_SECONDS,
        )
        self._asked = app[ASKED]
        self._looking: asyncio.Task[None] | None = None

    async def setup(self) -> None:
        """Prepare to listen."""
        await super().setup()
        self._looking = asyncio.create_task(self._look())

    async def cleanup(self) -> None:
        """Stop listening and close all connections."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        await super().cleanup()

    async def _look(self) -> None:
        silent: dict[RequestHandler, int] = {}
        while self.server is not None:
            await asyncio.sleep(HEADERS_SECONDS / LOOKS)
            connections = self.server.connections
            self._asked.intersection_update(connections)
            silent = {one: silent.get(one, 0) + 1 for one in connections if one not in self._asked}
            for one, looks in silent.items():
                if looks > LOOKS and one.transport is not None:
                    one.transport.close()
