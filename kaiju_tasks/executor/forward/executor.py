"""Serves a stream by forwarding its commands to a service."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from yarl import URL

from kaiju_tasks.address import read_url
from kaiju_tasks.executor.context import Context
from kaiju_tasks.executor.forward.announcer import Announcer
from kaiju_tasks.executor.forward.callbacks import Callbacks
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
    :param methods: a file with the methods of the service (OpenRPC, or a list), which are announced
        and beside which none is called; `any` to announce none; by default, what the service
        answers to `rpc.discover`, or none
    :param callback: the URL at which the service reaches this executor, to report about work that
        it has accepted with 202: the executor listens at its host and port, and each call has the
        header `Callback` with a URL below it
    :param now: the source of the time, UNIX seconds
    :raises InvalidParams: a URL, a header or the file of the methods is malformed
    """

    def __init__(
        self,
        app_name: str,
        url: str,
        *,
        rest: bool = False,
        headers: Mapping[str, str | Path] | None = None,
        methods: Path | Literal["any"] | None = None,
        callback: str | None = None,
        data: Mapping[str, Any] | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(app_name, lifespan=_service, data=data)
        read_url(url, "url", shape="http://host:port/rpc", userinfo=True)
        if callback is not None:
            read_url(callback, "callback", schemes=("http",))
        place = URL(url).with_user(None).with_fragment(None)
        self.dialect: Dialect = PlainHttp(place) if rest else JsonRpc(place)
        self.headers = Headers(headers or {}, URL(url))
        self.announcer = Announcer(methods, self.dialect, self.offer, self.headers.secrets)
        self.callbacks = None if callback is None else Callbacks(URL(callback))
        self.now = now

    def find(self, method: str) -> Command | None:
        """The command of any name, because the service rejects the methods that it does not have;
        or of a method in the file, if there is one."""
        if own := self._commands.get(method):
            return own
        offered = self.offer.commands
        if self.announcer.exclusive and all(info.method != method for info in offered):
            return None
        return Command(method, _caller(method))


def _caller(method: str) -> Callable[..., Any]:
    async def call(kaiju_context: Context, **params: Any) -> Any:
        service: Service = kaiju_context.state
        return await service.call(kaiju_context, method, params)

    return call


@contextlib.asynccontextmanager
async def _service(executor: Executor) -> AsyncIterator[Service]:
    assert isinstance(executor, ForwardExecutor)
    announcer = executor.announcer
    async with http_session() as session, _receiving(executor.callbacks):
        service = Service(
            session,
            executor.dialect,
            executor.headers,
            executor.offer,
            executor.now,
            announcer.take,
            callbacks=executor.callbacks,
        )
        await announcer.begin(service)
        watches = (service.availability.watch(), announcer.watch(service))
        watching = [asyncio.create_task(watch) for watch in watches]
        try:
            yield service
        finally:
            for watch in watching:
                watch.cancel()
            await asyncio.gather(*watching, return_exceptions=True)
            executor.offer.limit(None)


def _receiving(callbacks: Callbacks | None) -> contextlib.AbstractAsyncContextManager[None]:
    if callbacks is None:
        return contextlib.nullcontext()
    # aiohttp's server costs 50 ms of start-up, which most executors do not need
    from kaiju_tasks.executor.forward.receiver import receiving

    return receiving(callbacks)
