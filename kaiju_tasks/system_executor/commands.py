"""Runs public methods as stages, with the rights of the task's creator, and delivers webhooks."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from kaiju_tasks.api import Caller
from kaiju_tasks.api.stage_methods import StageMethods
from kaiju_tasks.define.webhook import DELIVER
from kaiju_tasks.errors import Abort, Forbidden, Unavailable
from kaiju_tasks.executor.context import Context
from kaiju_tasks.executor.failures import ReportedError
from kaiju_tasks.executor.forward.failures import failure_of
from kaiju_tasks.executor.messages import RpcError
from kaiju_tasks.executor.registry import Executor
from kaiju_tasks.lifecycle import cause_of
from kaiju_tasks.manager import Manager
from kaiju_tasks.manager.writing.webhooks import Ended
from kaiju_tasks.protocol import ReportError
from kaiju_tasks.rights import ALL_SIGHT, Principal
from kaiju_tasks.rpc import Limits, Registry, dispatch, encode_request
from kaiju_tasks.store.base import StoreError, TaskView
from kaiju_tasks.system_executor.deliver import deliver, http_session, message
from kaiju_tasks.system_executor.egress import Egress, read_networks
from kaiju_tasks.system_executor.repeats import CREATE_MANY, repeatable, repeated_ids
from kaiju_tasks.types import MANAGER_APP, ErrorType

__all__ = ["SystemExecutor"]

OUTAGE_PAUSE_SECONDS = 0.5

T = TypeVar("T")


class _Response(Struct):
    result: Any = None
    error: RpcError | None = None


_decode = msgspec.json.Decoder(_Response).decode


class SystemExecutor(Executor):
    """Serves the stream `manager`.

    :param registry: the public methods
    :param limits: the limits of a call, the same as for other callers
    """

    def __init__(self, manager: Manager, registry: Registry, limits: Limits) -> None:
        networks = read_networks(manager.settings.webhook_networks)
        egress = Egress(networks, everywhere=lambda: manager.auth.local)
        super().__init__(MANAGER_APP, lifespan=lambda _: http_session(egress))
        self._manager = manager
        self._registry = registry
        self._limits = limits
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
        params = repeatable(method, params, ctx.idempotency_key)
        return await _retry_unavailable(lambda: self._call_once(ctx, method, params))

    async def _call_once(self, ctx: Context, method: str, params: dict[str, Any]) -> Any:
        view = await self._task(ctx)
        definition = view.definition
        principal = await self._principal(definition.user_id, definition.token_id)
        if not principal.has_stage(method):
            message = f"the rights of the task do not allow its stages to call `{method}`"
            raise failure_of(RpcError(Forbidden.code, message, {"type": Forbidden.type}))
        caller = Caller(
            principal,
            remote=f"task:{ctx.task_id}/{ctx.job_id}/{ctx.stage}",
            cause=cause_of(view.row, view.definition),
        )
        if method == CREATE_MANY and ctx.attempt > 1:
            created = await self._created_before(ctx.idempotency_key, caller, params)
            if created:
                return created
        return await self._request(caller, method, params)

    async def _task(self, ctx: Context) -> TaskView:
        try:
            views = await self._manager.store.tasks([ctx.task_id], ALL_SIGHT, results=False)
        except StoreError as exc:
            raise Unavailable(str(exc)) from exc
        view = views.get(ctx.task_id)
        if view is None or view.row.job_id != ctx.job_id:  # the result of this stage is not needed
            raise Abort("the task was deleted or reset")
        return view

    async def _principal(self, owner: str | None, token_id: str | None) -> Principal:
        try:
            return await self._manager.auth.of_run(owner, token_id)
        except StoreError as exc:
            raise Unavailable(str(exc)) from exc

    async def _created_before(
        self, key: str, caller: Caller, params: dict[str, Any]
    ) -> list[dict[str, Any]]:
        ids, generated_id = repeated_ids(params, key)
        if generated_id is None:
            return []
        if not await self._request(caller, "tasks.exists", {"id": generated_id}):
            return []
        tasks = await self._request(caller, "tasks.m_get", {"ids": ids})
        return [{**task, "created": False, "warnings": []} for task in tasks]

    async def _request(self, caller: Caller, method: str, params: dict[str, Any]) -> Any:
        body = encode_request(1, method, params)
        answer = await dispatch(self._registry, body, caller, self._limits)
        assert answer is not None  # a request with an id always has a response
        response = _decode(answer)
        if response.error is None:
            return response.result
        if response.error.code == Unavailable.code:
            raise Unavailable(response.error.message)
        raise _failure_of(response.error)


def _failure_of(error: RpcError) -> Exception:
    data = error.data if isinstance(error.data, dict) else {}
    if data.get("type") == ErrorType.TOO_MANY_TASKS:
        return ReportedError(ReportError(ErrorType.TOO_MANY_TASKS, error.message, data))
    return failure_of(error)


async def _retry_unavailable(call: Callable[[], Awaitable[T]]) -> T:
    """Retry while the database cannot be reached. The timeout of the stage ends the retries."""
    while True:
        try:
            return await call()
        except Unavailable:
            await asyncio.sleep(OUTAGE_PAUSE_SECONDS)
