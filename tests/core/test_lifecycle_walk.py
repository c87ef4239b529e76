"""Random walks over all events with arbitrary definitions. The invariants stand in the kit."""

import contextlib
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec import Raw

from kaiju_tasks.errors import Conflict, InvalidParams
from kaiju_tasks.lifecycle import (
    GRACE_SECONDS,
    Cancel,
    Cause,
    ChildFailure,
    Command,
    Delete,
    Event,
    GateOpened,
    PauseBegan,
    Reset,
    RestartFrom,
    Resume,
    RunNow,
    SlotFull,
    StageExtended,
    StageFailed,
    StageFinished,
    Start,
    Suspend,
    Watched,
    gate_pause,
)
from kaiju_tasks.protocol import Lease
from kaiju_tasks.types import Concurrency, ErrorType, Misfire, Outcome, RestartPolicy, TaskError
from tests.core.lifecycle_kit import (
    ENDED,
    EXECUTED,
    NULL,
    World,
    command,
    message,
    pause,
    tasks,
    timer,
)
from tests.support.examples import examples

NAMES = st.sampled_from(["a", "b"])
MAYBE_NAME = st.none() | NAMES
CONDITIONS = st.sampled_from([None, None, {"kws.go": True}, {"0": {"gt": 1}}])
TIMERS = st.sampled_from(
    [0, 0.5, 30, 700, "[kws.wait]", "[0]", "[0.missing]", "[kws.text]", "[kws.huge]", None, -1]
)
COMMANDS = st.one_of(
    st.builds(command, condition=CONDITIONS),
    st.builds(timer, TIMERS, condition=CONDITIONS, max_timeout=st.sampled_from([None, 20.0])),
    st.builds(message, MAYBE_NAME | st.just("[kws.text]"), st.sampled_from([None, 50.0])),
    st.builds(
        message, MAYBE_NAME, st.just(40.0), default=st.sampled_from([None, 7, "[0]", "[kws.wait]"])
    ),
    st.builds(lambda: command("_TIMER_", params={"$raw": [1]})),
    st.builds(
        tasks,
        st.sampled_from([None, 35.0]),
        create=st.just([{"commands": [{"method": "x"}], "kws": {"x": "[kws.wait]"}}]),
        mode=st.sampled_from(["all", "any"]),
        on_error=st.sampled_from(["fail", "continue"]),
    ),
    st.builds(lambda: tasks(foreach="[kws.text]", task={"commands": []}, default=1)),
)
PAUSES = st.lists(
    st.sampled_from(
        [
            pause("all"),
            pause("methods", method="d*"),
            pause("others", app_name="other"),
            pause("night", cron="0 * * * *", duration=600.0),
            pause("until", until=2000.0),
        ]
    ),
    max_size=2,
    unique_by=lambda one: one.id,
)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "max_retries": st.integers(0, 3),
    "restart_policy": st.sampled_from(RestartPolicy),
    "retry_delay": st.sampled_from([0.0, 0.0, 15.0]),
    "retry_backoff": st.sampled_from([1.0, 3.0]),
    "retry_max_delay": st.sampled_from([None, 20.0]),
    "misfire": st.sampled_from(Misfire),
    "jitter": st.sampled_from([0.0, 45.0]),
    "max_queue_time": st.sampled_from([None, 30.0]),
    "max_exec_timeout": st.sampled_from([10.0, 60.0]),
    "notify": st.booleans(),
    "next_task": st.sampled_from([None, "other"]),
}
SLOTS = st.sampled_from(
    [
        {},
        {"concurrency": Concurrency("k", 1), "slot_key": "k"},
        {"concurrency": Concurrency("k", 1, "drop"), "slot_key": "k"},
    ]
)
SCHEDULES = st.sampled_from(
    [
        {},
        {},
        {"cron": "* * * * *"},
        {"every": 20.0},
        {"cron": "0 * * * *", "timezone": "Asia/Tokyo"},
    ]
)
NO_SCHEDULE = {"cron": None, "every": None, "timezone": None}
KWS = {"wait": 25, "go": True, "text": "a", "huge": 10**400}
STEPS = st.sampled_from([0.0, 0.001, 1.0, 9.0, 11.0, 40.0, 100.0, 4000.0, 90_000.0])


