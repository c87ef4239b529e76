"""Checks of a task's fields beyond their types. Each check yields problems."""

from collections.abc import Callable, Collection, Iterator

from kaiju_tasks.cron import check_timezone, cron_schedule, parse_time
from kaiju_tasks.define.raised import raised
from kaiju_tasks.define.webhook import webhook_problems
from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.types import NewTask

FieldCheck = Callable[[NewTask, str], Iterator[InvalidParams]]


def field_problems(new: NewTask, prefix: str) -> Iterator[InvalidParams]:
    """Yield the problems of all fields except `commands` and the keys."""
    for name, check in FIELD_CHECKS.items():
        if getattr(new, name) is not None:
            yield from check(new, prefix)


def first_run(new: NewTask, now: float) -> float | None:
    """Return the time of the first run in UNIX seconds, if one is given."""
    if new.delay is not None:
        return now + new.delay
    if new.next_run is None:
        return None
    return parse_time(new.next_run, new.timezone or "UTC", field="next_run")


def own_id_problems(task_id: str, named: Collection[str], field: str) -> Iterator[InvalidParams]:
    """:param named: ids of the tasks that a `_TASKS_` command waits for"""
    if task_id in named:
        yield InvalidParams(
            f"`{field}.params.ids`: a task cannot wait for itself", field=f"{field}.params.ids"
        )


def child_schedule_problems(new: NewTask, prefix: str) -> Iterator[InvalidParams]:
    """Check a task that a stage creates."""
    for name in ("cron", "every"):
        if getattr(new, name) is not None:
            yield InvalidParams(
                f"`{prefix}.{name}`: a task that a stage waits for must not have a schedule: "
                "it would never end",
                field=f"{prefix}.{name}",
            )


def _every(new: NewTask, prefix: str) -> Iterator[InvalidParams]:
    if new.cron is not None:
        yield InvalidParams(
            f"`{prefix}.every`: give either `cron` or `every`, not both", field=f"{prefix}.every"
        )


def _timezone(new: NewTask, prefix: str) -> Iterator[InvalidParams]:
    yield from _named(prefix, raised(check_timezone, new.timezone))


def _cron(new: NewTask, prefix: str) -> Iterator[InvalidParams]:
    yield from _named(prefix, raised(cron_schedule, new.cron, _zone(new)))


def _next_run(new: NewTask, prefix: str) -> Iterator[InvalidParams]:
    yield from raised(parse_time, new.next_run, _zone(new), field=f"{prefix}.next_run")


def _delay(new: NewTask, prefix: str) -> Iterator[InvalidParams]:
    if new.next_run is not None:
        yield InvalidParams(
            f"`{prefix}.delay`: give either `next_run` or `delay`, not both",
            field=f"{prefix}.delay",
        )


def _webhook(new: NewTask, prefix: str) -> Iterator[InvalidParams]:
    return webhook_problems(new.webhook, prefix)


def _zone(new: NewTask) -> str:
    """Return the time zone, or UTC for an invalid zone, which is reported separately."""
    return "UTC" if new.timezone is None or any(_timezone(new, "")) else new.timezone


def _named(prefix: str, found: Iterator[InvalidParams]) -> Iterator[InvalidParams]:
    """Name the field by its path in the client's data, in the message too."""
    for problem in found:
        field = f"{prefix}.{problem.field}"
        message = str(problem).replace(f"`{problem.field}`", f"`{field}`")
        yield InvalidParams(message, field=field)


# What is checked of a field that has a value.
FIELD_CHECKS: dict[str, FieldCheck] = {
    "webhook": _webhook,
    "every": _every,
    "timezone": _timezone,
    "cron": _cron,
    "next_run": _next_run,
    "delay": _delay,
}
