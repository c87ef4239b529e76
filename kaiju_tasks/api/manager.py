"""`manager.*`: what executors call (docs/protocol.md)."""

import logging

import msgspec
from msgspec import Struct

from kaiju_tasks.api.announcements import check_connect, check_leave, check_ping
from kaiju_tasks.api.caller import Caller
from kaiju_tasks.api.executors import ExecutorsApi
from kaiju_tasks.api.known import KnownMethods
from kaiju_tasks.errors import InvalidParams, InvalidRequest, TooLarge
from kaiju_tasks.manager import Manager
from kaiju_tasks.manager.executors.reports import MAX_REPORTS
from kaiju_tasks.protocol import (
    ConnectParams,
    ConnectResult,
    PingParams,
    PingResult,
    SuspendExecutorParams,
    WriteStageParams,
    WriteStageResult,
)
from kaiju_tasks.rpc import convert_json
from kaiju_tasks.store.base import StoreError
from kaiju_tasks.types import ExecutorInfo

log = logging.getLogger(__name__)


class Acknowledgement(Struct):
    """Parameters of a call that needs nothing done; they are ignored."""


class ManagerApi:
    """The methods for executors."""

    def __init__(self, manager: Manager, known: KnownMethods) -> None:
        self._manager = manager
        self._known = known

    async def connect(self, caller: Caller, params: ConnectParams) -> ConnectResult:
        """Announce an executor: its streams, commands, capacity, and what it holds."""
        if caller.connection is None:
            raise InvalidRequest("manager.connect needs the WebSocket at /rpc, not a POST")
        check_connect(params, system=caller.system)
        if caller.session is not None and caller.session.executor_id != params.id:
            raise InvalidParams(
                f"`id`: this connection is executor {caller.session.executor_id!r}'s: "
                "open another one",
                field="id",
            )
        result, session = await self._manager.roster.connect(params, caller.connection)
        caller.session = session
        self._known.forget()
        self._manager.serve_session(session)
        return result

    async def ping(self, caller: Caller, params: PingParams) -> PingResult:
        """Renew the leases of an executor."""
        check_ping(params)
        status = await self._manager.roster.ping(params, caller.session)
        self._manager.streams.credit()
        return PingResult(status)

    async def suspend_executor(self, caller: Caller, params: SuspendExecutorParams) -> PingResult:
        """Leave: what the executor holds goes back to its stream."""
        check_leave(params)
        await self._manager.roster.leave(params.id)
        self._known.forget()
        return PingResult("GONE")

    async def write_stage(self, caller: Caller, params: WriteStageParams) -> WriteStageResult:
        """Report stages; the answer comes after the commit."""
        return await _write_stage(self._manager, caller, params)

    async def list_active_executors(
        self, caller: Caller, params: Acknowledgement
    ) -> list[ExecutorInfo]:
        """Executors that are not lost or gone."""
        return await ExecutorsApi(self._manager).list_active()

    async def acknowledge(self, caller: Caller, params: Acknowledgement) -> bool:
        """Accepted; nothing is to be done."""
        return True


async def write_stage_fast(
    manager: Manager, caller: Caller, raw_params: msgspec.Raw | bytes
) -> WriteStageResult:
    """`manager.write_stage` from undecoded params: results stay bytes, each checked on its own,
    so that one bad result fails its stage and not the whole frame."""
    return await _write_stage(manager, caller, convert_json(raw_params, WriteStageParams))


async def _write_stage(
    manager: Manager, caller: Caller, params: WriteStageParams
) -> WriteStageResult:
    if len(params.reports) > MAX_REPORTS:
        raise TooLarge(f"at most {MAX_REPORTS} reports in a call", limit=MAX_REPORTS)
    acks = await manager.reports.write(params.reports, caller.session)
    manager.streams.credit()
    return WriteStageResult(acks)


async def connection_closed(manager: Manager, caller: Caller) -> None:
    """To be called when a WebSocket ends: its subscriptions end, and its executor has
    `reconnect_grace` to come back."""
    while caller.subscriptions:
        manager.events.unsubscribe(caller.subscriptions.popitem()[1])
    session, caller.session = caller.session, None
    if session is None:
        return
    try:
        await manager.roster.closed(session)
        manager.scheduler.look()  # its lease now ends sooner than the scheduler knows
    except StoreError as exc:
        log.warning("executor %s went while the database is away: %s", session.executor_id, exc)
