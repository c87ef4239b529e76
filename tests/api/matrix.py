"""Who may call which method on what: the table that the tests compare with what managers do.

It is written by hand, and not from the access that methods are registered with: both would have the
same fault.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from kaiju_tasks.errors import Forbidden, InvalidRequest, KaijuError, NotFound
from kaiju_tasks.rights import Kind

__all__ = ["CALLERS", "KINDS", "ROWS", "STREAM", "Asker", "Outcome", "Row"]

STREAM, OTHER = "billing", "orders"
OWNER = "bob"
KINDS = (Kind.VIEWER, Kind.USER, Kind.OPERATOR, Kind.EXECUTOR, Kind.ADMIN)
HERE = {"id": "e-connect"}
Json = dict[str, Any]
Unseen = type[KaijuError] | Callable[[Any], bool] | None


class Asker(NamedTuple):
    """Who calls.

    :ivar name: of the principal; `bob` owns all objects
    :ivar elsewhere: its token is for another stream than that of the objects
    """

    name: str
    kind: Kind
    elsewhere: bool = False


CALLERS = {
    "viewer": Asker("vic", Kind.VIEWER),
    "viewer elsewhere": Asker("vic", Kind.VIEWER, elsewhere=True),
    "owner": Asker(OWNER, Kind.USER),
    "owner elsewhere": Asker(OWNER, Kind.USER, elsewhere=True),
    "stranger": Asker("ann", Kind.USER),
    "operator": Asker("op", Kind.OPERATOR),
    "operator elsewhere": Asker("op", Kind.OPERATOR, elsewhere=True),
    "executor": Asker("ex", Kind.EXECUTOR),
    "executor elsewhere": Asker("ex", Kind.EXECUTOR, elsewhere=True),
    "admin": Asker("root", Kind.ADMIN),
    "admin elsewhere": Asker("root", Kind.ADMIN, elsewhere=True),
}


class Outcome(NamedTuple):
    """What a call must lead to.

    :ivar allowed: it does its work
    :ivar unseen: otherwise: the error, or what its result says if the object does not exist for the
        caller; None for `Forbidden`, because the kind may not call the method
    """

    allowed: bool
    unseen: Unseen = None


class Row(NamedTuple):
    """A method.

    :ivar cells: what each of `KINDS` may reach with it: `A` everything, whatever its streams; `S`
        its streams; `O` what it owns, in its streams; `X` what it owns, or all if the token is for
        all streams, as only that of `admin` is here; `-` nothing
    :ivar params: the parameters, by the id of the object
    :ivar unseen: how the answer is when the caller does not see the object
    :ivar made: what the object is, see `World` in test_matrix.py
    """

    cells: str
    params: Callable[[str], Json]
    unseen: Unseen = NotFound
    made: str = "queued"

    def outcome(self, asker: Asker) -> Outcome:
        """What a call of somebody must lead to."""
        cell = dict(zip(KINDS, self.cells.split(), strict=True))[asker.kind]
        match cell:
            case "A":
                allowed = True
            case "S":
                allowed = not asker.elsewhere
            case "O":
                allowed = asker.name == OWNER and not asker.elsewhere
            case "X":
                allowed = asker.name == OWNER or asker == CALLERS["admin"]
            case "-":
                return Outcome(False)
            case _:
                raise AssertionError(cell)
        return Outcome(allowed, self.unseen)


def _id(id: str) -> Json:
    return {"id": id}


def _ids(id: str) -> Json:
    return {"ids": [id]}


def _none(id: str) -> Json:
    return {}


def _last_minutes(id: str) -> Json:
    now = time.time()
    return {"names": ["runs.cancelled"], "start": now - 600, "end": now + 60, "app_name": STREAM}


def _job(id: str) -> Json:
    return {"job_id": id}


def _where(name: str = "id", **more: Any) -> Callable[[str], Json]:
    return lambda id: {"conditions": {name: id}, **more}


def _task(id: str) -> Json:
    return {"app_name": STREAM, "commands": [{"method": "work"}]}


def _changed(id: str) -> Json:
    return {"id": id, "data": {"description": "x"}}


def _ends(id: str) -> Json:
    """A report of a lease that was never given."""
    lease = {"id": id, "job_id": "j", "epoch": 1, "nonce": "n", "stage": 0}
    return {"reports": [{**lease, "state": "finished", "result": 1}]}


def _calls(id: str) -> Json:
    """A call of a stage; see `_ends`."""
    lease = {"id": id, "job_id": "j", "epoch": 1, "nonce": "n", "stage": 0}
    return {**lease, "call_id": "c", "method": "tasks.get", "params": {"id": id}}


def _empty(result: Any) -> bool:
    return result == []


def _false(result: Any) -> bool:
    return result is False


def _no_page(result: Any) -> bool:
    return (result["data"], result["count"]) == ([], 0)


def _no_count(result: Any) -> bool:
    return not any(point["count"] for one in result["data"] for point in one["points"])


def _no_match(result: Any) -> bool:
    return bool(result["matched"] == 0)


def _no_stream(result: Any) -> bool:
    return STREAM not in str(result)


READ, OWN, TASK, CREATE = "S O S - S", "- O S - S", "- O S - S", "- S S - S"
SERVED, OPERATED, ALL = "S S S - S", "- - S - S", "A A A A A"

ROWS: dict[str, Row] = {
    "tasks.create": Row(CREATE, lambda id: {"data": _task(id)}, Forbidden),
    "tasks.m_create": Row(CREATE, lambda id: {"data": [_task(id)]}, Forbidden),
    "tasks.validate": Row(CREATE, lambda id: {"data": _task(id)}, Forbidden),
    "tasks.get": Row(READ, _id),
    "tasks.m_get": Row(READ, _ids, _empty),
    "tasks.list": Row(READ, _where(), _no_page),
    "tasks.count": Row(READ, _where(), lambda result: result == {"count": 0}),
    "tasks.exists": Row(READ, _id, _false),
    "tasks.m_exists": Row(READ, _ids, _empty),
    "tasks.wait": Row(READ, lambda id: {"id": id, "timeout": 0}),
    "tasks.runs": Row(READ, _id),
    "tasks.stages": Row(READ, _job, _empty, made="run"),
    "tasks.explain": Row(READ, _id),
    "tasks.m_explain": Row(READ, _ids, _empty),
    "tasks.inbox": Row(READ, _id),
    "tasks.family": Row(READ, _id),
    "tasks.versions": Row(READ, _id),
    "tasks.update": Row(TASK, _changed),
    "tasks.m_update": Row(TASK, lambda id: {"ids": [id], "data": {"description": "x"}}, _empty),
    "tasks.delete": Row(TASK, _id, lambda result: result == {"deleted": False}),
    "tasks.m_delete": Row(TASK, _where(), _no_match),
    "tasks.delete_old_tasks": Row(
        TASK,
        lambda id: {"interval_days": 0},
        lambda result: result == {"deleted": 0},
        made="ended",
    ),
    "tasks.reset": Row(TASK, _id, made="ended"),
    "tasks.restart_from": Row(TASK, lambda id: {"id": id, "stage": 0}, made="ended"),
    "tasks.message": Row(TASK, lambda id: {"id": id, "data": 1}, made="hook"),
    "tasks.write_message": Row(TASK, lambda id: {"id": id, "data": 1}, made="hook"),
    "tasks.suspend": Row(TASK, _id),
    "tasks.resume": Row(TASK, _id, made="suspended"),
    "tasks.cancel": Row(TASK, _id),
    "tasks.run_now": Row(TASK, _id, made="idle"),
    "tasks.m_reset": Row(TASK, _where(), _no_match, made="ended"),
    "tasks.m_restart_from": Row(TASK, _where(stage=0), _no_match, made="ended"),
    "tasks.m_message": Row(TASK, _where(data=1), _no_match, made="hook"),
    "tasks.m_suspend": Row(TASK, _where(), _no_match),
    "tasks.m_resume": Row(TASK, _where(), _no_match, made="suspended"),
    "tasks.m_cancel": Row(TASK, _where(), _no_match),
    "tasks.m_run_now": Row(TASK, _where(), _no_match, made="idle"),
    "bulk.list": Row("- X X - X", _where(), _no_page, made="bulk"),
    "bulk.get": Row("- X X - X", _id, made="bulk"),
    "bulk.stop": Row("- X X - X", _id, made="bulk"),
    "runs.list": Row(READ, _where("task_id"), _no_page, made="ended"),
    "runs.get": Row(READ, _job, made="run"),
    "logs.list": Row(READ, _job, made="run"),
    "streams.list": Row(SERVED, _none, _no_stream),
    "stats.series": Row(SERVED, _last_minutes, _no_count, made="counted"),
    "schedules.upcoming": Row(READ, _where(), lambda result: not result["data"], made="cron"),
    "marks.add": Row(OPERATED, lambda id: {"label": id, "app_name": STREAM}),
    "marks.list": Row(SERVED, _none, _no_stream, made="mark"),
    "notifications.list": Row(READ, _where(), _no_page, made="notification"),
    "notifications.get": Row(READ, _id, made="notification"),
    "notifications.update": Row(
        TASK, lambda id: {"id": id, "data": {"enabled": False}}, made="notification"
    ),
    "notifications.delete": Row(
        TASK, _id, lambda result: result == {"deleted": False}, made="notification"
    ),
    "executors.list": Row(SERVED, _none, _no_stream, made="executor"),
    "executors.get": Row(SERVED, _id, made="executor"),
    "executors.commands": Row(SERVED, _none, _no_stream, made="executor"),
    "executors.suspend": Row(OPERATED, _id, made="executor"),
    "executors.resume": Row(OPERATED, _id, made="executor"),
    "executors.drain": Row(OPERATED, _id, made="executor"),
    "pauses.add": Row(OPERATED, lambda id: {"id": id, "reason": "r", "app_name": STREAM}),
    "pauses.list": Row(SERVED, _none, _no_stream, made="pause"),
    "pauses.remove": Row(OPERATED, _id, made="pause"),
    "manager.connect": Row(
        "- - - S -", lambda id: {**HERE, "app_names": [STREAM], "capacity": 1}, Forbidden
    ),
    "manager.ping": Row("- - - S -", lambda id: HERE),
    "manager.write_stage": Row("- - - S -", _ends, InvalidRequest),
    "manager.write_logs": Row("- - - S -", lambda id: {"logs": []}, InvalidRequest),
    "manager.suspend_executor": Row("- - - S -", lambda id: HERE, Forbidden),
    "manager.declare": Row("- - - S -", lambda id: {"schedules": []}, InvalidRequest),
    "manager.call": Row("- - - S -", _calls, InvalidRequest),
    "manager.list_active_executors": Row(OPERATED, _none, _no_stream, made="executor"),
    "manager.execute_stage": Row("- - - A A", _none),
    "manager.wait_for_timer": Row("- - - A A", _none),
    "manager.wait_for_message": Row("- - - A A", _none),
    "events.subscribe": Row("A A A - A", _none, made="connection"),
    "events.unsubscribe": Row("A A A - A", lambda id: {"subscription": "s"}, made="connection"),
    "system.info": Row(SERVED, _none, lambda result: result["tasks"] == {}),
    "cron.preview": Row("A A A - A", lambda id: {"cron": "@daily"}),
    "audit.list": Row("- O S - S", _where("target"), _no_page, made="ended"),
    "system.whoami": Row(ALL, _none),
    "rpc.discover": Row(ALL, _none),
    "tokens.create": Row(
        "- - - - A",
        lambda id: {"data": {"principal": f"of-{id}", "kind": "viewer", "scope": {"streams": []}}},
    ),
    "tokens.list": Row("- - - - A", _none),
    "tokens.rotate": Row(ALL, _none),
    "tokens.revoke": Row("- - - - S", _id, Forbidden, made="token"),
    "principals.list": Row("- - - - A", _none),
    "principals.update": Row(
        "- - - - S", lambda id: {"id": id, "data": {"disabled": True}}, Forbidden, made="principal"
    ),
}
