"""`manager.*`: the methods that executors call (docs/protocol.md)."""

import logging
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from kaiju_tasks.api.announcements import check_connect, check_leave, check_ping
from kaiju_tasks.api.caller import Caller
from kaiju_tasks.api.declarations import Declarations
from kaiju_tasks.api.executors import ExecutorsApi
from kaiju_tasks.api.known import KnownMethods
from kaiju_tasks.api.stage_calls import StageCalls
from kaiju_tasks.api.torn_reports import LOOSE_BYTES, readable_reports
from kaiju_tasks.errors import (
    Forbidden,
    InvalidParams,
    InvalidRequest,
    KaijuError,
    ParseError,
    TooLarge,
    Unauthorized,
)
from kaiju_tasks.manager import Manager
from kaiju_tasks.manager.auth import REFUSAL
from kaiju_tasks.manager.executors.reports import MAX_REPORTS
from kaiju_tasks.manager.executors.sessions import Session
from kaiju_tasks.manager.logs import LINES_MAX, LOGS_MAX
from kaiju_tasks.protocol import (
    AckState,
    CallParams,
    ConnectParams,
    ConnectResult,
    DeclareParams,
    DeclareResult,
    PingParams,
    PingResult,
    SuspendExecutorParams,
    WriteLogsParams,
    WriteLogsResult,
    WriteStageParams,
    WriteStageResult,
)
from kaiju_tasks.rights import NOBODY, Decision, Target, access, may
from kaiju_tasks.rpc import convert_json, count_as_useful, counting_waits
from kaiju_tasks.store.base import StoreError
from kaiju_tasks.types import ExecutorInfo

log = logging.getLogger(__name__)

LOOPBACK = ("127.0.0.1", "::1")


class Acknowledgement(Struct):
    """Parameters of a method without effect; they are ignored."""


class ManagerApi:
    """The methods for executors."""

    def __init__(
        self,
        manager: Manager,
        known: KnownMethods,
        calls: StageCalls,
        declarations: Declarations,
    ) -> None:
        self._manager = manager
        self._known = known
        self._calls = calls
        self._declarations = declarations

    async def connect(self, caller: Caller, params: ConnectParams) -> ConnectResult:
        """Connect an executor with its streams, commands, capacity and current leases."""
        if caller.connection is None:
            raise InvalidRequest(
                "manager.connect must be called over the WebSocket at /rpc, not over POST"
            )
        check_connect(params, caller.principal, system=caller.system)
        params = replace(params, capacity=_within(caller, params.capacity))
        if caller.session is not None and caller.session.executor_id != params.id:
            raise InvalidParams(
                f"`id`: this connection belongs to executor {caller.session.executor_id!r}: "
                "open another connection",
                field="id",
            )
        result, session = await self._manager.roster.connect(
            params, caller.connection, caller.user_id, local=caller.remote in LOOPBACK
        )
        caller.session = session
        if caller.principal is NOBODY:  # its token ended meanwhile
            await self._manager.roster.dismiss(session)
            raise Unauthorized(REFUSAL)
        self._known.forget()
        self._manager.serve_session(session)
        return result

    async def ping(self, caller: Caller, params: PingParams) -> PingResult:
        """Renew the leases of an executor."""
        check_ping(params)
        if params.capacity is not None:
            params = replace(params, capacity=_within(caller, params.capacity))
        session = caller.session or self._elsewhere(caller, params.id)
        with counting_waits():
            status = await self._manager.roster.ping(params, session)
        if params.holding is not None and caller.session is not None:
            self._manager.reconciliation.heard(caller.session, params.holding)
        self._manager.streams.credit()
        return PingResult(status)

    async def suspend_executor(self, caller: Caller, params: SuspendExecutorParams) -> PingResult:
        """Disconnect an executor. The tasks that it holds return to their streams."""
        check_leave(params)
        own = caller.session or self._elsewhere(caller, params.id)
        if own is not None and own.executor_id != params.id:
            own = None
        if own is None and not caller.principal.unlimited:
            raise Forbidden("an executor can only disconnect itself", field="id")
        await self._manager.roster.leave(params.id, own)
        self._known.forget()
        return PingResult("GONE")

    def _elsewhere(self, caller: Caller, executor_id: str) -> Session | None:
        """The session of an executor of the caller's principal, over another connection. A thread
        of the executor calls while its event loop is blocked."""
        session = self._manager.roster.session(executor_id)
        if session is None or caller.connection is None or session.owner != caller.user_id:
            return None
        target = Target(id=executor_id, streams=tuple(session.app_names))
        allowed = may(caller.principal, access.SERVE, target) is Decision.ALLOWED
        return session if allowed else None

    async def write_stage(self, caller: Caller, params: WriteStageParams) -> WriteStageResult:
        """Report stages. The answer is sent after the commit."""
        return await _write_stage(self._manager, caller, params)

    async def call(self, caller: Caller, params: CallParams) -> Any:
        """Call a method of `tasks` for a running stage, with the rights of its task.

        The result is that of the method.
        """
        if caller.session is None:
            raise InvalidRequest("call manager.connect on this connection before manager.call")
        return await self._calls.call(caller.session, params)

    async def write_logs(self, caller: Caller, params: WriteLogsParams) -> WriteLogsResult:
        """Store lines that stages have logged or printed. The answer is sent after the commit."""
        if caller.session is None:
            raise InvalidRequest(
                "call manager.connect on this connection before manager.write_logs"
            )
        if len(params.logs) > LOGS_MAX:
            raise TooLarge(f"`logs` must have at most {LOGS_MAX} items", limit=LOGS_MAX)
        if sum(len(one.lines) for one in params.logs) > LINES_MAX:
            raise TooLarge(f"`logs` must have at most {LINES_MAX} lines", limit=LINES_MAX)
        with counting_waits():
            lines = await self._manager.logs.write(params.logs, caller.session)
        if lines:
            count_as_useful()
        return WriteLogsResult(lines)

    async def declare(self, caller: Caller, params: DeclareParams) -> DeclareResult:
        """Create the schedules that an executor declares, or replace older ones.

        The scope of its token must grant the verb `create`, and the methods of their commands.
        """
        if caller.session is None:
            raise InvalidRequest("call manager.connect on this connection before manager.declare")
        return await self._declarations.declare(caller, params)

    async def list_active_executors(
        self, caller: Caller, params: Acknowledgement
    ) -> list[ExecutorInfo]:
        """List the executors that are not lost or gone."""
        return await ExecutorsApi(self._manager).list_active(caller)

    async def acknowledge(self, caller: Caller, params: Acknowledgement) -> bool:
        """Accept the call without effect."""
        return True


