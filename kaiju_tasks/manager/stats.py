"""Counts what this manager commits by minute and hour, and writes the counts now and then."""

import asyncio
import contextlib
import logging
import math
from collections.abc import Sequence

from kaiju_tasks.lifecycle import RunRecord
from kaiju_tasks.manager.loop import Loop
from kaiju_tasks.manager.store_clock import StoreClock
from kaiju_tasks.manager.writing.changes import Change
from kaiju_tasks.store.base import HOUR, MINUTE, Counted, Store, StoreError
from kaiju_tasks.store.parts import error_part
from kaiju_tasks.types import ErrorType, Outcome, RunOutcome, StatName

log = logging.getLogger(__name__)

WRITE_SECONDS = 10.0
GOODBYE_SECONDS = 3.0
KEPT_MAX = 20_000
"""The most counts between two writes. Only thousands of streams have more."""
LEAST_SECONDS = 0.001
COUNT = -1
"""The bucket of what has no duration."""

STARTED = "task.started"
STAGES = {
    Outcome.FINISHED: StatName.STAGES_FINISHED,
    Outcome.FAILED: StatName.STAGES_FAILED,
    Outcome.LOST: StatName.STAGES_LOST,
}
RUNS: dict[str, StatName] = {
    RunOutcome.FINISHED: StatName.RUNS_FINISHED,
    RunOutcome.FAILED: StatName.RUNS_FAILED,
    RunOutcome.CANCELLED: StatName.RUNS_CANCELLED,
    RunOutcome.MISSED: StatName.FIRES_MISSED,
}

Key = tuple[int, str, str, int]


class Stats:
    """Counts committed changes by minute, stream and name, and durations by bucket too.

    Counting touches nothing but memory. The counts are written every 10 seconds in one statement,
    and when the manager stops. A manager that is killed loses those of its last seconds; a write
    whose outcome is unknown is repeated.
    """

    def __init__(self, store: Store, clock: StoreClock, manager_id: str) -> None:
        self._store = store
        self._clock = clock
        self._manager_id = manager_id
        self._counts: dict[Key, tuple[int, float]] = {}
        self._left_out = 0
        self._loop = Loop(
            "writing statistics", wait=self._wait, work=self.write, retry_seconds=WRITE_SECONDS
        )

    def start(self) -> None:
        self._loop.start()

    async def stop(self) -> None:
        """Write what is counted, if the database can be reached."""
        await self._loop.stop()
        with contextlib.suppress(StoreError, TimeoutError):
            async with asyncio.timeout(GOODBYE_SECONDS):
                await self.write()

    async def _wait(self) -> None:
        await asyncio.sleep(WRITE_SECONDS)

    def count(self, changes: Sequence[Change]) -> None:
        """Count committed changes."""
        minute = int(self._clock.now()) // MINUTE * MINUTE
        for change in changes:
            step = change.step
            row = step.row
            for attempt in step.attempts:
                if (name := STAGES.get(attempt.outcome)) is not None:
                    self._add(minute, row.app_name, name)
                if attempt.outcome == Outcome.FINISHED and attempt.started_at is not None:
                    seconds = attempt.ended_at - attempt.started_at
                    self._measure(minute, row.app_name, StatName.STAGE_SECONDS, seconds)
            if STARTED in step.events:
                self._add(minute, row.app_name, StatName.RUNS_STARTED)
                if row.run_queued_at is not None and row.run_started_at is not None:
                    wait = row.run_started_at - row.run_queued_at
                    self._measure(minute, row.app_name, StatName.QUEUE_SECONDS, wait)
            if step.runs:
                self._count_runs(minute, change)
            before = change.before
            if before is not None and before.job_id == row.job_id and row.retries > before.retries:
                self._add(minute, row.app_name, StatName.RUNS_RETRIED)

    def _count_runs(self, minute: int, change: Change) -> None:
        app_name = change.step.row.app_name
        for run in change.step.runs:
            self._add(minute, app_name, _name_of(run))
            if run.started_at is not None:
                seconds = run.ended_at - run.started_at
                self._measure(minute, app_name, StatName.RUN_SECONDS, seconds)

    def _measure(self, minute: int, app_name: str, name: StatName, seconds: float) -> None:
        seconds = max(0.0, seconds)
        self._add(minute, app_name, name, bucket_of(seconds), seconds)

    def _add(
        self, minute: int, app_name: str, name: StatName, bucket: int = COUNT, total: float = 0.0
    ) -> None:
        key = (minute, app_name, name, bucket)
        known = self._counts.get(key)
        if known is not None:
            self._counts[key] = (known[0] + 1, known[1] + total)
        elif len(self._counts) < KEPT_MAX:
            self._counts[key] = (1, total)
        else:
            self._left_out += 1

    async def write(self) -> None:
        """Write what was counted since the last write. It is kept if that fails.

        :raises StoreError: the database cannot be reached
        """
        counts, self._counts = self._counts, {}
        if not counts:
            return
        try:
            await self._store.add_stats(self._manager_id, _rows(counts))
        except BaseException:
            for key, (count, total) in self._counts.items():
                known = counts.get(key, (0, 0.0))
                counts[key] = (known[0] + count, known[1] + total)
            self._counts = counts
            raise
        if self._left_out:
            log.warning("left %d counts out of the statistics: too many streams", self._left_out)
            self._left_out = 0


def _name_of(run: RunRecord) -> StatName:
    # A run that is cancelled ends as FAILED, with an error of that type.
    if error_part(run.error, "type") == ErrorType.CANCELLED:
        return StatName.RUNS_CANCELLED
    return RUNS[run.status]


def _rows(counts: dict[Key, tuple[int, float]]) -> list[Counted]:
    rows: dict[tuple[int, int, str, str, int], Counted] = {}
    for (minute, app_name, name, bucket), (count, total) in counts.items():
        for step in (MINUTE, HOUR):
            at = minute // step * step
            row = rows.setdefault(
                (step, at, app_name, name, bucket),
                Counted(step, at, app_name, name, bucket, 0, 0.0),
            )
            row.count += count
            row.total += total
    return list(rows.values())


def bucket_of(seconds: float) -> int:
    """The bucket of a duration. Each bucket ends at 1.414 times the end of the one before; the
    first, 0, ends at a millisecond.

    :param seconds: 0 or more
    """
    if seconds <= LEAST_SECONDS:
        return 0
    return math.ceil(2 * math.log2(seconds / LEAST_SECONDS) - 1e-9)


def seconds_of(bucket: float) -> float:
    """The greatest duration of a bucket, or a duration inside it if it is no whole number."""
    return float(LEAST_SECONDS * 2 ** (bucket / 2))
