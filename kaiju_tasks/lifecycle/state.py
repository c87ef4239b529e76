"""What `advance` works on: the row that changes, and the definition that does not."""

from collections.abc import Mapping
from functools import cached_property

from msgspec import Raw, Struct, field

from kaiju_tasks.cron import CronSchedule, IntervalSchedule, cron_schedule, every_schedule
from kaiju_tasks.lifecycle.compiled import compiled_condition, compiled_params, compiled_tasks
from kaiju_tasks.lifecycle.pauses import NO_PAUSES, Pauses
from kaiju_tasks.templates import ANY_ROOT
from kaiju_tasks.types import (
    HOOKS,
    MESSAGE,
    TASKS,
    Concurrency,
    Limit,
    Misfire,
    RestartPolicy,
    TaskStatus,
    Unique,
    Webhook,
)

Schedule = CronSchedule | IntervalSchedule


NO_CONDITION = Raw(b"null")


class Command(Struct, omit_defaults=True):
    """One stage as it is stored: params and condition stay bytes."""

    method: str
    params: Raw = Raw(b"{}")
    max_timeout: float | None = None
    condition: Raw = NO_CONDITION
    name: str | None = None

    @property
    def conditional(self) -> bool:
        return bytes(self.condition) != b"null"

    @property
    def is_hook(self) -> bool:
        return self.method in HOOKS

    @property
    def refs(self) -> frozenset[str]:
        """Root keys its templates read."""
        compiled = compiled_tasks if self.method == TASKS else compiled_params
        refs = compiled(bytes(self.params)).refs
        if self.conditional:
            refs |= compiled_condition(bytes(self.condition)).refs
        return refs


class Hooks(Struct, frozen=True):
    """The hooks of a definition.

    :param read: stages whose results their templates read
    """

    stages: tuple[int, ...]
    take_messages: bool
    read: frozenset[int]


NO_HOOKS = Hooks((), False, frozenset())


class Definition(Struct, kw_only=True, omit_defaults=True, dict=True):
    """What a client defined. Written at create and update, else never.

    :param slot_key: the filled key of `concurrency`
    :param unique_key: the filled key of `unique`, of its kind and owner
    """

    id: str
    app_name: str
    commands: list[Command]
    created: str
    kws: Raw = Raw(b"{}")
    cron: str | None = None
    timezone: str | None = None
    every: float | None = None
    misfire: Misfire = Misfire.SKIP
    jitter: float = 0.0
    max_exec_timeout: float = float(Limit.DEFAULT_T)
    max_queue_time: float | None = None
    max_retries: int = 0
    restart_policy: RestartPolicy = RestartPolicy.CURRENT
    retry_delay: float = 0.0
    retry_backoff: float = 1.0
    retry_max_delay: float | None = None
    priority: int = 0
    concurrency: Concurrency | None = None
    slot_key: str | None = None
    unique: Unique | None = None
    unique_key: str | None = None
    notify: bool = False
    webhook: Webhook | None = None
    next_task: str | None = None
    system: bool = False
    description: str | None = None
    meta: Raw = Raw(b"{}")
    group: str | None = None
    group_id: str | None = None
    user_id: str | None = None
    parent_id: str | None = None

    @property
    def scheduled(self) -> bool:
        return self.cron is not None or self.every is not None

    def schedule(self, anchor: float) -> Schedule:
        """:param anchor: the first fire of an interval, UNIX seconds"""
        if self.cron is not None:
            return cron_schedule(self.cron, self.timezone or "UTC")
        assert self.every is not None
        return every_schedule(self.every, anchor)

    @property
    def takes_messages(self) -> bool:
        return self.hooks.take_messages

    @property
    def hook_results(self) -> frozenset[int]:
        """Stages whose results the manager needs to fill hooks."""
        return self.hooks.read

    @cached_property
    def stage_of_name(self) -> dict[str, int]:
        return {c.name: i for i, c in enumerate(self.commands) if c.name is not None}

    @property
    def hooks(self) -> "Hooks":
        """What the manager must know of the hooks; by hand, as cached_property takes a lock."""
        known: Hooks | None = self.__dict__.get("_hooks")
        if known is None:
            known = self.__dict__["_hooks"] = self._look_at_hooks()
        return known

    def _look_at_hooks(self) -> "Hooks":
        stages = tuple(i for i, command in enumerate(self.commands) if command.method in HOOKS)
        if not stages:
            return NO_HOOKS
        refs: set[str] = set()
        for stage in stages:
            refs |= self.commands[stage].refs
        take_messages = any(self.commands[stage].method == MESSAGE for stage in stages)
        return Hooks(stages, take_messages, self.stages_read(refs))

    def stages_read(self, refs: set[str] | frozenset[str]) -> frozenset[int]:
        """Stages that template references name, by index or by name."""
        if ANY_ROOT in refs:
            return frozenset(range(len(self.commands)))
        stage_of = {str(stage): stage for stage in range(len(self.commands))} | self.stage_of_name
        return frozenset(stage_of[ref] for ref in refs if ref in stage_of)


