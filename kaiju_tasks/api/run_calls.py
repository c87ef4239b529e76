"""Calls public methods on behalf of runs.

Stages of the stream `manager` are such calls, and commands make them with `Context.tasks`. Both
have the rights of the task's owner within those of the token that created the task, and what they
create becomes children of the task.
"""

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Raw, Struct

from kaiju_tasks.api.caller import Caller
from kaiju_tasks.api.limits import limits_of
from kaiju_tasks.api.repeats import CREATE, CREATE_MANY, given_ids, repeatable, repeated_ids
from kaiju_tasks.errors import Forbidden, NotFound, Unavailable
from kaiju_tasks.lifecycle import cause_of
from kaiju_tasks.manager import Manager
from kaiju_tasks.manager.writing.entries import Fence
from kaiju_tasks.rights import Principal
from kaiju_tasks.rpc import Registry, dispatch, encode_request
from kaiju_tasks.rpc.messages import remote_error
from kaiju_tasks.store.base import StoreError, TaskView

__all__ = ["RunCall", "RunCalls"]

Json = dict[str, Any]


class _Error(Struct):
    code: int
    message: str
    data: Any = None


class _Response(Struct):
    result: Raw = Raw(b"null")
    error: _Error | None = None


_decode = msgspec.json.Decoder(_Response).decode


class RunCall(Struct, frozen=True, kw_only=True):
    """A call of a method on behalf of a run.

    :param run: the task with its open run
    :param stage: index of the stage that makes the call, from 0
    :param key: the same for all repetitions of this call, and for no other call
    :param again: whether the call may have been carried out before
    :param fence: of a stage that an executor runs; None for the manager's own executor
    :param is_gone: whether nobody needs the answer any more
    """

    run: TaskView
    stage: int
    method: str
    params: Json
    key: str
    again: bool = False
    fence: Fence | None = None
    is_gone: Callable[[], bool] | None = None


class RunCalls:
    """Calls public methods on behalf of runs.

    :param registry: the public methods; it can be filled later
    """

    def __init__(self, manager: Manager, registry: Registry) -> None:
        self._manager = manager
        self._registry = registry
        self._limits = limits_of(manager.settings)

    async def call(self, call: RunCall) -> Raw:
        """Call a method as a client would.

        :returns: the result as JSON
        :raises KaijuError: the error with which a client would be answered
        :raises Forbidden: the run has not the right to call the method
        :raises Unavailable: the database cannot be reached
        """
        row, definition = call.run.row, call.run.definition
        principal = await self._principal(definition.user_id, definition.token_id)
        if not principal.has_stage(call.method):
            raise Forbidden(
                f"the rights of the task do not allow its stages to call `{call.method:.100}`"
            )
        caller = Caller(
            principal,
            remote=f"task:{row.id}/{row.job_id}/{call.stage}",
            cause=cause_of(row, definition),
            fence=call.fence,
            is_gone=call.is_gone,
        )
        params = repeatable(call.method, call.params, call.key)
        if call.again and (earlier := await self._made_before(caller, call, params)) is not None:
            return earlier
        return await self._request(caller, call.method, params)

    async def _principal(self, owner: str | None, token_id: str | None) -> Principal:
        try:
            return await self._manager.auth.of_run(owner, token_id)
        except StoreError as exc:
            raise Unavailable(str(exc)) from exc

    async def _made_before(self, caller: Caller, call: RunCall, params: Json) -> Raw | None:
        """The answer to a create that has been carried out before; None if it has not."""
        if call.method == CREATE_MANY:
            ids, generated_id = repeated_ids(params, call.key)
            if generated_id is not None:
                exists = await self._request(caller, "tasks.exists", {"id": generated_id})
                return await self._created(caller, ids) if bytes(exists) == b"true" else None
        if call.fence is None or call.method not in (CREATE, CREATE_MANY):
            return None
        # The executor has sent it before: a child of the task with an id of this call is from it.
        if not (ids := given_ids(call.method, params)):
            return None
        try:
            made = msgspec.json.decode(await self._created(caller, ids))
        except (Forbidden, NotFound):  # the owner may not read its tasks: the call itself decides
            return None
        if len(made) != len(ids) or any(task["parent_id"] != call.run.row.id for task in made):
            return None
        return Raw(msgspec.json.encode(made if call.method == CREATE_MANY else made[0]))

    async def _created(self, caller: Caller, ids: list[str]) -> Raw:
        tasks = msgspec.json.decode(await self._request(caller, "tasks.m_get", {"ids": ids}))
        return Raw(msgspec.json.encode([{**t, "created": False, "warnings": []} for t in tasks]))

    async def _request(self, caller: Caller, method: str, params: Json) -> Raw:
        body = encode_request(1, method, params)
        answer = await dispatch(self._registry, body, caller, self._limits)
        assert answer is not None  # a request with an id always has a response
        response = _decode(answer)
        if response.error is None:
            return response.result
        raise remote_error(**msgspec.structs.asdict(response.error))
