"""Carries out the calls of the stages that executors run: `manager.call`."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from kaiju_tasks.api.run_calls import RunCall, RunCalls
from kaiju_tasks.errors import Forbidden, InvalidParams, StaleLease, TooManyRequests
from kaiju_tasks.manager import Manager
from kaiju_tasks.manager.executors.sessions import Session
from kaiju_tasks.manager.writing.entries import Fence
from kaiju_tasks.protocol import CallParams, Lease
from kaiju_tasks.rights import ALL_SIGHT
from kaiju_tasks.rights.access import Reach
from kaiju_tasks.rpc import Registry, count_as_useful

__all__ = ["StageCalls"]

PREFIX = "tasks."
WAIT = "tasks.wait"
AT_ONCE = 16
"""How many calls of one executor are carried out at once. The others wait."""
WAITS_EACH, WAITS = 256, 2_000
"""How many `tasks.wait` are open at once, for one executor and for all. Each occupies 8 KiB of what
the frames of executors may occupy (`traffic.py`); no other frame waits for one."""
RETRY_SECONDS = 1


class StageCalls:
    """Calls of running stages.

    :param registry: the public methods; it can be filled later
    """

    def __init__(self, manager: Manager, registry: Registry) -> None:
        self._store = manager.store
        self._registry = registry
        self._calls = RunCalls(manager, registry)
        self._turns: WeakKeyDictionary[Session, asyncio.Semaphore] = WeakKeyDictionary()
        self._waits: Counter[str] = Counter()

    async def call(self, session: Session, params: CallParams) -> Any:
        """Carry out a call.

        :param session: of the executor that runs the stage
        :returns: the result of the method, as JSON
        :raises StaleLease: the stage does not run under this lease, or on another executor
        :raises Forbidden: stages do not call this method, or the rights of the task do not allow it
        :raises TooManyRequests: too many stages wait for tasks
        """
        lease = Lease(params.id, params.job_id, params.epoch, params.nonce)
        self._check_method(params)
        if params.method == WAIT:
            with self._waiting(session):
                return await self._carry_out(session, Fence(lease, params.stage), params)
        turns = self._turns.get(session)
        if turns is None:
            turns = self._turns[session] = asyncio.Semaphore(AT_ONCE)
        async with turns:
            return await self._carry_out(session, Fence(lease, params.stage), params)

    def _check_method(self, params: CallParams) -> None:
        name = params.method
        if not name.startswith(PREFIX):
            raise Forbidden(f"stages call methods of `tasks` only, not `{name:.100}`")
        if self._registry.find(name).access.user is Reach.NONE:
            raise Forbidden(f"stages do not call `{name:.100}`: users may not call it either")
        if name == WAIT and params.params.get("id") == params.id:
            raise InvalidParams("`id`: a stage cannot wait for its own task", field="id")

    @contextmanager
    def _waiting(self, session: Session) -> Iterator[None]:
        """:raises TooManyRequests: too many stages wait already"""
        own = session.executor_id
        if self._waits[own] >= WAITS_EACH or self._waits.total() >= WAITS:
            raise TooManyRequests(
                "too many stages wait for tasks: a `_TASKS_` stage waits without an executor",
                retry_after=RETRY_SECONDS,
            )
        self._waits[own] += 1
        try:
            yield
        finally:
            self._waits[own] -= 1
            if not self._waits[own]:
                del self._waits[own]

    async def _carry_out(self, session: Session, fence: Fence, params: CallParams) -> Any:
        lease = fence.lease

        def is_gone() -> bool:
            return not (session.open and session.has(lease))

        if is_gone():
            raise StaleLease(
                f"this executor does not hold this lease of the task {lease.id!r:.300}", id=lease.id
            )
        views = await self._store.tasks([lease.id], ALL_SIGHT, results=False)
        run = views.get(lease.id)
        fence.check(None if run is None else run.row)
        assert run is not None  # checked by the fence
        call = RunCall(
            run=run,
            stage=fence.stage,
            method=params.method,
            params=params.params,
            key=f"{lease.job_id}/{fence.stage}/{params.call_id}",
            again=params.again,
            fence=fence,
            is_gone=is_gone,
        )
        result = await self._calls.call(call)
        count_as_useful()  # it is the work of a task: reports and pings do not rest because of it
        return result