class Row(Struct):
    """The narrow part of a task, which changes often. Times are UNIX seconds.

    Every field has a default, so that a store may build a row by position.

    :param reason: why it stands where it stands
    :param ready: 0 held, 1 may be acquired, 2 may be acquired by an executor with nothing to lose
    :param open: a run is open (for a one-off from its creation on)
    :param cycle: rises with each retry from the first stage; results of earlier cycles are history
    :param attempt: ended attempts of the current stage
    :param losses: executors lost in the current stage
    :param epoch: rises with each acquisition
    :param held: the status under an operator's hold
    :param hold_next: an operator's hold begins when the running stage ends
    :param start_next: another task's `next_task` wants one run after this one
    :param due_at: the next moment the manager must look at the task
    :param fire_at: nominal moment of a schedule's coming fire
    :param explicit: `fire_at` was asked for: no jitter, and it cannot be missed
    :param anchor: first fire of an interval schedule
    :param queue_left: what is left of max_queue_time during a hold
    :param exec_used: seconds of execution this attempt of the run has used up
    :param stage_started_at: when the running stage began, on the manager's clock
    :param rev: identifies the definition this row belongs to
    :param version: rises with each write
    :param gate: what holds it in its stream: `slot_gate` or `pause_gate`
    :param awaited: another task may wait for the end of this one's run
    """

    id: str = ""
    app_name: str = ""
    priority: int = 0
    status: TaskStatus = TaskStatus.IDLE
    reason: str | None = None
    enabled: bool = True
    ready: int = 0
    open: bool = False
    stage: int = 0
    stages: int = 1
    job_id: str | None = None
    cycle: int = 0
    attempt: int = 0
    retries: int = 0
    losses: int = 0
    epoch: int = 0
    nonce: str | None = None
    executor_id: str | None = None
    held: str | None = None
    hold_next: bool = False
    start_next: bool = False
    due_at: float | None = None
    next_run: float | None = None
    fire_at: float | None = None
    explicit: bool = False
    anchor: float = 0.0
    scheduled_at: float | None = None
    queued_at: float | None = None
    queue_deadline: float | None = None
    queue_left: float | None = None
    exec_deadline: float | None = None
    exec_used: float = 0.0
    stage_started_at: float | None = None
    wait_deadline: float | None = None
    run_queued_at: float | None = None
    run_started_at: float | None = None
    status_change: float = 0.0
    result_bytes: int = 0
    exit_code: int | None = None
    error: str | None = None
    rev: int = 0
    version: int = 0
    gate: str | None = None
    awaited: bool = False

    @property
    def begun(self) -> bool:
        """The open run has been queued at least once."""
        return self.open and self.run_queued_at is not None


def slot_gate(key: str) -> str:
    """The gate of tasks that wait for a slot of a key."""
    return f"c:{key}"


def pause_gate(pause_id: str) -> str:
    """The gate of tasks that a pause holds."""
    return f"p:{pause_id}"


def gate_pause(gate: str) -> str | None:
    """The pause behind a gate, if it is one."""
    return gate[2:] if gate.startswith("p:") else None


class InboxMessage(Struct):
    """A message of the open or the coming run, in order of arrival."""

    message_id: str
    name: str | None
    data: Raw
    consumed: bool = False


class TaskState(Struct):
    """A task as `advance` takes it.

    :param results: results of `definition.hook_results`, by stage; more do no harm
    :param inbox: needed when `definition.takes_messages`
    :param pauses: those that there are
    """

    row: Row
    definition: Definition
    results: Mapping[int, Raw] = field(default_factory=dict)
    inbox: tuple[InboxMessage, ...] = ()
    pauses: Pauses = NO_PAUSES