def _within(caller: Caller, capacity: int) -> int:
    """The capacity that an executor has within its rights."""
    most = caller.principal.capacity
    return capacity if most is None else min(capacity, most)


async def write_stage_fast(
    manager: Manager, caller: Caller, raw_params: msgspec.Raw | bytes
) -> WriteStageResult:
    """`manager.write_stage` from undecoded params: results stay bytes, each checked on its own,
    so that one bad report fails its stage and not the whole frame, unless the frame is large."""
    try:
        params = convert_json(raw_params, WriteStageParams)
    except (KaijuError, UnicodeDecodeError) as error:
        if len(memoryview(raw_params)) > LOOSE_BYTES:
            raise ParseError(f"a report in this frame cannot be read: {error}") from None
        params = WriteStageParams(readable_reports(bytes(raw_params)))
    return await _write_stage(manager, caller, params)


async def _write_stage(
    manager: Manager, caller: Caller, params: WriteStageParams
) -> WriteStageResult:
    if len(params.reports) > MAX_REPORTS:
        raise TooLarge(f"`reports` must have at most {MAX_REPORTS} items", limit=MAX_REPORTS)
    if caller.session is None and not caller.principal.unlimited:
        raise InvalidRequest("call manager.connect on this connection before manager.write_stage")
    with counting_waits():
        acks = await manager.reports.write(params.reports, caller.session)
    if any(ack.state is not AckState.STALE for ack in acks):
        count_as_useful()
    manager.streams.credit()
    return WriteStageResult(acks)


def end_subscriptions(manager: Manager, caller: Caller) -> None:
    """End the subscriptions of a caller."""
    while caller.subscriptions:
        manager.events.unsubscribe(caller.subscriptions.popitem()[1])


async def connection_closed(manager: Manager, caller: Caller) -> None:
    """Handle the end of a WebSocket: end its subscriptions, and give its executor
    `reconnect_grace` to reconnect."""
    end_subscriptions(manager, caller)
    session, caller.session = caller.session, None
    if session is None:
        return
    try:
        await manager.roster.closed(session)
    except StoreError as exc:
        log.warning(
            "executor %s disconnected while the database cannot be reached: %s",
            session.executor_id,
            exc,
        )
