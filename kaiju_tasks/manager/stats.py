"""Counts what this manager commits by minute and hour, and writes the counts now and then."""

import asyncio
import contextlib
import logging
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

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
Tally = list[Any]
"""A number and a total of seconds."""


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
        self._counts: dict[Key, Tally] = {}
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
        """Count committed changes. Every step passes here, so it calls no function of Python for
        those that go well."""
        found: list[tuple[str, StatName, float | None]] = []
        note = found.append
        for change in changes:
            step = change.step
            row = step.row
            app_name = row.app_name
            for attempt in step.attempts:
                if (name := STAGES.get(attempt.outcome)) is not None:
                    note((app_name, name, None))
                if attempt.outcome == Outcome.FINISHED and attempt.started_at is not None:
                    seconds = attempt.ended_at - attempt.started_at
                    note((app_name, StatName.STAGE_SECONDS, seconds))
            if STARTED in step.events:
                note((app_name, StatName.RUNS_STARTED, None))
                if row.run_queued_at is not None and row.run_started_at is not None:
                    wait = row.run_started_at - row.run_queued_at
                    note((app_name, StatName.QUEUE_SECONDS, wait))
            for run in step.runs:
                note((app_name, RUNS[run.status] if run.error is None else _name_of(run), None))
                if run.started_at is not None:
                    note((app_name, StatName.RUN_SECONDS, run.ended_at - run.started_at))
            before = change.before
            if before is not None and before.job_id == row.job_id and row.retries > before.retries:
                note((app_name, StatName.RUNS_RETRIED, None))
        if found:
            self._add(int(self._clock.now()) // MINUTE * MINUTE, found)

    def _add(self, minute: int, found: Sequence[tuple[str, StatName, float | None]]) -> None:
        """:param found: with their durations in seconds; None if they are only counted"""
        counts = self._counts
        for app_name, name, seconds in found:
            if seconds is None:
                bucket, total = COUNT, 0.0
            else:
                total = seconds if seconds > 0.0 else 0.0
                bucket = bisect_left(_ENDS, total)
            key = (minute, app_name, name, bucket)
            known = counts.get(key)
            if known is not None:
                known[0] += 1
                known[1] += total
            elif len(counts) < KEPT_MAX:
                counts[key] = [1, total]
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
                known = counts.setdefault(key, [0, 0.0])
                known[0] += count
                known[1] += total
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


def _rows(counts: Mapping[Key, Tally]) -> list[Counted]:
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
    return bisect_left(_ENDS, seconds)


def bucket_percentile(counts: Sequence[tuple[int, int]], part: float) -> float:
    """The duration that a part of the counted ones do not exceed, estimated from their buckets.

    :param counts: buckets in their order, and the counts of durations in them; at least one
    :param part: more than 0, at most 1
    """
    wanted, passed = sum(count for _, count in counts) * part, 0
    for bucket, count in counts:
        if passed + count >= wanted:
            return seconds_of(bucket - 1 + (wanted - passed) / count)
        passed += count
    return seconds_of(counts[-1][0])


def seconds_of(bucket: float) -> float:
    """The greatest duration of a bucket, or a duration inside it if it is no whole number."""
    return float(LEAST_SECONDS * 2 ** (bucket / 2))


_ENDS = [seconds_of(bucket) for bucket in range(120)]
"""Of all buckets but the last, which begins after millions of years."""
