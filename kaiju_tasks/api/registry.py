"""All public methods, with their types."""

from collections.abc import Callable
from functools import wraps
from operator import attrgetter
from typing import Any

from kaiju_tasks.api import params as p
from kaiju_tasks.api.audit import AuditApi
from kaiju_tasks.api.bulk import BulkApi
from kaiju_tasks.api.caller import Caller
from kaiju_tasks.api.declarations import Declarations
from kaiju_tasks.api.events import EventsApi
from kaiju_tasks.api.executors import ExecutorsApi
from kaiju_tasks.api.known import KnownMethods
from kaiju_tasks.api.logs import LogsApi
from kaiju_tasks.api.manager import Acknowledgement, ManagerApi
from kaiju_tasks.api.marks import MarksApi
from kaiju_tasks.api.notifications import NotificationsApi
from kaiju_tasks.api.pauses import PausesApi
from kaiju_tasks.api.runs import RunsApi
from kaiju_tasks.api.schedules import SchedulesApi
from kaiju_tasks.api.stage_calls import StageCalls
from kaiju_tasks.api.stage_methods import StageMethods
from kaiju_tasks.api.stats import StatsApi
from kaiju_tasks.api.streams import StreamsApi
from kaiju_tasks.api.system import SystemApi
from kaiju_tasks.api.tasks import TasksApi
from kaiju_tasks.api.tokens import (
    CreateTokenParams,
    PrincipalUpdateParams,
    RotateParams,
    TokenParams,
    TokensApi,
    WhoAmI,
)
from kaiju_tasks.errors import (
    Conflict,
    Forbidden,
    InvalidRequest,
    KaijuError,
    NotFound,
    StaleLease,
    TooLarge,
    TooManyRequests,
    Unavailable,
)
from kaiju_tasks.manager import Manager
from kaiju_tasks.protocol import (
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
from kaiju_tasks.rights import Access, access
from kaiju_tasks.rpc import NoParams, Registry, add_discover
from kaiju_tasks.store.base import StoreRefused, StoreUnavailable, TransactionConflict
from kaiju_tasks.types import (
    BulkCall,
    ComingFires,
    ExecutorInfo,
    Explanation,
    Family,
    InboxEntry,
    IssuedToken,
    ListedRun,
    LogPage,
    Mark,
    MessageReceipt,
    Notification,
    PrincipalInfo,
    Run,
    RunList,
    StageRecord,
    Stats,
    StreamInfo,
    Task,
    TaskList,
    TaskVersion,
    TokenInfo,
)
from kaiju_tasks.version import __version__

TITLE = "kaiju_tasks"
DEFAULT_URL = "http://127.0.0.1:8077/rpc"
"""The default URL of a manager."""

_READ: tuple[type[KaijuError], ...] = (NotFound, Unavailable)
_WRITE: tuple[type[KaijuError], ...] = (NotFound, Conflict, Unavailable)


def method_registry(manager: Manager | None = None) -> Registry:
    """Return all public methods.

    :param manager: manager that they act on; without a manager, they can only be described
    """
    registry = Registry(attrgetter("principal"), attrgetter("gone"))
    known: Any = None if manager is None else KnownMethods(manager.store)
    target: Any = manager
    calls: Any = None if manager is None else StageCalls(manager, registry)
    tasks = _maker(TasksApi, target, known, StageMethods(registry))
    declarations: Any = None if manager is None else Declarations(manager, tasks)
    _add_tasks(registry, tasks)
    _add_bulk(registry, _maker(BulkApi, target))
    _add_runs(registry, _maker(RunsApi, target))
    _add_logs(registry, _maker(LogsApi, target))
    _add_streams(registry, _maker(StreamsApi, target))
    _add_schedules(registry, _maker(SchedulesApi, target))
    _add_marks(registry, _maker(MarksApi, target))
    _add_stats(registry, _maker(StatsApi, target))
    _add_notifications(registry, _maker(NotificationsApi, target))
    _add_executors(registry, _maker(ExecutorsApi, target))
    _add_manager(registry, _maker(ManagerApi, target, known, calls, declarations))
    _add_pauses(registry, _maker(PausesApi, target))
    _add_events(registry, _maker(EventsApi, target))
    _add_system(registry, _maker(SystemApi, target))
    _add_audit(registry, _maker(AuditApi, target))
    _add_tokens(registry, _maker(TokensApi, target))
    add_discover(registry, TITLE, __version__, _url_for, access.SIGNED_IN)
    return registry


def _url_for(caller: Caller) -> str:
    return DEFAULT_URL if caller.url is None else caller.url()


def _maker(kind: type[Any], manager: Any, *more: Any) -> Any:
    """Return the service; without a manager, its class, whose methods have the docs."""
    return kind if manager is None else kind(manager, *more)


def _without_params(handler: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    async def call(caller: Any, params: NoParams) -> Any:
        return await handler(caller)

    call.__doc__ = handler.__doc__
    return call


def _available(handler: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    """Convert the error of an unreachable database to `Unavailable` for the caller."""

    @wraps(handler)
    async def call(caller: Any, params: Any) -> Any:
        try:
            return await handler(caller, params)
        except (StoreUnavailable, StoreRefused, TransactionConflict) as exc:
            raise Unavailable(f"the database cannot be reached: {exc}") from exc

    return call


def _adder(
    registry: Registry,
    prefix: str,
    default: tuple[type[KaijuError], ...] = _READ,
    *,
    tolerant: bool = False,
) -> Callable[..., None]:
    """A function that registers methods of one prefix, whose database may be unreachable.

    :param default: the errors of methods that are registered without others
    """

    def add(
        name: str,
        needs: Access,
        handler: Any,
        params: Any,
        result: Any,
        errors: tuple[type[KaijuError], ...] = default,
        **more: Any,
    ) -> None:
        registry.add(
            f"{prefix}.{name}",
            _available(handler),
            access=needs,
            params=params,
            result=result,
            errors=errors,
            tolerant=tolerant,
            **more,
        )

    return add


def _add_tasks(registry: Registry, tasks: Any) -> None:
    add = _adder(registry, "tasks", _WRITE)
    add(
        "create",
        access.CREATE_TASKS,
        tasks.create,
        p.CreateParams,
        p.CreatedTask,
        (Conflict, TooManyRequests, Unavailable),
    )
    add(
        "m_create",
        access.CREATE_TASKS,
        tasks.m_create,
        p.CreateManyParams,
        list[p.CreatedTask],
        (Conflict, TooManyRequests),
    )
    add("get", access.READ_TASKS, tasks.get, p.IdParams, Task, _READ)
    add("m_get", access.READ_TASKS, tasks.m_get, p.IdsParams, list[Task], (Unavailable,))
    add("list", access.READ_TASKS, tasks.list, p.ListParams, TaskList, (Unavailable,))
    add("count", access.READ_TASKS, tasks.count, p.ConditionsParams, p.Count, (Unavailable,))
    add("exists", access.READ_TASKS, tasks.exists, p.IdParams, bool, (Unavailable,))
    add("m_exists", access.READ_TASKS, tasks.m_exists, p.IdsParams, list[str], (Unavailable,))
    add("update", access.CHANGE_TASKS, tasks.update, p.UpdateParams, Task)
    add("m_update", access.CHANGE_TASKS, tasks.m_update, p.UpdateManyParams, list[Task])
    add("delete", access.CHANGE_TASKS, tasks.delete, p.OperateParams, p.Deleted, (Unavailable,))
    add("reset", access.OPERATE_TASKS, tasks.reset, p.OperateParams, Task)
    add("restart_from", access.OPERATE_TASKS, tasks.restart_from, p.RestartFromParams, Task)
    add("message", access.MESSAGE_TASKS, tasks.message, p.MessageParams, MessageReceipt, _READ)
    add(
        "write_message", access.MESSAGE_TASKS, tasks.message, p.MessageParams, MessageReceipt, _READ
    )
    add("suspend", access.OPERATE_TASKS, tasks.suspend, p.SuspendParams, Task)
    add("resume", access.OPERATE_TASKS, tasks.resume, p.OperateParams, Task)
    add("cancel", access.OPERATE_TASKS, tasks.cancel, p.OperateParams, Task)
    add("run_now", access.OPERATE_TASKS, tasks.run_now, p.OperateParams, Task)
    add("wait", access.READ_TASKS, tasks.wait, p.WaitParams, Task, _READ, waits=True)
    add("runs", access.READ_TASKS, tasks.runs, p.RunsParams, list[Run], _READ)
    add(
        "stages", access.READ_TASKS, tasks.stages, p.StagesParams, list[StageRecord], (Unavailable,)
    )
    add(
        "versions",
        access.READ_TASKS,
        tasks.versions,
        p.VersionsParams,
        list[TaskVersion],
        _READ,
    )
    add("explain", access.READ_TASKS, tasks.explain, p.IdParams, Explanation, _READ)
    add("inbox", access.READ_TASKS, tasks.inbox, p.IdParams, list[InboxEntry], _READ)
    add("family", access.READ_TASKS, tasks.family, p.IdParams, Family, _READ)
    add(
        "m_explain",
        access.READ_TASKS,
        tasks.m_explain,
        p.FewIdsParams,
        list[Explanation],
        (Unavailable,),
    )
    add(
        "validate",
        access.CREATE_TASKS,
        tasks.validate,
        p.ValidateParams,
        p.Validation,
        (Unavailable,),
        has_effect=False,
    )
    add(
        "delete_old_tasks",
        access.CHANGE_TASKS,
        tasks.delete_old_tasks,
        p.DeleteOldParams,
        p.DeletedCount,
        (),
    )


def _add_bulk(registry: Registry, bulk: Any) -> None:
    add = _adder(registry, "tasks", (Conflict, TooLarge, TooManyRequests, Unavailable))
    needs, result = access.OPERATE_TASKS, p.BulkResult
    add("m_delete", access.CHANGE_TASKS, bulk.m_delete, p.DeleteManyParams, p.DeletedMany)
    add("m_reset", needs, bulk.m_reset, p.BulkParams, result)
    add("m_cancel", needs, bulk.m_cancel, p.BulkParams, result)
    add("m_suspend", needs, bulk.m_suspend, p.BulkSuspendParams, result)
    add("m_resume", needs, bulk.m_resume, p.BulkParams, result)
    add("m_run_now", needs, bulk.m_run_now, p.BulkParams, result)
    add("m_restart_from", needs, bulk.m_restart_from, p.BulkRestartParams, result)
    add("m_message", access.MESSAGE_TASKS, bulk.m_message, p.BulkMessageParams, result)
    add = _adder(registry, "bulk")
    add("list", access.READ_AUDIT, bulk.list, p.BulkListParams, p.BulkCallPage, (Unavailable,))
    add("get", access.READ_AUDIT, bulk.get, p.IdParams, BulkCall)
    add("stop", needs, bulk.stop, p.BulkStopParams, BulkCall, _WRITE)


def _add_runs(registry: Registry, runs: Any) -> None:
    add = _adder(registry, "runs")
    add("list", access.READ_TASKS, runs.list, p.RunListParams, RunList, (Unavailable,))
    add("get", access.READ_TASKS, runs.get, p.JobParams, ListedRun)


def _add_logs(registry: Registry, logs: Any) -> None:
    add = _adder(registry, "logs")
    add("list", access.READ_TASKS, logs.list, p.LogListParams, LogPage)


def _add_schedules(registry: Registry, schedules: Any) -> None:
    add = _adder(registry, "schedules", (TooLarge, Unavailable))
    add("upcoming", access.READ_TASKS, schedules.upcoming, p.UpcomingParams, ComingFires)


def _add_marks(registry: Registry, marks: Any) -> None:
    add = _adder(registry, "marks", (NotFound, Unavailable))
    add("add", access.OPERATE_STREAMS, marks.add, p.MarkParams, Mark)
    add("list", access.READ_STREAMS, marks.list, p.MarkListParams, list[Mark], (Unavailable,))


def _add_stats(registry: Registry, stats: Any) -> None:
    add = _adder(registry, "stats", (Unavailable,))
    add("series", access.READ_STREAMS, stats.series, p.StatParams, Stats)


def _add_streams(registry: Registry, streams: Any) -> None:
    add = _adder(registry, "streams", (Unavailable,))
    add("list", access.READ_STREAMS, _without_params(streams.list), NoParams, list[StreamInfo])


def _add_notifications(registry: Registry, notifications: Any) -> None:
    add = _adder(registry, "notifications")
    away = (Unavailable,)
    add(
        "list",
        access.READ_TASKS,
        notifications.list,
        p.NotificationListParams,
        p.NotificationList,
        away,
    )
    add("get", access.READ_TASKS, notifications.get, p.IdParams, Notification)
    add(
        "update",
        access.OPERATE_TASKS,
        notifications.update,
        p.NotificationUpdateParams,
        Notification,
    )
    add("delete", access.OPERATE_TASKS, notifications.delete, p.IdParams, p.Deleted, away)


def _add_audit(registry: Registry, audit: Any) -> None:
    registry.add(
        "audit.list",
        _available(audit.list),
        access=access.READ_AUDIT,
        params=p.AuditListParams,
        result=p.AuditPage,
        errors=(Unavailable,),
    )


def _add_executors(registry: Registry, executors: Any) -> None:
    add = _adder(registry, "executors")
    add("list", access.READ_STREAMS, _without_params(executors.list), NoParams, list[ExecutorInfo])
    add("get", access.READ_STREAMS, executors.get, p.IdParams, ExecutorInfo)
    add("suspend", access.OPERATE_STREAMS, executors.suspend, p.OperateParams, ExecutorInfo)
    add("resume", access.OPERATE_STREAMS, executors.resume, p.OperateParams, ExecutorInfo)
    add("drain", access.OPERATE_STREAMS, executors.drain, p.OperateParams, ExecutorInfo)
    add("commands", access.READ_STREAMS, executors.commands, p.CommandsParams, list[p.CommandView])


def _add_manager(registry: Registry, manager: Any) -> None:
    add = _adder(registry, "manager", tolerant=True)
    add("connect", access.SERVE, manager.connect, ConnectParams, ConnectResult)
    add("ping", access.SERVE, manager.ping, PingParams, PingResult)
    add(
        "suspend_executor",
        access.SERVE,
        manager.suspend_executor,
        SuspendExecutorParams,
        PingResult,
    )
    add("write_stage", access.SERVE, manager.write_stage, WriteStageParams, WriteStageResult)
    add("write_logs", access.SERVE, manager.write_logs, WriteLogsParams, WriteLogsResult)
    add(
        "call",
        access.SERVE,
        manager.call,
        CallParams,
        Any,
        (Forbidden, NotFound, Conflict, StaleLease, TooLarge, TooManyRequests, Unavailable),
    )
    add(
        "declare",
        access.SERVE,
        manager.declare,
        DeclareParams,
        DeclareResult,
        (Forbidden, Unavailable),
    )
    add(
        "list_active_executors",
        access.READ_OPERATIONS,
        manager.list_active_executors,
        Acknowledgement,
        list[ExecutorInfo],
    )
    for name in ("execute_stage", "wait_for_timer", "wait_for_message"):
        add(name, access.ACKNOWLEDGE, manager.acknowledge, Acknowledgement, bool)


def _add_pauses(registry: Registry, pauses: Any) -> None:
    add = _adder(registry, "pauses")
    add(
        "add",
        access.OPERATE_STREAMS,
        pauses.add,
        p.PauseParams,
        p.PauseView,
        (Conflict, TooManyRequests, Unavailable),
    )
    add(
        "list",
        access.READ_STREAMS,
        _without_params(pauses.list),
        NoParams,
        list[p.PauseView],
        (Unavailable,),
    )
    add("remove", access.OPERATE_STREAMS, pauses.remove, p.OperateParams, p.Removed)


def _add_events(registry: Registry, events: Any) -> None:
    def add(name: str, handler: Any, params: Any, result: Any, *errors: type[KaijuError]) -> None:
        registry.add(
            f"events.{name}",
            handler,
            access=access.READ_TASKS,
            params=params,
            result=result,
            errors=errors,
        )

    add(
        "subscribe",
        events.subscribe,
        p.SubscribeParams,
        p.Subscribed,
        InvalidRequest,
        TooManyRequests,
    )
    add("unsubscribe", events.unsubscribe, p.SubscriptionParams, bool, InvalidRequest)


def _add_system(registry: Registry, system: Any) -> None:
    info = _available(_without_params(system.info))
    registry.add("system.info", info, access=access.READ_STREAMS, result=p.SystemView)
    registry.add(
        "cron.preview",
        system.preview,
        access=access.CALCULATE,
        params=p.PreviewParams,
        result=list[float],
    )


def _add_tokens(registry: Registry, tokens: Any) -> None:
    errors = (Forbidden, NotFound, Conflict, Unavailable)
    add = _adder(registry, "tokens", errors)
    add_principal = _adder(registry, "principals", errors)
    whoami = _available(_without_params(tokens.whoami))
    registry.add(
        "system.whoami", whoami, access=access.SIGNED_IN, result=WhoAmI, errors=(Unavailable,)
    )
    add("create", access.MANAGE, tokens.create, CreateTokenParams, IssuedToken)
    add("list", access.MANAGE, _without_params(tokens.list), NoParams, list[TokenInfo])
    add("rotate", access.OWN_TOKEN, tokens.rotate, RotateParams, IssuedToken)
    add("revoke", access.MANAGE, tokens.revoke, TokenParams, TokenInfo)
    principals = _without_params(tokens.list_principals)
    add_principal("list", access.MANAGE, principals, NoParams, list[PrincipalInfo])
    add_principal(
        "update",
        access.MANAGE,
        tokens.update_principal,
        PrincipalUpdateParams,
        PrincipalInfo,
    )
