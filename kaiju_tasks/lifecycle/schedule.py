"""Fires of a task: the next one, and what happens to missed ones (docs/cron.md)."""

from kaiju_tasks.cron import fires_between, jitter_offset
from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.lifecycle.definition import Definition, Schedule
from kaiju_tasks.lifecycle.state import Row
from kaiju_tasks.lifecycle.statuses import IDLE
from kaiju_tasks.lifecycle.step import RunRecord, Step
from kaiju_tasks.times import show_time
from kaiju_tasks.types import Misfire, Outcome

MAX_MAKE_UP_RUNS = 100
MAX_IN_WINDOW = 10_000
MAX_LATE_RUNS = 100
"""Fires that run late, one after another; of more than that, the latest."""
MAX_LISTED = 500
"""Missed fires that are recorded at once; earlier ones are only summarized in a note."""


def next_moment(row: Row, definition: Definition) -> float | None:
    """When the next fire is due, jitter included."""
    if row.fire_at is None or row.explicit:
        return row.fire_at
    return row.fire_at + _offset(row, definition)


def coming_fires(
    row: Row, definition: Definition, start: float, end: float, limit: int
) -> list[float]:
    """When the fires of a task from `start` on and before `end` are due, jitter included. Fires
    before the time at which its open run continues will be missed, and are left out.

    :param start: UNIX seconds
    :param end: UNIX seconds
    :param limit: the most fires
    """
    first = next_moment(row, definition)
    if first is None or row.fire_at is None:
        return []
    if row.open and row.next_run is not None and IDLE in (row.status, row.held):
        start = max(start, row.next_run)
    found = [first] if start <= first < end else []
    if not definition.scheduled:
        return found[:limit]
    try:
        schedule = definition.schedule(row.anchor)
    except InvalidParams:  # its time zone is gone: it fails at its next fire
        return found[:limit]
    offset = _offset(row, definition)
    after, until = max(row.fire_at, start - offset - 1), end - offset + 1
    while len(found) < limit:
        fire = schedule.next_fire(after)
        if fire is None or fire > until:
            break
        moment, after = fire + offset, fire
        if start <= moment < end:  # it is rounded: hence the margin of a second
            found.append(moment)
    return found[:limit]


def plan_next(row: Row, definition: Definition, after: float) -> None:
    """Set the first fire that, jitter included, is due after `after`."""
    pass_fire(row, definition, after - _offset(row, definition))


def let_pass(row: Row, definition: Definition, now: float) -> None:
    """Skip past fires of a disabled task without recording them."""
    # Only forward: a larger jitter would bring back a fire that is already decided.
    moment = next_moment(row, definition)
    row.late_until = None
    if moment is not None and moment <= now and not row.explicit:
        plan_next(row, definition, now)


def pass_fire(row: Row, definition: Definition, fire: float) -> None:
    """Set the fire that follows the nominal time `fire`."""
    row.fire_at = definition.schedule(row.anchor).next_fire(fire) if definition.scheduled else None
    row.explicit = False


def take_fire(
    row: Row, definition: Definition, step: Step, now: float, grace: float, back_since: float
) -> None:
    """Take the fire that is due now, and set the one that follows.

    If later fires have also passed, the task falls behind: they run after it, one after another.
    The task was IDLE at their time, so they came while no manager could run them. The same applies
    to fires that come before it has caught up, and to those that follow a fire of a break: its
    run can last longer, because executors come back later than the manager.

    :param grace: how long it may take to catch up, in seconds; later fires are missed again
    :param back_since: when the latest break ended, UNIX seconds
    """
    taken, moment = row.fire_at, next_moment(row, definition)
    assert taken is not None
    assert moment is not None
    behind = row.late_until is not None and moment <= row.late_until
    pass_fire(row, definition, taken)
    if behind:
        return
    row.late_until = now + grace
    if not is_late(row, definition, now):
        if moment >= back_since:
            row.late_until = None
        return
    assert row.fire_at is not None
    schedule, offset = definition.schedule(row.anchor), _offset(row, definition)
    passed, _ = _missed(schedule, row.fire_at, now - offset)
    if len(passed) >= MAX_LATE_RUNS:
        first = passed[1 - MAX_LATE_RUNS] + offset
        record_missed(row, definition, step, Misfire.SKIP, before=first, now=now)


