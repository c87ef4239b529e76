"""What must come true once nothing fails any more: everything moves, everything ends."""

from collections.abc import Callable, Iterator
from functools import partial

from kaiju_tasks.lifecycle import GRACE_SECONDS, Definition, Row, at_method
from kaiju_tasks.lifecycle.move import SUSPECT_LOSSES
from kaiju_tasks.manager.executors.visits import REST_SECONDS_MAX
from kaiju_tasks.protocol import Lease
from kaiju_tasks.types import Reason, TaskStatus
from tests.simulation.executor import SimExecutor
from tests.simulation.invariants import Invariant
from tests.simulation.oracle import ENDED, Oracle, lease_of
from tests.simulation.ties import Ties
from tests.simulation.trace import EPOCH, Trace

LATE_SECONDS = 3.0
ADRIFT_SECONDS = 8.0
IDLE_HANDS_SECONDS = 4.0 + REST_SECONDS_MAX
"""An executor that came and went rests at first."""
RESERVED_SECONDS = 150.0
TIED_SECONDS = 4.0
STEP_BACK_SECONDS = 1800.0
"""No task is due later than this, unless the clock was set back by more."""

Wrong = tuple[Invariant, tuple[object, ...], float, Callable[[], str]]
"""What is broken, by what, for how many seconds it may be, and what to say of it then."""


class Calm:
    """Looks again and again for what has stood wrong for too long."""

    def __init__(self, oracle: Oracle, ties: Ties, trace: Trace) -> None:
        self._oracle = oracle
        self._ties = ties
        self._trace = trace
        self._since: dict[tuple[object, ...], float] = {}
        self._told: set[tuple[object, ...]] = set()

    def look(self, now: float, executors: list[SimExecutor]) -> None:
        """:param now: virtual seconds"""
        seen: set[tuple[object, ...]] = set()
        for invariant, key, bound, text in self._wrong(now, executors):
            seen.add(key)
            since = self._since.setdefault(key, now)
            if now - since > bound and key not in self._told:
                self._told.add(key)
                self._trace.violated(invariant, f"for {now - since:.1f} s: {text()}")
        self._since = {key: since for key, since in self._since.items() if key in seen}

    def _wrong(self, now: float, executors: list[SimExecutor]) -> Iterator[Wrong]:
        by_name = {executor.process.name: executor for executor in executors}
        rows = self._oracle.rows.values()
        suspects = {row.app_name for row in rows if row.losses >= SUSPECT_LOSSES}
        for row in rows:
            if row.due_at is not None and row.due_at < self._oracle.epoch + now:
                yield (
                    Invariant.NOTHING_OVERDUE,
                    ("late", row.id, row.version),
                    LATE_SECONDS,
                    partial(_late, row),
                )
            if row.status is TaskStatus.EXECUTED:
                if _is_too_slow(row, self._oracle.definitions[row.id], self._oracle.epoch + now):
                    yield (
                        Invariant.STAGES_END_IN_TIME,
                        ("slow", row.id, row.epoch, row.stage),
                        ADRIFT_SECONDS,
                        partial(_slow, row),
                    )
                if not _is_held(row, by_name):
                    yield (
                        Invariant.EXECUTED_IS_HELD,
                        ("adrift", row.id, row.epoch),
                        ADRIFT_SECONDS,
                        partial(_adrift, row),
                    )
                elif not _is_at_work(row, by_name):
                    yield (
                        Invariant.EXECUTED_IS_AT_WORK,
                        ("mute", row.id, row.epoch, row.stage),
                        ADRIFT_SECONDS,
                        partial(_mute, row),
                    )
            waits = bool(row.ready) or at_method(row)
            if waits and any(self._has_place(executor, row) for executor in executors):
                behind = row.app_name in suspects
                bound = RESERVED_SECONDS if behind else IDLE_HANDS_SECONDS
                yield (
                    Invariant.NO_IDLE_HANDS,
                    ("queued", row.id, row.version, behind),
                    bound,
                    partial(_queued, row),
                )
        for executor in executors:
            yield from self._zombies(executor)
        for invariant, key, text in self._ties.stuck(now):
            yield invariant, key, TIED_SECONDS, partial(str, text)

    def _has_place(self, executor: SimExecutor, row: Row) -> bool:
        commands = self._oracle.definitions[row.id].commands
        return _has_place(executor, row) and not executor.lacks(commands[row.stage].method)

    def _zombies(self, executor: SimExecutor) -> Iterator[Wrong]:
        if executor.runner is None or not executor.process.alive:
            return
        name = executor.process.name
        for lease in executor.runner.holding():
            row = self._oracle.rows.get(lease.id)
            if row is None or lease_of(row) != lease:
                yield (
                    Invariant.NO_ZOMBIES,
                    ("zombie", name, lease),
                    ADRIFT_SECONDS,
                    partial(_zombie, name, lease),
                )

    def unfinished(self, now: float) -> list[Row]:
        """One-offs that have not ended and that something moves."""
        spoilt, clock = self._oracle.spoilt, self._oracle.epoch + now
        return [
            row
            for row in self._oracle.rows.values()
            if row.status not in ENDED and not self._oracle.definitions[row.id].scheduled
            if row.id not in spoilt or _is_moved(row, clock)
        ]


