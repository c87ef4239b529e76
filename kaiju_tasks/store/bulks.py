"""Bulk calls as they are stored."""

from typing import Literal

from msgspec import Struct, field

from kaiju_tasks.lifecycle import Cause
from kaiju_tasks.store.conditions import Condition
from kaiju_tasks.types import BulkState, Refusal, RefusalCount

__all__ = ["BrokenOrder", "BulkArgs", "BulkOrder", "BulkPage", "BulkProgress", "StoredBulk"]

REFUSALS_SHOWN = 20
SAMPLE_SHOWN = 20
REFUSAL_KINDS_MAX = 100
"""The most different reasons that are counted apart; those beyond are counted together."""


class BulkArgs(Struct, frozen=True, omit_defaults=True):
    """What a method takes beside the tasks.

    :param wait_stage: of `m_suspend`
    :param stage: of `m_restart_from`
    :param data: of `m_message`, as JSON
    :param name: of `m_message`
    :param message_id: of `m_message`; None for the id of the bulk call
    """

    wait_stage: bool | None = None
    stage: int | Literal["failed"] | None = None
    data: str | None = None
    name: str | None = None
    message_id: str | None = None


class BulkOrder(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was asked for. It never changes.

    :param conditions: which tasks, apart from what the caller sees
    :param rate: the most tasks per second; None for no limit
    :param token_id: the token that was used, or that created the task whose stage has called
    :param cause: the run whose stage has called
    :param audit_id: the audit record of the call
    """

    conditions: list[Condition]
    args: BulkArgs = BulkArgs()
    reason: str | None = None
    rate: float | None = None
    token_id: str | None = None
    remote: str | None = None
    cause: Cause | None = None
    audit_id: str


class BrokenOrder(BulkOrder, frozen=True, kw_only=True):
    """Stands for an order that cannot be read. It names no tasks and is never stored: its call
    fails.

    :param problem: why it cannot be read
    """

    problem: str


class BulkProgress(Struct, kw_only=True, omit_defaults=True):
    """What has come of it.

    :param expected: number of tasks that matched at the beginning
    :param done: number of tasks that were handled, whether this changed them or not
    :param changed: number of tasks that were changed
    :param refusals: the refused tasks by reason and status
    :param sample: the ids of the first tasks that were handled
    :param errors: the first refused tasks
    :param failure: why it has failed
    :param stopped_by: who has stopped it; None also if no tokens exist
    """

    expected: int
    done: int = 0
    changed: int = 0
    refusals: list[RefusalCount] = field(default_factory=list)
    sample: list[str] = field(default_factory=list)
    errors: list[Refusal] = field(default_factory=list)
    failure: str | None = None
    stopped_by: str | None = None

    @property
    def refused(self) -> int:
        """The number of refused tasks."""
        return sum(one.count for one in self.refusals)

    def saw(self, task_id: str) -> None:
        """Note a task that was handled."""
        if len(self.sample) < SAMPLE_SHOWN:
            self.sample.append(task_id)

    def refuse(self, refusal: Refusal) -> None:
        """Count a refused task."""
        if len(self.errors) < REFUSALS_SHOWN:
            self.errors.append(refusal)
        reason, status = refusal.reason, refusal.status
        for known in self.refusals:
            if (known.reason, known.status) == (reason, status):
                known.count += 1
                return
        if len(self.refusals) >= REFUSAL_KINDS_MAX:
            self.refusals[-1].count += 1
            return
        self.refusals.append(RefusalCount(reason, status, 1, refusal.message))


class StoredBulk(Struct, kw_only=True):
    """A bulk call. Times are UNIX seconds.

    :param method: its full name
    :param user_id: the principal on whose behalf; None if no tokens existed
    :param manager_id: the manager that goes on with it
    :param epoch: raised when another manager goes on with it
    :param cursor: id of the last task that was handled, in the order of ids
    """

    id: str
    method: str
    user_id: str | None
    state: BulkState
    started: float
    ended: float | None
    manager_id: str
    epoch: int
    cursor: str | None
    order: BulkOrder
    progress: BulkProgress

    @property
    def running(self) -> bool:
        return self.state is BulkState.RUNNING

    def end(self, state: BulkState, now: float, failure: str | None = None) -> None:
        """End it.

        :param now: the store's clock
        :param failure: why it has failed
        """
        self.state, self.ended = state, max(now, self.started)
        self.progress.failure = failure


class BulkPage(Struct):
    """A page of bulk calls.

    :param total: the number that match
    :param cut: whether the page ends early, because it has too many bytes
    """

    bulks: list[StoredBulk]
    total: int
    cut: bool = False
