"""Runs the assignments of a process: starts each lease once, and stops revoked leases."""

import asyncio
from collections.abc import Callable, Iterable

from kaiju_tasks.executor.outbox import Outbox
from kaiju_tasks.executor.recent import Recent
from kaiju_tasks.executor.runtime import Runtime
from kaiju_tasks.executor.segment import Segment, Token, token_of
from kaiju_tasks.protocol import Assignment, Lease

__all__ = ["Runner"]

STEP = 8
"""In a crowded process, the capacity changes by so many tasks: each change is a ping."""


class Runner:
    """Holds the leases of a process.

    :param concurrency: maximum number of tasks held at once, from 1
    :param max_tasks: total number of tasks to accept; None for no limit
    :ivar on_change: called when a lease was accepted or has ended
    """

    def __init__(
        self,
        runtime: Runtime,
        outbox: Outbox,
        *,
        concurrency: int,
        max_tasks: int | None = None,
    ) -> None:
        self.runtime = runtime
        self.outbox = outbox
        self.on_change: Callable[[], None] = lambda: None
        self.taken = 0
        self.draining = False
        self._stopping = False
        self._concurrency = concurrency if max_tasks is None else min(concurrency, max_tasks)
        self._max_tasks = max_tasks
        self._segments: dict[Token, Segment] = {}
        self._by_task: dict[str, Segment] = {}
        self._recent = Recent(runtime.clock)

    @property
    def capacity(self) -> int:
        """The number of tasks that may be held now. A call that does not stop reduces it. If tasks
        have found no place, there are only as many more as have one even if all need one."""
        if self.closed:
            return 0
        most = max(0, self._concurrency - self.runtime.lingering)
        if (ceiling := self.runtime.ceiling) is not None:
            most = min(most, ceiling)
        if self.runtime.crowded:
            light = sum(not segment.needs_place for segment in self._segments.values())
            most = min(most, self.runtime.places.size + light // STEP * STEP)
        return most

    @property
    def closed(self) -> bool:
        """Whether no new tasks are accepted."""
        return self.draining or self._stopping or self.used_up

    @property
    def used_up(self) -> bool:
        """Whether `max_tasks` have been accepted."""
        return self._max_tasks is not None and self.taken >= self._max_tasks

    @property
    def empty(self) -> bool:
        """Whether no lease is held."""
        return not self._segments

    def holding(self) -> list[Lease]:
        """The leases that run or have unacknowledged reports."""
        return [segment.lease() for segment in self._segments.values()]

    def seconds_left(self, task: "asyncio.Task[object]") -> float | None:
        """The seconds that are left to the stage whose command runs in a task of the event loop;
        None if there is none. It may be called from any thread."""
        for segment in self._all():
            if (left := segment.seconds_left(task)) is not None:
                return left
        return None

    def run(self, assignments: Iterable[Assignment]) -> None:
        """Start assignments, except those that are known already or were revoked before."""
        for assignment in assignments:
            token = token_of(assignment)
            if token in self._segments or token in self._recent:
                continue
            if self._supersedes(assignment):
                self._begin(assignment)
            else:
                self._recent.add(token)
        self.on_change()

    def _supersedes(self, assignment: Assignment) -> bool:
        # A task has one lease. Of two, the one with the lower epoch has ended. Equal epochs occur
        # after a database failover; then the later message is valid.
        other = self._by_task.get(assignment.id)
        if other is None:
            return True
        if other.assignment.job_id == assignment.job_id and (
            other.assignment.epoch > assignment.epoch
        ):
            return False
        other.drop()
        return True

    def _begin(self, assignment: Assignment) -> None:
        segment = Segment(assignment, self.runtime, self.outbox, self._gone)
        self._segments[segment.token] = segment
        self._by_task[assignment.id] = segment
        if self.closed or not assignment.commands:
            segment.release()
            return
        self.taken += 1
        segment.start()

    def _gone(self, segment: Segment) -> None:
        del self._segments[segment.token]
        if self._by_task.get(segment.assignment.id) is segment:
            del self._by_task[segment.assignment.id]
        self._recent.add(segment.token)
        self.on_change()

    def revoke(self, leases: Iterable[Lease]) -> None:
        """Stop these leases without further reports, and ignore assignments of them that arrive
        later."""
        for lease in leases:
            token = token_of(lease)
            segment = self._segments.get(token)
            if segment is None:
                self._recent.add(token)
            else:
                segment.drop()

    def stop(self) -> None:
        """Accept no new tasks, and release each task after its current stage."""
        self._stopping = True
        for segment in self._all():
            segment.leave()

    def release_all(self) -> None:
        """Release all tasks now."""
        self._stopping = True
        for segment in self._all():
            segment.release()

    def drop_all(self) -> None:
        """Stop all tasks without further reports: the leases have ended."""
        for segment in self._all():
            segment.drop()

    def release_exclusive(self) -> None:
        """Release the tasks that must not outlive their lease: runs with `concurrency`."""
        for segment in self._all():
            if segment.assignment.exclusive:
                segment.release()

    def _all(self) -> list[Segment]:
        return list(self._segments.values())