def _is_moved(row: Row, clock: float) -> bool:
    """Whether a task is handled without a call. A call is refused if its definition is unreadable:
    such a task can only be deleted. That its first run was given as a delay cannot be read either:
    when the clock is set back, it stays due when the clock comes there."""
    if row.due_at is not None:
        return row.due_at - clock < STEP_BACK_SECONDS
    if row.executor_id is not None or row.ready or at_method(row):
        return True
    return row.status is TaskStatus.WAITING and row.reason == Reason.TASKS


def _is_held(row: Row, by_name: dict[str, SimExecutor]) -> bool:
    executor = by_name.get(row.executor_id or "")
    if executor is None or executor.runner is None or not executor.process.alive:
        return False
    return lease_of(row) in executor.runner.holding()


def _is_too_slow(row: Row, definition: Definition, now: float) -> bool:
    command = definition.commands[row.stage]
    limit = command.max_timeout
    return limit is not None and now > (row.stage_started_at or now) + limit + GRACE_SECONDS


def _is_at_work(row: Row, by_name: dict[str, SimExecutor]) -> bool:
    runner = by_name[row.executor_id or ""].runner
    segments = runner._by_task if runner is not None else {}
    return row.id in segments and segments[row.id].running


def _has_place(executor: SimExecutor, row: Row) -> bool:
    if not executor.serves or executor.app_name != row.app_name:
        return False
    runner, link = executor.runner, executor.link
    if runner is None or link is None or not link.connected:
        return False
    taken = len(runner.holding())
    return taken == 0 if row.losses >= SUSPECT_LOSSES else runner.capacity > taken


def _late(row: Row) -> str:
    return f"{_show(row)} is overdue"


def _slow(row: Row) -> str:
    return f"{_show(row)}, longer than its max_timeout"


def _adrift(row: Row) -> str:
    return f"{_show(row)}, which does not hold it"


def _mute(row: Row) -> str:
    return f"{_show(row)}, which is done with the stage and does not say so"


def _queued(row: Row) -> str:
    return f"{_show(row)} although a place is free"


def _zombie(name: str, lease: Lease) -> str:
    return f"{name} works under {lease}, which is over"


def _show(row: Row) -> str:
    held = f" by {row.executor_id} epoch {row.epoch}" if row.executor_id else ""
    due = "" if row.due_at is None else f" due {row.due_at - EPOCH:.3f}"
    reason = f" ({row.reason})" if row.reason else ""
    return (
        f"task {row.id} {row.status}{reason} stage {row.stage}/{row.stages}{held}{due} "
        f"v{row.version}"
    )