class Walk(RuleBasedStateMachine):
    """Any event at any time."""

    @initialize(
        commands=st.lists(COMMANDS, min_size=1, max_size=5),
        fields=st.fixed_dictionaries(FIELDS),
        schedule=SCHEDULES,
        enabled=st.sampled_from([True, True, True, False]),
        next_run=st.sampled_from([None, None, 0.0, 5000.0]),
        slots=SLOTS,
    )
    def a_task(
        self,
        commands: list[Command],
        fields: dict[str, Any],
        schedule: dict[str, Any],
        enabled: bool,
        next_run: float | None,
        slots: dict[str, Any],
    ) -> None:
        if schedule.get("every") and fields["misfire"] is Misfire.ALL:
            fields["misfire"] = Misfire.LAST
        self.world = World(
            *commands, enabled=enabled, next_run=next_run, kws=KWS, **fields, **schedule, **slots
        )
        self.old_leases: list[Lease] = []
        self.executed = 0.0
        self.granted = 0.0
        self.most = self.world.definition.max_exec_timeout
        self.next_id = 0
        self.accepted: set[str] = set()

    # -- helpers -------------------------------------------------------------------------

    def apply(self, event: Event) -> None:
        """Refusals are part of life; whatever else is raised is not."""
        with contextlib.suppress(Conflict, InvalidParams):
            self.watch(lambda: self.world.apply(event))

    def watch(self, act: Any) -> None:
        world, row = self.world, self.world.row
        lease = world.lease if row.status is EXECUTED else None
        act()
        now = world.row
        if lease is not None and (now.epoch, now.status) != (row.epoch, EXECUTED):
            self.old_leases.append(lease)
            self.executed += world.now - row.status_change
        if not now.open or (now.job_id, now.retries) != (row.job_id, row.retries):
            self.executed = self.granted = 0.0
        if row.begun and (now.job_id != row.job_id or not now.open):
            ended = [run for run in self.world.runs if run.run_id == row.job_id]
            assert len(ended) == 1, "a run that has begun ends once, in the history"
        if row.status in ENDED and now.status not in ENDED:
            assert now.job_id != row.job_id or not now.open

    def new_id(self) -> str:
        self.next_id += 1
        return f"new{self.next_id}"

    def let_time_pass(self, seconds: float) -> None:
        """Time goes to the next due moment at most, for the manager never sleeps over one."""
        world = self.world
        world.now += seconds
        due = world.row.due_at
        if due is not None and due < world.now and world.row.status is EXECUTED:
            world.now = due

    # -- rules ---------------------------------------------------------------------------

    @rule(seconds=STEPS)
    def time_passes(self, seconds: float) -> None:
        self.let_time_pass(seconds)
        self.watch(self.world.due)

    @rule(seconds=STEPS)
    def the_manager_was_down(self, seconds: float) -> None:
        self.let_time_pass(seconds)
        self.watch(lambda: self.world.due(up_since=self.world.now))

    @rule(executor=st.sampled_from(["e", "f"]), seconds=st.sampled_from([0.0, 1.0]))
    def an_executor_acquires(self, executor: str, seconds: float) -> None:
        self.let_time_pass(seconds)
        self.watch(lambda: self.world.acquire(executor))

    @precondition(lambda self: self.world.row.status is EXECUTED)
    @rule(result=st.integers(-2, 5), skipped=st.booleans(), seconds=st.sampled_from([0.0, 3.0]))
    def a_stage_finishes(self, result: int, skipped: bool, seconds: float) -> None:
        self.let_time_pass(seconds)
        self.watch(lambda: self.world.finish(None if skipped else result, skipped=skipped))

    @precondition(lambda self: self.world.row.status is EXECUTED)
    @rule(type=st.sampled_from([*ErrorType, "", "MyError"]), seconds=st.sampled_from([0.0, 3.0]))
    def a_stage_fails(self, type: str, seconds: float) -> None:
        self.let_time_pass(seconds)
        self.watch(lambda: self.world.fail(type))

    @precondition(lambda self: self.world.row.status is EXECUTED)
    @rule(seconds=st.sampled_from([-5.0, 0.0, 20.0, float("inf"), float("nan")]))
    def a_stage_asks_for_time(self, seconds: float) -> None:
        world = self.world
        before = world.row.exec_deadline or 0.0
        self.apply(StageExtended(lease=world.lease, stage=world.row.stage, seconds=seconds))
        self.granted += (world.row.exec_deadline or 0.0) - before

    @rule(
        counted=st.booleans(),
        epoch=st.sampled_from([None, 0, -1]),
        outcome=st.sampled_from([Outcome.LOST, Outcome.RELEASED]),
    )
    def an_executor_is_lost(self, counted: bool, epoch: int | None, outcome: Outcome) -> None:
        given = None if epoch is None else self.world.row.epoch + epoch
        self.watch(lambda: self.world.lose(counted=counted, epoch=given, outcome=outcome))

    @rule(
        message_id=st.sampled_from(["1", "2", "3", "4", "5", "6"]),
        name=MAYBE_NAME,
        job_id=st.sampled_from([None, None, "job1", "current"]),
    )
    def a_message_comes(self, message_id: str, name: str | None, job_id: str | None) -> None:
        world = self.world
        job = world.row.job_id if job_id == "current" else job_id
        states: list[str] = []
        self.watch(lambda: states.append(world.send(message_id, name, job_id=job)))
        assert (states == ["duplicate"]) == (message_id in self.accepted)
        if states != ["rejected"]:
            self.accepted.add(message_id)

    @rule(
        make=st.sampled_from(
            [
                lambda new: Suspend(),
                lambda new: Suspend(wait_stage=True),
                lambda new: Resume(),
                lambda new: Resume(),
                lambda new: Cancel(),
                lambda new: Reset(job_id=new),
                lambda new: RunNow(job_id=new),
                lambda new: RestartFrom(job_id=new, stage=0),
                lambda new: RestartFrom(job_id=new, stage=1),
                lambda new: RestartFrom(job_id=new, stage=-1),
                lambda new: Start(job_id=new, cause=Cause(by=new, root=new, depth=0)),
            ]
        )
    )
    def somebody_acts(self, make: Any) -> None:
        self.apply(make(self.new_id()))

    @rule(pauses=PAUSES, recall=st.booleans())
    def pauses_change(self, pauses: list[Any], recall: bool) -> None:
        world = self.world
        world.pause(*pauses)
        self.apply(PauseBegan(recall=recall))
        gate = world.row.gate or ""
        if (held_by := gate_pause(gate)) is not None and not world.pauses.active(
            held_by, world.now
        ):
            self.apply(GateOpened(gate=gate))
            assert world.row.gate != gate

    @rule()
    def the_slot_is_full(self) -> None:
        self.apply(SlotFull())

    @rule(right=st.booleans())
    def a_gate_opens(self, right: bool) -> None:
        self.apply(GateOpened(gate=(self.world.row.gate or "") if right else "c:other"))

    @rule()
    def somebody_waits_for_it(self) -> None:
        self.apply(Watched())

    @rule(left=st.booleans(), finished=st.booleans(), failed=st.booleans(), result=st.booleans())
    def children_are_looked_at(
        self, left: bool, finished: bool, failed: bool, result: bool
    ) -> None:
        failure = ChildFailure("c", 1, Raw(b'{"type":"x","message":"no"}')) if failed else None
        size = Raw(b"[1]") if result else Raw(b'"%b"' % (b"x" * 99))
        with contextlib.suppress(Conflict):
            self.watch(
                lambda: self.world.look(
                    left=left, finished=finished, failure=failure, result=size, max_run_bytes=50
                )
            )

    @rule(
        enabled=st.sampled_from([True, True, False]),
        next_run=st.sampled_from([None, None, 0.0, 30.0]),
        fields=st.fixed_dictionaries({}, optional=FIELDS),
        schedule=st.none() | SCHEDULES,
        commands=st.none() | st.none() | st.lists(COMMANDS, min_size=1, max_size=3),
    )
    def a_client_edits(
        self,
        enabled: bool,
        next_run: float | None,
        fields: dict[str, Any],
        schedule: dict[str, Any] | None,
        commands: list[Command] | None,
    ) -> None:
        world = self.world
        wanted = {**fields, **({} if schedule is None else {**NO_SCHEDULE, **schedule})}
        if commands is not None:
            wanted["commands"] = commands
        wanted = {k: v for k, v in wanted.items() if getattr(world.definition, k) != v}
        moment = None if next_run is None else world.now + next_run
        with contextlib.suppress(Conflict, InvalidParams):
            self.watch(lambda: world.update(enabled=enabled, next_run=moment, **wanted))
        self.most = max(self.most, world.definition.max_exec_timeout)

    @precondition(lambda self: self.old_leases)
    @rule(data=st.data(), failed=st.booleans(), stage=st.integers(0, 3))
    def a_zombie_reports(self, data: st.DataObject, failed: bool, stage: int) -> None:
        lease = data.draw(st.sampled_from(self.old_leases))
        event: Event = StageFinished(lease=lease, stage=stage, result=NULL)
        if failed:
            event = StageFailed(lease=lease, stage=stage, error=TaskError("x", "y"))
        step = self.world.apply(event)
        assert step.stale
        assert not step.changed

    @precondition(lambda self: self.world.row.status is EXECUTED and self.world.row.stage)
    @rule()
    def a_report_comes_twice(self) -> None:
        world = self.world
        step = world.apply(StageFinished(lease=world.lease, stage=world.row.stage - 1, result=NULL))
        assert not step.changed
        assert not step.stale

    @rule()
    def somebody_deletes(self) -> None:
        before = self.world.row
        step = self.world.apply(Delete())
        assert step.deleted
        assert (step.revoke is not None) == (before.status is EXECUTED)
        self.world.row = before

    @invariant()
    def execution_is_bounded(self) -> None:
        """What a run executes between two retries never exceeds its time and the backstop."""
        if hasattr(self, "world"):
            assert self.executed <= self.most + self.granted + GRACE_SECONDS + 1e-6


TestWalk = Walk.TestCase
TestWalk.settings = settings(
    max_examples=examples(150),
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
