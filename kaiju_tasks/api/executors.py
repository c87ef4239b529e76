"""`executors.*`"""

import msgspec

from kaiju_tasks.api.caller import Caller
from kaiju_tasks.api.params import CommandsParams, CommandView, IdParams, OperateParams
from kaiju_tasks.api.permission import check_target, seen_by
from kaiju_tasks.errors import Forbidden, NotFound
from kaiju_tasks.manager import Manager
from kaiju_tasks.manager.executors.methods import of_stream
from kaiju_tasks.manager.executors.sessions import GONE
from kaiju_tasks.rights import Access, Kind, Target, access
from kaiju_tasks.store.announced import read_commands
from kaiju_tasks.store.base import ExecutorRow
from kaiju_tasks.types import MANAGER_APP, AuditRecord, ExecutorInfo


class ExecutorsApi:
    """The methods on executors."""

    def __init__(self, manager: Manager) -> None:
        self._roster = manager.roster
        self._store = manager.store
        self._dice = manager.dice

    async def list(self, caller: Caller) -> "list_[ExecutorInfo]":
        """List the executors that are connected or were connected recently, by id."""
        rows = await self._store.executors(seen_by(caller, access.READ_STREAMS))
        return [_info(row, caller) for row in rows if is_shown(row)]

    async def list_active(self, caller: Caller) -> "list_[ExecutorInfo]":
        rows = await self._store.executors(seen_by(caller, access.READ_OPERATIONS))
        return [_info(row, caller) for row in rows if row.status not in GONE]

    async def get(self, caller: Caller, params: IdParams) -> ExecutorInfo:
        """Get an executor."""
        return _info(await self._row(caller, params.id, access.READ_STREAMS), caller)

    async def _row(self, caller: Caller, executor_id: str, needs: Access) -> ExecutorRow:
        rows = await self._store.executors(seen_by(caller, needs), [executor_id])
        if not rows:
            raise NotFound(f"there is no executor {executor_id!r}", id=executor_id)
        return rows[0]

    async def _check(self, caller: Caller, executor_id: str) -> None:
        """Check that a caller may operate an executor. The manager's own belongs to nobody."""
        if caller.principal.unlimited:
            return
        row = await self._row(caller, executor_id, access.OPERATE_STREAMS)
        if MANAGER_APP in row.app_names:
            raise Forbidden("the manager's own executor cannot be operated", id=executor_id)
        target = Target(id=executor_id, streams=tuple(row.app_names))
        check_target(caller.principal, access.OPERATE_STREAMS, target, "executor")

    async def suspend(self, caller: Caller, params: OperateParams) -> ExecutorInfo:
        """Revoke an executor's leases, and refuse the executor until it is resumed."""
        await self._check(caller, params.id)
        await self._roster.suspend(params.id, self._audit(caller, "suspend", params))
        return await self._changed(caller, params.id)

    async def resume(self, caller: Caller, params: OperateParams) -> ExecutorInfo:
        """Allow a suspended or draining executor to take tasks again."""
        await self._check(caller, params.id)
        await self._roster.resume(params.id, self._audit(caller, "resume", params))
        return await self._changed(caller, params.id)

    async def drain(self, caller: Caller, params: OperateParams) -> ExecutorInfo:
        """Give an executor no new tasks. Tasks that it holds continue."""
        await self._check(caller, params.id)
        await self._roster.drain(params.id, self._audit(caller, "drain", params))
        return await self._changed(caller, params.id)

    async def _changed(self, caller: Caller, executor_id: str) -> ExecutorInfo:
        needs = access.OPERATE_STREAMS
        return _info(await self._row(caller, executor_id, needs), caller, needs)

    def _audit(self, caller: Caller, action: str, params: OperateParams) -> AuditRecord:
        name = f"executors.{action}"
        return caller.audit(self._dice.new_id(), name, params.id, reason=params.reason)

    async def commands(self, caller: Caller, params: CommandsParams) -> "list_[CommandView]":
        """List the methods that executors have registered, by stream."""
        found: dict[tuple[str, str], CommandView] = {}
        sight = seen_by(caller, access.READ_STREAMS)
        for row in await self._store.executors(sight):
            if row.status in GONE:
                continue
            for app_name in filter(sight.sees_stream, row.app_names):
                if params.app_name in (None, app_name):
                    _add_commands(found, app_name, row)
        return [found[key] for key in sorted(found)]


list_ = list


def is_shown(row: ExecutorRow) -> bool:
    """Return whether to list an executor. The manager's own executor is not listed while away."""
    return row.status not in GONE or MANAGER_APP not in row.app_names


def _add_commands(
    found: dict[tuple[str, str], CommandView], app_name: str, row: ExecutorRow
) -> None:
    for command in of_stream(read_commands(row.commands), app_name):
        view = found.setdefault(
            (app_name, command.method),
            CommandView(
                app_name,
                command.method,
                msgspec.json.decode(command.params),
                command.doc,
                executors=0,
                result=msgspec.json.decode(command.result),
                examples=msgspec.json.decode(command.examples),
            ),
        )
        view.executors += 1


def _info(row: ExecutorRow, caller: Caller, needs: Access = access.READ_STREAMS) -> ExecutorInfo:
    """:param needs: the access of the method"""
    sight = seen_by(caller, needs)
    machine = caller.principal.kind not in (Kind.VIEWER, Kind.USER)
    return ExecutorInfo(
        id=row.id,
        app_names=[name for name in row.app_names if sight.sees_stream(name)],
        status=row.status,
        capacity=row.capacity,
        running=row.running,
        host=row.host if machine else None,
        pid=row.pid if machine else None,
        version=row.version,
        connected_at=row.connected_at,
        last_ping=row.last_ping,
        lease_until=row.lease_until,
        manager_id=row.manager_id,
    )
