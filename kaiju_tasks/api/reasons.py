"""Why a task is not running: explanations from the facts about it, without I/O."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct, field

from kaiju_tasks.lifecycle import (
    BrokenDefinition,
    Definition,
    Pauses,
    Row,
    at_method,
    at_slot,
    is_known,
    shown_slot_key,
)
from kaiju_tasks.lifecycle.children import compiled_tasks
from kaiju_tasks.manager.executors.methods import Methods, stored
from kaiju_tasks.store.base import COUNT_LIMIT, Child, ExecutorRow
from kaiju_tasks.store.parts import fields_of
from kaiju_tasks.times import show_time
from kaiju_tasks.types import (
    ENDED,
    MANAGER_APP,
    MESSAGE,
    TIMER,
    ErrorType,
    ExecutorStatus,
    Pause,
    TaskStatus,
    WhyNot,
)

SHOWN_IDS = 20
GONE = (ExecutorStatus.LOST, ExecutorStatus.GONE)


class HeldBy(NamedTuple):
    """Who suspended a task, when (UNIX seconds), and why."""

    user_id: str | None
    at: float
    reason: str | None


class Facts(Struct):
    """The facts about a task at one time.

    :param data: whether the reasons may show what is filled in from the data of the task
    :param executors: executors of its stream
    :param ahead: number of tasks before it in the stream
    :param slot_used: number of executing runs with its concurrency key
    :param children: tasks that its `_TASKS_` stage waits for
    :param unseen: those of them that are not named
    :param held_by: who suspended it; None if it is not known
    """

    row: Row
    definition: Definition
    now: float
    pauses: Pauses
    data: bool = True
    executors: list[ExecutorRow] = field(default_factory=list)
    ahead: int = 0
    slot_used: int = 0
    children: list[Child] = field(default_factory=list)
    unseen: frozenset[str] = frozenset()
    held_by: HeldBy | None = None


def reasons(facts: Facts) -> list[WhyNot]:
    """Return the reasons, most important first; at least one."""
    if (unreadable := _unreadable(facts)) is not None:
        return [unreadable]
    found = list(_OF_STATUS[facts.row.status](facts))
    return found or [
        WhyNot("queued", "nothing holds it any more, and it will continue at once", {})
    ]


def _unreadable(facts: Facts) -> WhyNot | None:
    """What cannot be read of a task that has not ended. It will fail when it is handled."""
    row, definition = facts.row, facts.definition
    if not is_known(row.status):
        text = f"its stored status {str(row.status)!r:.100} is unknown"
    elif isinstance(definition, BrokenDefinition) and row.status not in ENDED:
        text = f"its stored definition cannot be read: {definition.problem}"
    else:
        return None
    return WhyNot("unreadable", f"{text}; it fails when a manager handles it", {})


# -- by status -----------------------------------------------------------------------------


def _of_idle(facts: Facts) -> Iterator[WhyNot]:
    row, now = facts.row, facts.now
    if not row.enabled:
        yield _disabled()
    moment = row.next_run
    if moment is None:
        yield WhyNot("no_moment", "nothing is planned for it", {})
    elif moment <= now:
        late = now - moment
        yield WhyNot("due", f"it has been due for {_span(late)}", {"next_run": moment})
    elif row.open and row.begun and row.fruitless:
        yield WhyNot(
            "given_back",
            f"executors gave it back {row.fruitless} times in a row without progress: it is "
            f"queued again {_when(moment, now)}",
            {"next_run": moment, "times": row.fruitless},
        )
    elif row.open and row.begun and (_error(row) or {}).get("type") == ErrorType.RETRY_AFTER:
        yield WhyNot(
            "retry_after",
            f"its command asked to be run again {_when(moment, now)}",
            {"next_run": moment, "error": _error(row)},
        )
    elif row.open and row.begun:
        yield WhyNot(
            "retry",
            f"retry {row.retries} of {facts.definition.max_retries} begins {_when(moment, now)}",
            {"next_run": moment, "retries": row.retries, "error": _error(row)},
        )
    else:
        what = "its next fire is" if facts.definition.scheduled else "its first run begins"
        yield WhyNot("future", f"{what} {_when(moment, now)}", {"next_run": moment})
    yield from _coming_pause(facts)


def _of_queued(facts: Facts) -> Iterator[WhyNot]:
    row = facts.row
    if not row.enabled:
        yield _disabled()
    pause = facts.pauses.holding(facts.definition, row.stage, facts.now)
    if pause is not None:
        by = "" if pause.author is None else f" of {pause.author}"
        yield _paused(pause, facts, f"a pause{by} holds it")
    concurrency = facts.definition.concurrency
    if concurrency is not None and (at_slot(row) or facts.slot_used >= concurrency.limit):
        yield _no_slot(facts)
    if row.losses >= 2:
        yield WhyNot(
            "suspect",
            f"{_stage(row, row.stage)} has lost {row.losses} executors: it waits for one with "
            "nothing else to lose, and a third loss ends the run",
            {"stage": row.stage, "losses": row.losses},
        )
    yield from _no_taker(facts)
    if (row.ready or at_method(row)) and _free(facts):
        yield WhyNot(
            "queued",
            f"it is about to be taken; {_before(facts.ahead)}",
            {"ahead": facts.ahead, "queued_at": row.queued_at},
        )


def _of_executed(facts: Facts) -> Iterator[WhyNot]:
    row, command = facts.row, facts.definition.commands[facts.row.stage]
    data = {
        "executor_id": row.executor_id,
        "stage": row.stage,
        "method": command.method,
        "stage_started_at": row.stage_started_at,
        "exec_deadline": row.exec_deadline,
    }
    text = f"executor {row.executor_id} runs {_stage(row, row.stage)} ({command.method})"
    yield WhyNot("running", text, data)
    if row.hold_next:
        yield WhyNot("operator", "it will be suspended when this stage ends", {})
    if not row.enabled:
        yield WhyNot("disabled", "it will be held when this stage ends: `enabled` is false", {})
    yield from _coming_pause(facts, row.stage + 1)


def _of_waiting(facts: Facts) -> Iterator[WhyNot]:
    row, command = facts.row, facts.definition.commands[facts.row.stage]
    until = row.wait_deadline
    if command.method == TIMER:
        assert until is not None
        yield WhyNot("timer", f"its timer ends {_when(until, facts.now)}", {"wait_deadline": until})
        return
    end = "" if until is None else f"; it waits no longer than {show_time(until)}"
    if command.method == MESSAGE:
        name = _message_name(facts.definition, row.stage) if facts.data else None
        what = "a message" if name is None else f"a message named {name!r:.300}"
        yield WhyNot("message", f"it waits for {what}{end}", {"name": name, "wait_deadline": until})
        return
    yield _waits_for_tasks(facts, end)


def _of_suspended(facts: Facts) -> Iterator[WhyNot]:
    data: dict[str, Any] = {"held": facts.row.held, "since": facts.row.status_change}
    who, why = "an operator", ""
    if (held_by := facts.held_by) is not None:
        data |= {"user_id": held_by.user_id, "since": held_by.at, "reason": held_by.reason}
        who = who if held_by.user_id is None else held_by.user_id
        why = f" ({held_by.reason})" if held_by.reason else ""
    since = show_time(data["since"])
    yield WhyNot("operator", f"{who} suspended it at {since}{why}; tasks.resume resumes it", data)


def _of_ended(facts: Facts) -> Iterator[WhyNot]:
    row = facts.row
    data: dict[str, Any] = {"exit_code": row.exit_code, "ended_at": row.status_change}
    at = show_time(row.status_change)
    if row.status is TaskStatus.FINISHED:
        yield WhyNot("finished", f"its run finished at {at}", data)
        return
    error = _error(row) or {}
    data["error"] = error
    lost = error.get("type") == ErrorType.EXECUTOR_LOST
    text = f"its run failed at {at}: {error.get('message', '')}"
    yield WhyNot("quarantined" if lost else "failed", text, data)


_OF_STATUS = {
    TaskStatus.IDLE: _of_idle,
    TaskStatus.QUEUED: _of_queued,
    TaskStatus.EXECUTED: _of_executed,
    TaskStatus.WAITING: _of_waiting,
    TaskStatus.SUSPENDED: _of_suspended,
    TaskStatus.FINISHED: _of_ended,
    TaskStatus.FAILED: _of_ended,
}


# -- pieces ----------------------------------------------------------------------------------


def _disabled() -> WhyNot:
    return WhyNot("disabled", "`enabled` is false: nothing new is started", {})


def _coming_pause(facts: Facts, stage: int | None = None) -> Iterator[WhyNot]:
    """Return the reason for a pause that will hold the task when it enters its stream."""
    at = facts.row.stage if stage is None else stage
    if at < facts.row.stages:
        pause = facts.pauses.holding(facts.definition, at, facts.now)
        if pause is not None:
            what = f"a pause would hold it before {_stage(facts.row, at)}"
            yield _paused(pause, facts, what)


def _stage(row: Row, stage: int) -> str:
    """Name a stage in a text for people, counted from 1. The data counts from 0."""
    return f"stage {stage + 1} of {row.stages}"


def _paused(pause: Pause, facts: Facts, what: str) -> WhyNot:
    ends = Pauses([pause]).next_change(facts.now)
    until = "until it is removed" if ends is None else f"until {show_time(ends)}"
    data = {
        "pause_id": pause.id,
        "reason": pause.reason,
        "author": pause.author,
        "until": ends,
        "ahead": facts.ahead,
    }
    return WhyNot("paused", f"{what} ({pause.reason}), {until}", data)


def _no_slot(facts: Facts) -> WhyNot:
    definition = facts.definition
    assert definition.concurrency is not None
    limit = definition.concurrency.limit
    key = shown_slot_key(definition.slot_key or "") if facts.data else None
    shown = "" if key is None else f" {key!r:.300}"
    return WhyNot(
        "concurrency",
        f"{facts.slot_used} of {limit} slots of its concurrency key{shown} are used; "
        f"{_before(facts.ahead)}",
        {
            "key": key,
            "limit": limit,
            "used": facts.slot_used,
            "ahead": facts.ahead,
        },
    )


def _no_taker(facts: Facts) -> Iterator[WhyNot]:
    """Return the reasons of the executors of its stream."""
    app_name = facts.row.app_name
    there = [one for one in facts.executors if one.status not in GONE]
    active = [one for one in there if one.status is ExecutorStatus.ACTIVE]
    data: dict[str, Any] = {"app_name": app_name, "executors": len(there)}
    if not there:
        text = f"no executor serves the stream {app_name!r}"
        if app_name == MANAGER_APP:
            text = "the manager's own executor is being called"
        yield WhyNot("no_executor", text, data)
        return
    if not active:
        statuses = sorted({str(one.status) for one in there})
        text = f"the executors of the stream {app_name!r} take no work: {', '.join(statuses)}"
        yield WhyNot("executors_unavailable", text, {**data, "statuses": statuses})
        return
    takers = _takers(facts)
    if not takers:
        yield _no_method(facts, active, data)
    elif not _free(facts):
        capacity = sum(one.capacity for one in takers)
        full = f"are full, all {capacity} places are taken" if capacity else "offer no place yet"
        before = _before(facts.ahead)
        having = "" if len(takers) == len(active) else f" that have the method {_method(facts)!r}"
        text = f"the executors of the stream {app_name!r}{having} {full}; {before}"
        yield WhyNot("executors_full", text, {**data, "capacity": capacity, "ahead": facts.ahead})


def _no_method(facts: Facts, active: list[ExecutorRow], data: dict[str, Any]) -> WhyNot:
    """Return the reason that no executor of its stream has the method of its stage."""
    app_name, method = facts.row.app_name, _method(facts)
    methods = sorted(frozenset[str]().union(*(_methods(one, app_name) or () for one in active)))
    shown = ", ".join(methods[:3]) + (", …" if len(methods) > 3 else "")
    text = (
        f"no connected executor of the stream {app_name!r} has the method {method!r}, only "
        f"{shown}: it waits for one that has it"
    )
    data = {**data, "method": method, "methods": methods[:SHOWN_IDS]}
    return WhyNot("unknown_method", text, data)


def _free(facts: Facts) -> int:
    return sum(max(0, one.capacity - one.running) for one in _takers(facts))


def _takers(facts: Facts) -> list[ExecutorRow]:
    """The executors of its stream that have the method of its stage."""
    active = [one for one in facts.executors if one.status is ExecutorStatus.ACTIVE]
    having = (_methods(one, facts.row.app_name) for one in active)
    method = _method(facts)
    return [
        one
        for one, methods in zip(active, having, strict=True)
        if methods is None or method in methods
    ]


def _methods(executor: ExecutorRow, app_name: str) -> Methods:
    return stored(executor.commands, (app_name,))[app_name]


def _method(facts: Facts) -> str:
    return facts.definition.commands[facts.row.stage].method


def _waits_for_tasks(facts: Facts, end: str) -> WhyNot:
    children = facts.children
    left = [child.child_id for child in children if child.status is None]
    failed = [child.child_id for child in children if child.status == TaskStatus.FAILED]
    named = [one for one in left if one not in facts.unseen]
    names = f" ({_listed(named)})" if named else ""
    hook = compiled_tasks(bytes(facts.definition.commands[facts.row.stage].params))
    return WhyNot(
        "tasks",
        f"it waits for tasks: {len(left)} of {len(children)} have not ended{names}{end}",
        {
            "mode": hook.mode,
            "on_error": hook.on_error,
            "children": len(children),
            "left": named[:SHOWN_IDS],
            "left_count": len(left),
            "failed": [one for one in failed if one not in facts.unseen][:SHOWN_IDS],
            "wait_deadline": facts.row.wait_deadline,
        },
    )


def _message_name(definition: Definition, stage: int) -> str | None:
    """Return the name from the definition, which can be a template."""
    params = msgspec.json.decode(definition.commands[stage].params)
    name = params.get("name") if isinstance(params, dict) else None
    return name if isinstance(name, str) else None


def _error(row: Row) -> dict[str, Any] | None:
    if row.error is None:
        return None
    error = fields_of(row.error)
    return {name: error.get(name) for name in ("type", "message", "stage")}


def _listed(ids: Iterable[str]) -> str:
    ids = list(ids)
    shown = ", ".join(repr(id) for id in ids[:3])
    return shown if len(ids) <= 3 else f"{shown}, …"


def _before(ahead: int) -> str:
    """Return how many tasks wait before it."""
    if ahead <= 1:
        return f"{'one' if ahead else 'no'} task waits before it"
    count = f"more than {COUNT_LIMIT}" if ahead >= COUNT_LIMIT else str(ahead)
    return f"{count} tasks wait before it"


def _when(moment: float, now: float) -> str:
    return f"in {_span(moment - now)}, at {show_time(moment)}"


def _span(seconds: float) -> str:
    for size, unit in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{max(0.0, seconds):.1f} seconds"
