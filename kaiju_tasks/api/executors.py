"""`executors.*`"""

import msgspec

from kaiju_tasks.api.caller import Caller
from kaiju_tasks.api.known import of_stream, read_commands
from kaiju_tasks.api.params import CommandsParams, CommandView, IdParams
from kaiju_tasks.errors import NotFound
from kaiju_tasks.manager import Manager
from kaiju_tasks.manager.executors.sessions import GONE
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
        return [_info(row) for row in await self._store.executors() if is_shown(row)]

    async def list_active(self) -> "list_[ExecutorInfo]":
        rows = await self._store.executors()
        return [_info(row) for row in rows if row.status not in GONE]

    async def get(self, caller: Caller, params: IdParams) -> ExecutorInfo:
        """Get an executor."""
        rows = await self._store.executors([params.id])
        if not rows:
            raise NotFound(f"there is no executor {params.id!r}", id=params.id)
        return _info(rows[0])

    async def suspend(self, caller: Caller, params: IdParams) -> ExecutorInfo:
        """Revoke an executor's leases, and refuse the executor until it is resumed."""
        await self._roster.suspend(params.id, self._audit(caller, "suspend", params.id))
        return await self.get(caller, params)

    async def resume(self, caller: Caller, params: IdParams) -> ExecutorInfo:
        """Allow a suspended or draining executor to take tasks again."""
        await self._roster.resume(params.id, self._audit(caller, "resume", params.id))
        return await self.get(caller, params)

    async def drain(self, caller: Caller, params: IdParams) -> ExecutorInfo:
        """Give an executor no new tasks. Tasks that it holds continue."""
        await self._roster.drain(params.id, self._audit(caller, "drain", params.id))
        return await self.get(caller, params)

    def _audit(self, caller: Caller, action: str, executor_id: str) -> AuditRecord:
        return caller.audit(self._dice.new_id(), f"executors.{action}", executor_id)

    async def commands(self, caller: Caller, params: CommandsParams) -> "list_[CommandView]":
        """List the methods that executors have registered, by stream."""
        found: dict[tuple[str, str], CommandView] = {}
        for row in await self._store.executors():
            if row.status in GONE:
                continue
            for app_name in row.app_names:
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
                app_name, command.method, msgspec.json.decode(command.params), command.doc, 0
            ),
        )
        view.executors += 1


def _info(row: ExecutorRow) -> ExecutorInfo:
    return ExecutorInfo(
        id=row.id,
        app_names=row.app_names,
        status=row.status,
        capacity=row.capacity,
        running=row.running,
        host=row.host,
        pid=row.pid,
        version=row.version,
        connected_at=row.connected_at,
        last_ping=row.last_ping,
        lease_until=row.lease_until,
        manager_id=row.manager_id,
    )
