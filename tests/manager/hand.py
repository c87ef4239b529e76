"""An executor worked by hand: a test sees what it is sent and says what it reports."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from kaiju_tasks.api import Caller, connection_closed, method_registry, write_stage_fast
from kaiju_tasks.manager import Manager
from kaiju_tasks.protocol import Ack, Assignment, Lease, Report, ReportError, ReportState
from kaiju_tasks.rpc import Limits, Registry, dispatch, read_response
from tests.support.wait import PATIENCE_SECONDS, wait_until

LIMITS = Limits()

executors_are_lost_soon = pytest.mark.parametrize("ping_interval", [0.5])
"""For tests that wait until a silent executor's lease is over."""


class Calls:
    """Calls methods of a manager as a client would, through the dispatcher.

    :ivar caller: who calls
    """

    def __init__(
        self, manager: Manager, caller: Caller | None = None, registry: Registry | None = None
    ) -> None:
        self.manager = manager
        self._registry: Registry = registry or method_registry(manager)
        self.caller = caller or Caller()
        self._id = 0

    async def __call__(self, method: str, /, **params: Any) -> Any:
        self._id += 1
        request = {"jsonrpc": "2.0", "id": self._id, "method": method, "params": params}
        answer = await dispatch(self._registry, msgspec.json.encode(request), self.caller, LIMITS)
        assert answer is not None
        response = read_response(answer, LIMITS)
        assert response is not None
        if response.error is not None:
            raise response.error
        return msgspec.json.decode(answer)["result"]

    def by(self, caller: Caller) -> "Calls":
        """The same manager and methods, called by another."""
        return Calls(self.manager, caller, self._registry)

    async def create(self, *methods: Any, **fields: Any) -> dict[str, Any]:
        """A task of commands: names of methods, or whole commands."""
        commands = [{"method": m} if isinstance(m, str) else m for m in methods]
        task: dict[str, Any] = await self("tasks.create", data={"commands": commands, **fields})
        return task

    async def get(self, task_id: str) -> dict[str, Any]:
        task: dict[str, Any] = await self("tasks.get", id=task_id)
        return task

    async def until(
        self, task_id: str, status: str, timeout: float = PATIENCE_SECONDS
    ) -> dict[str, Any]:
        """Wait until a task has a status."""
        task: dict[str, Any] = {}

        async def there() -> bool:
            nonlocal task
            task = await self.get(task_id)
            return bool(task["status"] == status)

        await wait_until(there, f"task {task_id} is {status}", timeout)
        return task


class HandExecutor:
    """The connection of an executor, and what came over it.

    :ivar frames: the sizes of all frames that came
    :ivar heard: all messages that came
    :ivar sent: assignments that wait in the socket, if it does not read
    """

    def __init__(self, manager: Manager, executor_id: str, capacity: int = 10) -> None:
        self.manager = manager
        self.id = executor_id
        self.capacity = capacity
        self.assigned: asyncio.Queue[Assignment] = asyncio.Queue()
        self.revoked: list[Lease] = []
        self.heard: list[dict[str, Any]] = []
        self.frames: list[int] = []
        self.sent: deque[Callable[[], None]] = deque()
        self.reads = True
        self.closed = False
        self.caller = Caller(connection=self)
        self.call = Calls(manager, self.caller)

    def send(self, frame: bytes, taken: Callable[[], None] | None = None) -> None:
        self.frames.append(len(frame))
        if taken is not None:
            self.sent.append(taken)
            if self.reads:
                self.read()
        message = msgspec.json.decode(frame)
        self.heard.append(message)
        if message["method"] == "executor.run":
            for task in msgspec.convert(message["params"]["tasks"], list[dict[str, Any]]):
                self.assigned.put_nowait(
                    msgspec.json.decode(msgspec.json.encode(task), type=Assignment)
                )
        elif message["method"] == "executor.revoke":
            self.revoked += msgspec.convert(message["params"]["leases"], list[Lease])

    def read(self) -> None:
        """Take all frames that wait in the socket."""
        while self.sent:
            self.sent.popleft()()

    def offer(self, frame: bytes) -> bool:
        self.send(frame)
        return True

    def close(self) -> None:
        self.closed = True

    async def connect(
        self, *, holding: list[Lease] | None = None, app: str = "default", **more: Any
    ) -> Any:
        return await self.call(
            "manager.connect",
            id=self.id,
            app_names=[app],
            capacity=self.capacity,
            holding=msgspec.to_builtins(holding or []),
            **more,
        )

    @property
    def notified(self) -> list[str]:
        """The methods of the messages that came."""
        return [message["method"] for message in self.heard]

    async def ping(self) -> Any:
        return await self.call("manager.ping", id=self.id)

    async def cut(self) -> None:
        """The socket closes without a word."""
        await connection_closed(self.manager, self.caller)

    async def take(self, timeout: float = PATIENCE_SECONDS) -> Assignment:
        async with asyncio.timeout(timeout):
            return await self.assigned.get()

    async def report(self, *reports: Report) -> list[Ack]:
        params = msgspec.json.encode({"reports": list(reports)})
        return (await write_stage_fast(self.manager, self.caller, params)).acks

    async def finish(self, task: Assignment, result: Any = None, stage: int | None = None) -> Ack:
        (ack,) = await self.report(finished(task, result, stage))
        return ack

    async def fail(
        self,
        task: Assignment,
        type: str = "execution_error",
        message: str = "no",
        data: Any = None,
    ) -> Ack:
        error = ReportError(type, message, data)
        (ack,) = await self.report(_report(task, ReportState.FAILED, error=error))
        return ack


@asynccontextmanager
async def pinging(*executors: HandExecutor) -> AsyncIterator[None]:
    """Let executors ping as they should, unless they are cut."""

    async def ping() -> None:
        while True:
            for executor in executors:
                if executor.caller.session is not None:
                    await executor.ping()
            await asyncio.sleep(executors[0].manager.settings.ping_interval)

    task = asyncio.create_task(ping())
    try:
        yield
    finally:
        task.cancel()


def lease_of(task: Assignment) -> Lease:
    return Lease(task.id, task.job_id, task.epoch, task.nonce)


def finished(task: Assignment, result: Any = None, stage: int | None = None) -> Report:
    raw = Raw(msgspec.json.encode(result))
    return _report(task, ReportState.FINISHED, stage=stage, result=raw)


def released(task: Assignment) -> Report:
    return _report(task, ReportState.RELEASED)


def _report(task: Assignment, state: ReportState, stage: int | None = None, **more: Any) -> Report:
    return Report(
        id=task.id,
        job_id=task.job_id,
        epoch=task.epoch,
        nonce=task.nonce,
        stage=task.stage if stage is None else stage,
        state=state,
        **more,
    )
