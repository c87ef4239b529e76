"""On which tasks, executors and streams a caller may act."""

from collections.abc import Iterable
from urllib.parse import urlsplit

from kaiju_tasks.api.caller import Caller
from kaiju_tasks.define import Defined
from kaiju_tasks.errors import Forbidden, NotFound, Unauthorized
from kaiju_tasks.lifecycle import Definition, Suspend, TaskState
from kaiju_tasks.manager.auth import REFUSAL
from kaiju_tasks.manager.writing.entries import Checked, EventSource
from kaiju_tasks.manager.writing.run_rights import check_hold
from kaiju_tasks.rights import (
    NOBODY,
    Access,
    Decision,
    Kind,
    Principal,
    Sight,
    Target,
    access,
    may,
    may_call,
    sight_of,
)
from kaiju_tasks.types import MANAGER_APP

__all__ = [
    "COMMANDS_OF",
    "check_change",
    "check_definition",
    "check_target",
    "check_unscheduled",
    "may_see_data",
    "permitted",
    "seen_by",
]

USER_PRIORITY_MAX = 100
"""Users share streams: only operators can put tasks before or behind all of theirs."""
USER_EVERY_MIN = 1.0
"""Seconds between the fires of a schedule of a user."""
COMMANDS_OF = frozenset(
    {
        "app_name",
        "commands",
        "concurrency",
        "kws",
        "next_on",
        "next_task",
        "on_failure",
        "rate",
        "unique",
        "webhook",
    }
)
"""The fields of a task that decide what it does with the rights of its owner."""


def seen_by(caller: Caller, needs: Access) -> Sight:
    """What a caller sees with a method.

    :param needs: the access of the method
    :raises Unauthorized: the token of the caller has ended during the call
    """
    if caller.principal is NOBODY:
        raise Unauthorized(REFUSAL)
    return sight_of(caller.principal, needs)


def may_see_data(caller: Caller) -> bool:
    """Whether a caller sees `kws`, params and results: of what it changes without the right to
    read, it sees the state alone."""
    principal = caller.principal
    if principal.kind is None:
        return True
    return principal.sees_data and may_call(principal, access.READ_TASKS)


def permitted(caller: Caller, needs: Access, event: EventSource) -> EventSource | Checked:
    """An event that happens only to tasks on which a caller may act. Others are not found, or
    refused if they are seen. Users do not operate what an operator has suspended.

    :param needs: the access of the method
    """
    principal = caller.principal
    if principal.unlimited:
        return event
    lifts = needs is access.OPERATE_TASKS and not isinstance(event, Suspend)

    def check(state: TaskState) -> None:
        row, owner = state.row, state.definition.user_id
        target = Target(id=row.id, owner=owner, streams=(row.app_name,))
        check_target(principal, needs, target, "task")
        if lifts:
            check_hold(principal, state)

    return Checked(event, check, limited=principal.kind is Kind.USER)


def check_target(principal: Principal, needs: Access, target: Target, what: str) -> None:
    """
    :param needs: the access of the method
    :param what: what the target is, for the error
    :raises NotFound: the principal does not see it
    :raises Forbidden: it sees it, but may not act on it
    """
    match may(principal, needs, target):
        case Decision.UNSEEN:
            raise NotFound(f"there is no {what} {target.id!r}", id=target.id)
        case Decision.FORBIDDEN:
            raise Forbidden(f"your token does not allow this on {what} {target.id!r}", id=target.id)


def check_change(principal: Principal, old: Definition, changed: Iterable[str]) -> None:
    """Check a change of a definition. Who changes what a task does must be its owner: it would act
    with the rights of somebody else.

    :param changed: the names of the fields that differ
    :raises Forbidden: the principal may not change them
    """
    if principal.unlimited or principal.kind is Kind.ADMIN or old.user_id == principal.id:
        return
    if kept := sorted(COMMANDS_OF.intersection(changed)):
        raise Forbidden(
            f"only its owner can change `{kept[0]}` of the task {old.id!r}: it runs with the "
            "rights of its owner",
            field=f"data.{kept[0]}",
        )


def check_unscheduled(principal: Principal, state: TaskState, new: Definition) -> None:
    """Check the removal of a schedule. A task between two runs ends with it, and its hold, too.

    :raises Forbidden: an operator has suspended the task, and only operators let it go on
    """
    if state.definition.scheduled and not new.scheduled and not state.row.open:
        check_hold(principal, state)


def check_definition(principal: Principal, defined: Defined, prefix: str = "data") -> None:
    """Check that a principal has the right to what a task and its children are defined to do.

    :raises Forbidden: it has not; `field` is the path
    """
    if principal.kind is None:
        return
    _check_one(principal, defined.definition, prefix)
    for place, child in defined.children:
        _check_one(principal, child, f"{prefix}.{place}")


def _check_one(principal: Principal, definition: Definition, prefix: str) -> None:
    if not principal.has_stream(definition.app_name):
        raise _forbidden(f"tasks on the stream {definition.app_name!r:.100}", f"{prefix}.app_name")
    own = definition.app_name == MANAGER_APP
    allowed = principal.has_stage if own else principal.has_method
    for index, command in enumerate(definition.commands):
        if not command.is_hook and not allowed(command.method):
            field = f"{prefix}.commands.{index}.method"
            raise _forbidden(f"the method {command.method!r:.100}", field)
    if definition.webhook is not None:
        host = urlsplit(definition.webhook.url).hostname or ""
        if not principal.may_call_host(host):
            raise _forbidden(f"webhooks to {host!r:.100}", f"{prefix}.webhook")
    if principal.kind in (Kind.USER, Kind.EXECUTOR):
        if definition.system:
            raise _forbidden("system tasks", f"{prefix}.system")
        if abs(definition.priority) > USER_PRIORITY_MAX:
            most = USER_PRIORITY_MAX
            raise _forbidden(f"priorities beyond -{most} and {most}", f"{prefix}.priority")
        if definition.every is not None and definition.every < USER_EVERY_MIN:
            raise _forbidden("intervals of less than a second", f"{prefix}.every")


def _forbidden(what: str, field: str) -> Forbidden:
    return Forbidden(f"your token does not allow {what}", field=field)
