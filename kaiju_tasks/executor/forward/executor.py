"""Serves a stream by forwarding its commands to a service."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

from yarl import URL

from kaiju_tasks.address import read_url
from kaiju_tasks.executor.context import Context
from kaiju_tasks.executor.forward.dialects import Dialect, JsonRpc, PlainHttp
from kaiju_tasks.executor.forward.headers import Headers
from kaiju_tasks.executor.forward.service import Service, http_session
from kaiju_tasks.executor.registry import Command, Executor

__all__ = ["ForwardExecutor"]


class ForwardExecutor(Executor):
    """Serves a stream by calling a service. Every method is a method of the service.

    Every call has the headers `Correlation-Id` (the job id of the run), `Deadline` (UNIX time),
    `Timeout` (seconds left) and `Idempotency-Key` (the same for all retries of the stage). While
    the service is away, the process takes no work.

    :param url: the URL at which the service accepts JSON-RPC 2.0 requests by POST, or with `rest`
        the URL to which methods are appended; a user name and password in it are sent as
        `Authorization: Basic`, and are not part of any message
    :param rest: send each command as a POST request to `URL/METHOD` instead of JSON-RPC
    :param headers: sent with every call, for example for authorization; a path is the file that
        contains the value, which is read again when it changes
    :param now: the source of the time, UNIX seconds
    :raises InvalidParams: the URL or a header is malformed
    """

    def __init__(
        self,
        app_name: str,
        url: str,
        *,
        rest: bool = False,
        headers: Mapping[str, str | Path] | None = None,
        data: Mapping[str, Any] | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(app_name, lifespan=_service, data=data)
        read_url(url, "url", shape="http://host:port/rpc", userinfo=True)
        place = URL(url).with_user(None).with_fragment(None)
        self.dialect: Dialect = PlainHttp(place) if rest else JsonRpc(place)
        self.headers = Headers(headers or {}, URL(url))
        self.now = now

    def find(self, method: str) -> Command:
        """The command of any name: the service rejects the methods that it does not have."""
        return self._commands.get(method) or Command(method, _caller(method))


def _caller(method: str) -> Callable[..., Any]:
    async def call(kaiju_context: Context, **params: Any) -> Any:
        service: Service = kaiju_context.state
        return await service.call(kaiju_context, method, params)

    return call


@contextlib.asynccontextmanager
async def _service(executor: Executor) -> AsyncIterator[Service]:
    assert isinstance(executor, ForwardExecutor)
    async with http_session() as session:
        service = Service(session, executor.dialect, executor.headers, executor.offer, executor.now)
        watching = asyncio.create_task(service.availability.watch())
        try:
            yield service
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            executor.offer.limit(None)
