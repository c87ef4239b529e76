"""What one principal uses of its quotas, as a manager knows it. Pure: times are arguments."""

from kaiju_tasks.errors import QuotaExceeded
from kaiju_tasks.lifecycle import Row
from kaiju_tasks.rights import Quotas
from kaiju_tasks.types import ENDED, TaskStatus

__all__ = ["OPEN_TASKS", "RATE", "Account", "is_open"]

OPEN_TASKS, RATE = "open_tasks", "creates_per_second"
BURST_SECONDS = 10.0
"""For how many seconds a principal saves up tasks that it has not created."""
NEAR = 0.8
"""The share of its open tasks from which on a principal is counted every few seconds."""
PARTS = 8
"""A principal is counted again when it has created this part of its quota."""


def is_open(row: Row) -> bool:
    """Whether a task counts: it has not ended, and if it is idle, it has a next run."""
    return row.status not in ENDED and (
        row.status is not TaskStatus.IDLE or row.next_run is not None
    )


class Account:
    """The use of one principal.

    :param owner: its name
    :param quotas: of which none is None
    :param now: seconds of the event loop
    :ivar open: the open tasks of all managers at the last count, and what this one has changed
        since
    :ivar reserved: the tasks that transactions under way create
    :ivar created: the tasks that this manager has created since the last count
    :ivar in_doubt: whether `open` may be wrong: it was not counted yet, or a commit was in doubt
    """

    __slots__ = (
        "_less",
        "_level",
        "_level_at",
        "_more",
        "created",
        "in_doubt",
        "open",
        "owner",
        "quotas",
        "reserved",
    )

    def __init__(self, owner: str, quotas: Quotas, now: float) -> None:
        self.owner = owner
        self.quotas = quotas
        self.open = self.reserved = self.created = self._more = self._less = 0
        self.in_doubt = True
        self._level, self._level_at = self._burst, now

    @property
    def _rate(self) -> float:
        return self.quotas.creates_per_second or 0.0

    @property
    def _burst(self) -> float:
        return max(1.0, self._rate * BURST_SECONDS)

    def _saved(self, now: float) -> float:
        """The tasks that it may create at once; below 0 after a large call."""
        filled = self._level + (now - self._level_at) * self._rate
        return min(self._burst, filled)

    def set_quotas(self, quotas: Quotas, now: float) -> None:
        """Other quotas hold from now on."""
        if quotas == self.quotas:
            return
        saved = self._saved(now)
        is_full = not self._rate or saved >= self._burst
        self.quotas = quotas
        self._level = self._burst if is_full else min(saved, self._burst)
        self._level_at = now

    def check_open(self, tasks: int, count_in: float) -> None:
        """Check whether it may have more open tasks.

        :param count_in: seconds until its open tasks can be counted again
        :raises QuotaExceeded: it may not
        """
        limit = self.quotas.open_tasks or 0
        if limit and self.open + self.reserved + tasks > limit:
            raise self._too_many_open(tasks, limit, count_in)

    def check_rate(self, tasks: int, now: float) -> None:
        """Check whether it may create tasks now.

        :param now: seconds of the event loop
        :raises QuotaExceeded: it may not
        """
        if not self._rate:
            return
        left = self._saved(now) - self.reserved
        missing = min(tasks, self._burst) - left
        if missing > 1e-9:
            raise QuotaExceeded(
                f"the principal {self.owner!r:.100} creates tasks too fast: it may create "
                f"{self._rate:g} in a second, averaged over {BURST_SECONDS:g} seconds",
                quota=RATE,
                limit=self._rate,
                used=round((self._burst - left) / BURST_SECONDS, 3),
                retry_after=max(0.001, round(missing / self._rate, 3)),
            )

    def _too_many_open(self, tasks: int, limit: int, count_in: float) -> QuotaExceeded:
        used = self.open + self.reserved
        more = f", and {tasks} more were asked for" if tasks > 1 else ""
        return QuotaExceeded(
            f"the principal {self.owner!r:.100} may have {limit} open tasks and has {used}{more}: "
            "wait until some have ended, or cancel or delete some",
            quota=OPEN_TASKS,
            limit=limit,
            used=used,
            retry_after=round(max(1.0, count_in), 3),
        )

    def used_rate(self, now: float) -> float:
        """The tasks created in a second, averaged over the last seconds; 0 without a quota."""
        saved = self._saved(now) - self.reserved
        return round((self._burst - saved) / BURST_SECONDS, 3) if self._rate else 0.0

    def committed(self, before: Row | None, after: Row | None, now: float) -> None:
        """A task has changed.

        :param before: None for a new task
        :param after: None for a deleted task
        """
        was = before is not None and is_open(before)
        change = (after is not None and is_open(after)) - was
        self.open += change
        if change > 0:
            self._more += 1
        elif change:
            self._less += 1
        if before is None:
            self.created += 1
            if self._rate:
                self._level, self._level_at = self._saved(now) - 1, now

    @property
    def due(self) -> bool:
        """Whether its tasks are to be counted soon: other managers may have created some, too."""
        limit = self.quotas.open_tasks or 0
        return bool(limit) and (self.in_doubt or self.near or self.created * PARTS >= limit)

    @property
    def near(self) -> bool:
        """Whether it has nearly reached its quota of open tasks."""
        limit = self.quotas.open_tasks or 0
        return bool(limit) and self.open >= NEAR * limit

    def counting(self) -> None:
        """A count begins."""
        self.created = self._more = self._less = 0
        self.in_doubt = False

    def counted(self, tasks: int) -> None:
        """A count has ended. Each change since it has begun may be in it or not: what was known
        stays if it can be true, otherwise it is the least that can be."""
        least = max(0, tasks - self._less - self.reserved)
        if not least <= self.open <= tasks + self._more:
            self.open = least
