"""`pauses.*`"""

from kaiju_tasks.api.caller import Caller
from kaiju_tasks.api.params import OperateParams, PauseParams, PauseView, Removed
from kaiju_tasks.api.permission import check_target, seen_by
from kaiju_tasks.cron import check_timezone, cron_schedule, parse_time
from kaiju_tasks.errors import Forbidden, InvalidParams
from kaiju_tasks.lifecycle import OWNER, BrokenPause, Pauses, is_over
from kaiju_tasks.manager import Manager
from kaiju_tasks.rights import Target, access, may_call
from kaiju_tasks.templates import compile_condition
from kaiju_tasks.times import iso_moment
from kaiju_tasks.types import AuditRecord, Pause, as_text

MAX_ID_BYTES = 500
"""The id is in an index with the stream and the id of the held task, see `define/keys.py`."""
TARGETS = ("app_name", "group", "group_id", "method")


class PausesApi:
    """The methods on pauses."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._store = manager.store

    async def add(self, caller: Caller, params: PauseParams) -> PauseView:
        """Hold tasks in their streams. Running stages continue, unless `stop_running` is true.

        Held tasks keep their place in the stream, and continue when the pause ends.
        """
        now = await self._store.now()
        pause = _checked(params, now)
        pause.id = params.id or self._manager.dice.new_id()
        by_stage = None if caller.cause is None else caller.remote
        pause.author = caller.user_id or params.author or by_stage
        check_target(caller.principal, access.OPERATE_STREAMS, _target(pause), "pause")
        targets = {name: value for name in TARGETS if (value := getattr(pause, name)) is not None}
        await self._manager.pauses.add(
            pause,
            self._audit(caller, "add", pause.id, reason=pause.reason, **targets),
            caller.user_id,
        )
        return _view(pause, now)

    async def list(self, caller: Caller) -> "list_[PauseView]":
        """List the pauses that hold tasks now or will later, by id."""
        now = await self._store.now()
        pauses = await self._store.pauses()
        sight = seen_by(caller, access.READ_STREAMS)
        return [
            _view(pause, now)
            for pause in pauses
            if not is_over(pause, now)
            and (pause.app_name is None or sight.sees_stream(pause.app_name))
            and (_is_public(pause) or may_call(caller.principal, access.READ_OPERATIONS))
        ]

    async def remove(self, caller: Caller, params: OperateParams) -> Removed:
        """End a pause. The tasks that it holds continue."""
        if params.id.startswith(OWNER):
            raise Forbidden("this pause ends when its principal is enabled again", id=params.id)
        if not caller.principal.unlimited:
            for pause in await self._store.pauses():
                if pause.id == params.id:
                    needs = access.OPERATE_STREAMS
                    check_target(caller.principal, needs, _target(pause), "pause")
        audit = self._audit(caller, "remove", params.id, reason=params.reason)
        await self._manager.pauses.remove(params.id, audit)
        return Removed(True)

    def _audit(self, caller: Caller, verb: str, pause_id: str, **data: str | None) -> AuditRecord:
        record_id = self._manager.dice.new_id()
        return caller.audit(record_id, f"pauses.{verb}", pause_id, **data)


list_ = list


def _is_public(pause: Pause) -> bool:
    """Whether all who see its stream see a pause. What it held is unknown if it cannot be read."""
    return pause.owner is None and not isinstance(pause, BrokenPause)


def _target(pause: Pause) -> Target:
    """A pause without a stream holds tasks of all streams."""
    return Target(id=pause.id, streams=None if pause.app_name is None else (pause.app_name,))


def _view(pause: Pause, now: float) -> PauseView:
    alone = Pauses([pause])
    fields = {name: getattr(pause, name) for name in Pause.__struct_fields__}
    return PauseView(
        **fields,
        active=alone.active(pause.id, now),
        next_change=alone.next_change(now),
        problem=alone.problems().get(pause.id),
    )


def _checked(params: PauseParams, now: float) -> Pause:
    """:raises InvalidParams: names the wrong field"""
    if all(getattr(params, name) is None for name in TARGETS):
        raise InvalidParams(
            "at least one of `app_name`, `group`, `group_id` and `method` is required; "
            '`method` "*" holds everything',
            field="method",
        )
    if params.id is not None and params.id.startswith(OWNER):
        raise InvalidParams(f"`id` must not begin with {OWNER!r}", field="id")
    if params.id is not None and len(params.id.encode()) > MAX_ID_BYTES:
        raise InvalidParams(f"`id` must be at most {MAX_ID_BYTES} bytes of UTF-8", field="id")
    if (params.cron is None) != (params.duration is None):
        missing = "cron" if params.cron is None else "duration"
        raise InvalidParams(
            f"`{missing}` is required: a recurring window needs both `cron` and `duration`",
            field=missing,
        )
    if params.timezone is not None:
        check_timezone(params.timezone)
    if params.cron is not None:
        cron_schedule(params.cron, params.timezone or "UTC")
    if params.condition is not None:
        _check_refs(compile_condition(params.condition, field="condition").refs)
    until = None
    if params.until is not None:
        until = parse_time(params.until, params.timezone or "UTC", field="until")
        if until <= now:
            raise InvalidParams("`until` must be in the future", field="until")
    values = {name: getattr(params, name) for name in params.__struct_fields__}
    created = iso_moment(now)
    groups = {name: as_text(values[name]) for name in ("group", "group_id")}
    return Pause(**{**values, **groups, "until": until, "created": created, "id": ""})


def _check_refs(refs: frozenset[str]) -> None:
    """Refuse conditions on data that never exists: they would hold nothing without an error."""
    others = sorted(refs - {"kws", "params", "*"})
    if others:
        raise InvalidParams(
            f"`condition` must test `kws.…` or `params.…`, not `{others[0]:.300}`",
            field="condition",
        )