def is_late(row: Row, definition: Definition, now: float) -> bool:
    """Whether the next fire has passed and is not missed: it runs late, now."""
    moment = next_moment(row, definition)
    return row.late_until is not None and moment is not None and moment <= min(row.late_until, now)


def _offset(row: Row, definition: Definition) -> float:
    return jitter_offset(row.id, definition.jitter) if definition.jitter else 0.0


def record_missed(
    row: Row, definition: Definition, step: Step, misfire: Misfire, *, before: float, now: float
) -> None:
    """Handle fires due before `before` as missed, according to `misfire`, and set the next fire."""
    fire = row.fire_at
    if fire is None or row.explicit:
        return
    bound = before - _offset(row, definition)
    if fire >= bound:
        return
    schedule = definition.schedule(row.anchor)
    missed, listed = _missed(schedule, fire, bound)
    make_up = missed[-_MAKE_UP[misfire] :] if _MAKE_UP[misfire] else []
    note = (
        "missed"
        if listed
        else f"missed; earlier missed fires since {show_time(fire)} are not listed"
    )
    for moment in missed[: len(missed) - len(make_up)]:
        step.runs.append(missed_run(row, definition, moment, now, note))
        note = "missed"
    row.fire_at = make_up[0] if make_up else schedule.next_fire(missed[-1])


def keep_last_passed(row: Row, definition: Definition, now: float) -> bool:
    """Skip all but the last of the fires that have passed, without recording them. An explicit
    first run takes the time of the last one.

    :returns: whether a fire was skipped
    """
    if row.fire_at is None or not definition.scheduled:
        return False
    bound, schedule = now - _offset(row, definition), definition.schedule(row.anchor)
    last, seconds = row.fire_at, 60.0
    if last >= bound:
        return False
    while not (fires := _fires(schedule, max(row.fire_at, bound - seconds), bound, MAX_IN_WINDOW)):
        if bound - seconds <= row.fire_at:
            return False
        seconds *= 8
    row.fire_at = fires[-1]
    return True


def _missed(schedule: Schedule, first: float, bound: float) -> tuple[list[float], bool]:
    """The latest fires from `first` on and before `bound`, and whether these are all of them."""
    fires = [first, *_fires(schedule, first, bound, MAX_LISTED)]
    if len(fires) <= MAX_LISTED:
        return fires, True
    low, high = first, bound
    for _ in range(64):  # bisect for the start of the wanted fires
        middle = (low + high) / 2
        found = _fires(schedule, middle, bound, 2 * MAX_LISTED)
        if len(found) < MAX_LISTED:
            high = middle
        elif len(found) < 2 * MAX_LISTED:
            return found[-MAX_LISTED:], False
        else:
            low = middle
    raise AssertionError("a schedule with more fires than moments")


def _fires(schedule: Schedule, after: float, bound: float, limit: int) -> list[float]:
    return [fire for fire in fires_between(schedule, after, bound, limit) if fire < bound]


_MAKE_UP = {Misfire.SKIP: 0, Misfire.LAST: 1, Misfire.ALL: MAX_MAKE_UP_RUNS}


def missed_run(
    row: Row, definition: Definition, moment: float, now: float, note: str, by: str = ""
) -> RunRecord:
    """The history record of a fire, or of a start by another task, that was not run."""
    return RunRecord(
        f"missed:{row.id}:{moment!r}:{by}" if by else f"missed:{row.id}:{moment!r}",
        row.id,
        None,
        Outcome.MISSED,
        moment,
        None,
        None,
        now,
        None,
        None,
        0,
        0,
        row.stages,
        None,
        note,
        definition.version,
    )
