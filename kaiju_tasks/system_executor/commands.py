"""Runs public methods as stages, with the rights of the task's creator, and delivers webhooks."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec

from kaiju_tasks.api.run_calls import RunCall, RunCalls
from kaiju_tasks.api.stage_methods import StageMethods
from kaiju_tasks.define.webhook import DELIVER
from kaiju_tasks.errors import Abort, KaijuError, RetryAfter, Unavailable
from kaiju_tasks.executor.context import Context
from kaiju_tasks.executor.failures import ReportedError
from kaiju_tasks.executor.messages import RpcError
from kaiju_tasks.executor.registry import Executor
from kaiju_tasks.executor.rpc_failures import failure_of
from kaiju_tasks.manager import Manager
from kaiju_tasks.manager.writing.account import RATE
from kaiju_tasks.manager.writing.webhooks import Ended
from kaiju_tasks.protocol import ReportError
from kaiju_tasks.rights import ALL_SIGHT
from kaiju_tasks.rpc import Registry
from kaiju_tasks.store.base import StoreError, TaskView
from kaiju_tasks.system_executor.deliver import deliver, http_session, message
from kaiju_tasks.system_executor.egress import Egress, read_networks
from kaiju_tasks.types import MANAGER_APP, ErrorType

__all__ = ["SystemExecutor"]

OUTAGE_PAUSE_SECONDS = 0.5

T = TypeVar("T")


class SystemExecutor(Executor):
    """Serves the stream `manager`.

    :param registry: the public methods
    """

    def __init__(self, manager: Manager, registry: Registry) -> None:
        networks = read_networks(manager.settings.webhook_networks)
        egress = Egress(networks, everywhere=lambda: manager.auth.local)
        super().__init__(MANAGER_APP, lifespan=lambda _: http_session(egress))
        self._manager = manager
        self._registry = registry
        self._calls = RunCalls(manager, registry)
        for name in StageMethods(registry).names():
            self.command(name)(self._command_of(name))
        self.command(DELIVER)(self._deliver)

    def _command_of(self, method: str) -> Callable[..., Any]:
        async def call(kaiju_context: Context, **params: Any) -> Any:
            return await self._call(kaiju_context, method, params)

        call.__doc__ = self._registry.find(method).doc
        return call

    async def _deliver(self, ctx: Context) -> Any:
        """Call the webhook of a run that has ended."""
        view = await _retry_unavailable(lambda: self._task(ctx))
        webhook = view.definition.webhook
        assert webhook is not None
        ended = msgspec.json.decode(view.definition.kws, type=Ended)
        body = await _retry_unavailable(lambda: message(self._manager, ended))
        return await deliver(self._manager, ctx.state, webhook, ctx.task_id, body)

    async def _call(self, ctx: Context, method: str, params: dict[str, Any]) -> Any:
        """Call a method as a client would over RPC."""
        return await _retry_unavailable(lambda: self._call_once(ctx, method, params))

    async def _call_once(self, ctx: Context, method: str, params: dict[str, Any]) -> Any:
        call = RunCall(
            run=await self._task(ctx),
            stage=ctx.stage,
            method=method,
            params=params,
            key=ctx.idempotency_key,
            again=ctx.attempt > 1,
        )
        try:
            return msgspec.json.decode(await self._calls.call(call))
        except Unavailable:
            raise
        except KaijuError as error:
            raise _failure_of(error) from None

    async def _task(self, ctx: Context) -> TaskView:
        try:
            views = await self._manager.store.tasks([ctx.task_id], ALL_SIGHT, results=False)
        except StoreError as exc:
            raise Unavailable(str(exc)) from exc
        view = views.get(ctx.task_id)
        if view is None or view.row.job_id != ctx.job_id:  # the result of this stage is not needed
            raise Abort("the task was deleted or reset")
        return view


def _failure_of(error: KaijuError) -> Exception:
    if error.data.get("quota") == RATE:  # nothing was created
        return RetryAfter(error.data["retry_after"], error.message)
    if "quota" in error.data:
        return ReportedError(ReportError(ErrorType.TOO_MANY_REQUESTS, error.message, error.data))
    if error.data.get("type") == ErrorType.TOO_MANY_TASKS:
        return ReportedError(ReportError(ErrorType.TOO_MANY_TASKS, error.message, error.data))
    return failure_of(RpcError(error.code, error.message, error.data))


async def _retry_unavailable(call: Callable[[], Awaitable[T]]) -> T:
    """Retry while the database cannot be reached. The timeout of the stage ends the retries."""
    while True:
        try:
            return await call()
        except Unavailable:
            await asyncio.sleep(OUTAGE_PAUSE_SECONDS)
