"""Inserts a delivery task for the webhook of each run that ends.

The task is inserted in the transaction that ends the run, so a call can be late but not lost.
"""

from collections.abc import Iterable
from urllib.parse import urlsplit

import msgspec
from msgspec import Raw, Struct

from kaiju_tasks.define.webhook import DELIVER
from kaiju_tasks.lifecycle import Command, Definition, RunRecord, create, slot_key
from kaiju_tasks.manager.dice import Dice
from kaiju_tasks.manager.writing.changes import Change
from kaiju_tasks.manager.writing.states import States
from kaiju_tasks.store.base import Transaction
from kaiju_tasks.types import MANAGER_APP, Concurrency, Limit, TaskStatus, Webhook

GROUP = "webhooks"
PRIORITY = -100
"""Lower than the priority of other tasks of the manager."""
CALLS_AT_ONCE = 16
"""Maximum concurrent calls to one host, so that a slow host leaves capacity for others."""
RETRY_SECONDS, RETRY_BACKOFF, RETRY_SECONDS_MAX = 5.0, 2.0, 3600.0
EXEC_SECONDS = 600.0
MAX_HOST = 200


class Ended(Struct):
    """The data of an ended run in a delivery task. Results and `meta` are read when it is sent.

    All times are UNIX seconds.

    :param error: a TaskError as JSON, or null
    :param cycle: the cycle of the results
    :param stage: the number of results
    """

    task_id: str
    job_id: str
    app_name: str
    status: str
    exit_code: int | None
    error: Raw
    scheduled_at: float | None
    started_at: float | None
    ended_at: float
    retries: int
    group: str | None
    group_id: str | None
    cycle: int
    stage: int
    labels: dict[str, str] = {}

    @property
    def event(self) -> str:
        return "task.finished" if self.status == TaskStatus.FINISHED else "task.failed"


class Webhooks:
    """Inserts delivery tasks."""

    def __init__(self, states: States, dice: Dice) -> None:
        self._states = states
        self._dice = dice

    async def follow(self, tx: Transaction, changes: Iterable[Change]) -> list[Change]:
        """Insert a delivery task for each ended run with a webhook. A task that already exists
        was inserted by an earlier attempt of this transaction."""
        made = deliveries(changes)
        if not made:
            return []
        steps = [
            create(
                definition,
                tx.now,
                job_id=self._dice.new_id(),
                rev=self._dice.rev(),
                pauses=self._states.pauses,
            )
            for definition in made
        ]
        taken = await tx.insert(steps)
        return [
            Change(step, definition, None)
            for step, definition in zip(steps, made, strict=True)
            if definition.id not in taken
        ]


def deliveries(changes: Iterable[Change]) -> list[Definition]:
    """Build the delivery tasks for the webhooks of the runs that these changes end."""
    return [
        _delivery(change, change.step.call, webhook)
        for change in changes
        if change.step.call is not None
        and (webhook := change.definition.webhook) is not None
        and not is_delivery(change.definition)
    ]


def is_delivery(definition: Definition) -> bool:
    """Whether a task is a delivery task, whose own end calls no webhook."""
    return definition.app_name == MANAGER_APP and definition.commands[0].method == DELIVER


def _delivery(change: Change, run: RunRecord, webhook: Webhook) -> Definition:
    host = _host(webhook.url)
    task_id = run.task_id
    return Definition(
        id=f"webhook:{run.run_id}",
        app_name=MANAGER_APP,
        commands=[Command(DELIVER)],
        kws=Raw(msgspec.json.encode(_ended(change, run))),
        max_exec_timeout=EXEC_SECONDS,
        max_retries=Limit.MAX_RETRIES,
        retry_delay=RETRY_SECONDS,
        retry_backoff=RETRY_BACKOFF,
        retry_max_delay=RETRY_SECONDS_MAX,
        priority=PRIORITY,
        concurrency=Concurrency(f"webhooks to {host}", CALLS_AT_ONCE),
        slot_key=slot_key(None, "webhooks", f"webhooks to {host}"),
        webhook=webhook,
        meta=Raw(msgspec.json.encode({"task_id": task_id, "job_id": run.job_id})),
        group=GROUP,
        group_id=task_id,
    )


def _ended(change: Change, run: RunRecord) -> Ended:
    definition = change.definition
    return Ended(
        task_id=run.task_id,
        job_id=run.run_id,
        app_name=definition.app_name,
        status=run.status,
        exit_code=run.exit_code,
        error=Raw((run.error or "null").encode()),
        scheduled_at=run.scheduled_at,
        started_at=run.started_at,
        ended_at=run.ended_at,
        retries=run.retries,
        group=definition.group,
        group_id=definition.group_id,
        cycle=change.step.row.cycle,
        stage=run.stage,
        labels=definition.labels,
    )


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2].lower()[:MAX_HOST]
