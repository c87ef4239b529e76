"""Calls methods of the manager for running stages, over the connection of the executor."""

import asyncio
import math
from typing import Any
from uuid import uuid4

import msgspec
from msgspec import Raw
from msgspec.structs import asdict

from kaiju_tasks.errors import (
    KaijuError,
    MethodNotFound,
    TooLarge,
    TooManyRequests,
    Unavailable,
)
from kaiju_tasks.executor.clock import Clock
from kaiju_tasks.executor.messages import RpcError
from kaiju_tasks.executor.session import FrameTooLarge, Lost, Session
from kaiju_tasks.protocol import CallParams, Lease
from kaiju_tasks.reads import READS
from kaiju_tasks.rpc.messages import remote_error
from kaiju_tasks.version import __version__

__all__ = ["ManagerCalls"]

CALL = "manager.call"
WAIT = "tasks.wait"
REPEATABLE = READS | {"tasks.create", "tasks.m_create", "tasks.message", "tasks.write_message"}
"""The calls that can be sent again when their answer was lost: those that only read, and those that
the manager knows by their `call_id`. A create that replaces tasks is not among them: a task that it
has replaced may have ended since, and would run a second time."""
AT_ONCE, WAITS = 16, 256
"""How many calls are open at once. A manager carries out no more of one executor."""
PAUSE_SECONDS = 0.5

Json = dict[str, Any]


class ManagerCalls:
    """Calls of the stages of a process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._session: Session | None = None
        self._opened = asyncio.Event()
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._waits = asyncio.Semaphore(WAITS)

    def open(self, session: Session) -> None:
        """Use this session: a manager has accepted the executor."""
        self._session = session
        self._opened.set()

    def close(self) -> None:
        """Wait for another session: this one has ended."""
        self._session = None
        self._opened.clear()

    @property
    def crowded(self) -> bool:
        """Whether stages wait until others have been answered that wait for tasks."""
        return self._waits.locked()

    async def call(self, lease: Lease, stage: int, method: str, params: Json) -> Any:
        """Call a method with the rights of a task. While no manager is connected, the call waits:
        the end of the stage ends it.

        :param lease: under which the stage runs
        :param stage: index of the stage, from 0
        :returns: the result as plain data
        :raises KaijuError: the error of the manager, of the class that has its code
        :raises Unavailable: the connection has ended, and the call cannot be repeated
        """
        call = CallParams(
            id=lease.id,
            job_id=lease.job_id,
            epoch=lease.epoch,
            nonce=lease.nonce,
            stage=stage,
            call_id=uuid4().hex,
            method=method,
            params=params,
        )
        until = self._clock.time() + params["timeout"] if method == WAIT else math.inf
        async with self._waits if method == WAIT else self._turns:
            while True:
                answer = await self._ask(call, until)
                if isinstance(answer, Raw):
                    return msgspec.json.decode(answer)
                error = _error_of(answer, method)
                if not _may_repeat(method, params, error):
                    raise error
                call.again = True
                if not isinstance(answer, Lost):
                    await self._clock.sleep(PAUSE_SECONDS)

    async def _ask(self, call: CallParams, until: float) -> Raw | RpcError | Lost:
        while (session := self._session) is None or session.lost:
            self._opened.clear()
            await self._opened.wait()
        if until < math.inf:  # the end of a wait does not move when it is sent late or again
            call.params = {**call.params, "timeout": max(0.0, until - self._clock.time())}
        answered: asyncio.Future[Raw | RpcError | Lost]
        answered = asyncio.get_running_loop().create_future()

        def answer(answer: Raw | RpcError | Lost) -> None:
            if not answered.done():
                answered.set_result(answer)

        try:
            session.request(CALL, call, answer, patient=True)
        except FrameTooLarge as error:
            raise TooLarge(f"the call of `{call.method}` is too large: {error}") from None
        return await answered


def _may_repeat(method: str, params: Json, error: KaijuError) -> bool:
    if method == WAIT and isinstance(error, TooManyRequests):
        return True
    if not isinstance(error, Unavailable) or method not in REPEATABLE:
        return False
    return params.get("on_conflict") != "replace"


def _error_of(answer: RpcError | Lost, method: str) -> KaijuError:
    if isinstance(answer, Lost):
        if answer.frame_refused:
            return TooLarge(f"the manager closed the connection during a call of `{method}`")
        return Unavailable(
            f"the connection to the manager ended during the call of `{method}`: the manager may "
            "have carried it out"
        )
    error = remote_error(**asdict(answer))
    if isinstance(error, MethodNotFound) and error.data.get("method") == CALL:
        return MethodNotFound(
            f"the manager is too old for `ctx.tasks`: it needs kaiju_tasks {__version__} or later, "
            f"with the method `{CALL}`",
            method=CALL,
        )
    return error
