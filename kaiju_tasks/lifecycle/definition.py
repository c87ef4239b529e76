"""The definition of a task: the part that does not change while the task runs."""

from msgspec import Raw, Struct

from kaiju_tasks.cron import CronSchedule, IntervalSchedule, cron_schedule, every_schedule
from kaiju_tasks.lifecycle.children import compiled_tasks
from kaiju_tasks.lifecycle.once import once
from kaiju_tasks.templates import ANY_ROOT, compiled_condition, compiled_template
from kaiju_tasks.types import (
    HOOKS,
    MESSAGE,
    TASKS,
    Concurrency,
    Limit,
    Misfire,
    RestartPolicy,
    Unique,
    Webhook,
)

Schedule = CronSchedule | IntervalSchedule


NO_CONDITION = Raw(b"null")


class Command(Struct, omit_defaults=True):
    """One stage as it is stored; params and condition remain encoded."""

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
        """Root keys that its templates read."""
        compiled = compiled_tasks if self.method == TASKS else compiled_template
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


class Edit(Struct, frozen=True, omit_defaults=True):
    """How a version of a definition was made from the one before it.

    :param at: UNIX seconds
    :param changed: the names of the fields that differ, sorted; also `enabled` and `next_run`
    :param user_id: the principal that made it; None if no tokens were configured
    """

    at: float
    changed: list[str]
    user_id: str | None = None
    reason: str | None = None


class RunEdit(Struct, frozen=True):
    """A change of what an open run does.

    :param version: the version that it made
    :param stage: the first stage that it can have changed
    :param changed: `commands`, `kws`, or both
    """

    job_id: str
    version: int
    stage: int
    changed: list[str]


class Definition(Struct, kw_only=True, omit_defaults=True, dict=True):
    """What the client defined; written only at create and update.

    :param created: ISO-8601 in UTC; set by `create`
    :param delayed: the first run was given as a delay, and not as a date
    :param slot_key: the filled key of `concurrency`
    :param unique_key: the filled key of `unique`, with its kind and the owner
    :param user_id: the principal that owns the task
    :param token_id: the token that created it: its runs have no more rights than that
    :param root_id: job_id of the run that began the family of a task that another task created
    :param depth: the number of creations between that run and this task
    :param version: increases with each change; `Task.rev`
    :param edit: the change that made this version; None for the first
    :param declared: the version of the executor that declared the schedule, perhaps ""; None for a
        task that no executor declared
    :param run_edits: changes of the last run that was changed while it was open
    """

    id: str
    app_name: str
    commands: list[Command]
    created: str = ""
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
    delayed: bool = False
    notify: bool = False
    webhook: Webhook | None = None
    next_task: str | None = None
    system: bool = False
    description: str | None = None
    meta: Raw = Raw(b"{}")
    group: str | None = None
    group_id: str | None = None
    labels: dict[str, str] = {}
    user_id: str | None = None
    token_id: str | None = None
    parent_id: str | None = None
    root_id: str | None = None
    depth: int = 0
    version: int = 1
    edit: Edit | None = None
    declared: str | None = None
    run_edits: list[RunEdit] = []

    @property
    def scheduled(self) -> bool:
        return self.cron is not None or self.every is not None

    def schedule(self, anchor: float) -> Schedule:
        """:param anchor: the time from which the fires of an interval count, UNIX seconds"""
        if self.cron is not None:
            return cron_schedule(self.cron, self.timezone or "UTC")
        assert self.every is not None
        return every_schedule(self.every, anchor)

    @once
    def takes_messages(self) -> bool:
        return self.hooks.take_messages

    @once
    def hook_results(self) -> frozenset[int]:
        """Stages whose results the manager needs to fill the templates of hooks."""
        return self.hooks.read

    @once
    def stage_of_name(self) -> dict[str, int]:
        return {c.name: i for i, c in enumerate(self.commands) if c.name is not None}

    @once
    def hooks(self) -> "Hooks":
        """The hooks of the commands."""
        stages = tuple(i for i, command in enumerate(self.commands) if command.method in HOOKS)
        if not stages:
            return NO_HOOKS
        refs: set[str] = set()
        for stage in stages:
            refs |= self.commands[stage].refs
        take_messages = any(self.commands[stage].method == MESSAGE for stage in stages)
        return Hooks(stages, take_messages, self.stages_read(refs))

    def stages_read(self, refs: set[str] | frozenset[str]) -> frozenset[int]:
        """Stages that the given root keys refer to, by index or by name."""
        if ANY_ROOT in refs:
            return frozenset(range(len(self.commands)))
        stage_of = {str(stage): stage for stage in range(len(self.commands))} | self.stage_of_name
        return frozenset(stage_of[ref] for ref in refs if ref in stage_of)


class BrokenDefinition(Definition, kw_only=True):
    """What is left of a stored definition that cannot be read. It is never stored.

    :param problem: why it cannot be read
    """

    problem: str


def broken_definition(definition: Definition, problem: str) -> BrokenDefinition:
    """Mark a definition as one with which its task cannot be advanced."""
    fields = {name: getattr(definition, name) for name in Definition.__struct_fields__}
    return BrokenDefinition(**fields, problem=problem)
