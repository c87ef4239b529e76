"""Forwards commands to an existing JSON-RPC 2.0 service over HTTP."""

import time
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
from msgspec import Struct
from yarl import URL

from kaiju_tasks.address import read_url
from kaiju_tasks.errors import Abort, InvalidParams, reason_of
from kaiju_tasks.executor.context import Context
from kaiju_tasks.executor.failures import ReportedError, UnknownMethod
from kaiju_tasks.executor.messages import RpcError
from kaiju_tasks.executor.registry import Command, Executor
from kaiju_tasks.protocol import ReportError
from kaiju_tasks.types import ErrorType

__all__ = ["Answer", "ForwardExecutor", "ServiceError", "failure_of"]


class ServiceError(Exception):
    """The service cannot be reached, or its answer is not JSON-RPC."""


class Answer(Struct):
    """A JSON-RPC answer."""

    result: Any = None
    error: RpcError | None = None


_decode = msgspec.json.Decoder(Answer).decode


class ForwardExecutor(Executor):
    """Serves a stream by calling a service. Every method is a method of the service.

    Every call has the headers `Correlation-Id` (the job id of the run), `Deadline` (UNIX time),
    `Timeout` (seconds left) and `Idempotency-Key` (the same for all retries of the stage).

    :param url: the URL at which the service accepts JSON-RPC 2.0 requests by POST; a user name and
        password in it are sent as `Authorization: Basic`, and are not part of any message
    :param headers: sent with every call, for example for authorization
    :param now: the source of the time, UNIX seconds
    :raises InvalidParams: the URL is malformed
    """

    def __init__(
        self,
        app_name: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        data: Mapping[str, Any] | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(app_name, lifespan=_http_session, data=data)
        read_url(url, "url", shape="http://host:port/rpc", userinfo=True)
        self._url = URL(url).with_user(None)
        self._headers = _authorization(URL(url)) | dict(headers or {})
        self._now = now

    def find(self, method: str) -> Command:
        """The command of any name: the service rejects the methods that it does not have."""
        return self._commands.get(method) or Command(method, self._caller(method))

    def _caller(self, method: str) -> Callable[..., Any]:
        async def call(kaiju_context: Context, **params: Any) -> Any:
            return await self._call(kaiju_context, method, params)

        return call

    async def _call(self, ctx: Context, method: str, params: dict[str, Any]) -> Any:
        key = ctx.idempotency_key
        body = {"jsonrpc": "2.0", "id": key, "method": method, "params": params}
        try:
            async with ctx.state.post(
                self._url, data=msgspec.json.encode(body), headers=self._call_headers(ctx)
            ) as response:
                content = await response.read()
        except (OSError, aiohttp.ClientError) as error:
            raise ServiceError(f"{self._url} cannot be called: {reason_of(error)}") from error
        try:
            answer = _decode(content)
        except msgspec.DecodeError as error:
            raise ServiceError(
                f"{self._url} answered with HTTP status {response.status} and not with JSON-RPC: "
                f"{error}"
            ) from None
        if answer.error is not None:
            raise failure_of(answer.error)
        return answer.result

    def _call_headers(self, ctx: Context) -> dict[str, str]:
        seconds = ctx.deadline
        return self._headers | {
            "Content-Type": "application/json",
            "Correlation-Id": ctx.job_id,
            "Deadline": f"{self._now() + seconds:.3f}",
            "Timeout": f"{seconds:.3f}",
            "Idempotency-Key": ctx.idempotency_key,
        }


def _authorization(url: URL) -> dict[str, str]:
    if url.user is None and url.password is None:
        return {}
    credentials = f"{url.user or ''}:{url.password or ''}".encode()
    return {"Authorization": f"Basic {b64encode(credentials).decode()}"}


def failure_of(error: RpcError) -> Exception:
    """Convert an error response of a service to the exception that fails the stage."""
    data = error.data if isinstance(error.data, dict) else {}
    if data.get("type") == ErrorType.ABORT:
        return Abort(error.message)
    if error.code == -32601:
        return UnknownMethod(error.message)
    if error.code == -32602:
        return InvalidParams(error.message, field=str(data.get("field", "params")))
    details = {"code": error.code, "data": error.data}
    return ReportedError(ReportError(ErrorType.EXECUTION, error.message, details))


@asynccontextmanager
async def _http_session(executor: Executor) -> AsyncIterator[aiohttp.ClientSession]:
    # The deadline of the stage cancels a call. A second limit would hide the real reason.
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        yield session
