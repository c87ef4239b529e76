"""Random walks of a scheduled task: each fire is decided once, run or recorded as missed."""

import contextlib
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kaiju_tasks.cron import fires_between, jitter_offset
from kaiju_tasks.errors import Conflict
from kaiju_tasks.lifecycle import Cancel, Reset, Resume, Row, RunNow, Suspend
from kaiju_tasks.types import Misfire
from tests.core.lifecycle_kit import EXECUTED, IDLE, QUEUED, SUSPENDED, World
from tests.support.examples import examples

SCHEDULES: list[dict[str, Any]] = [
    {"cron": "0 * * * *", "every": None},
    {"cron": "*/30 * * * *", "every": None},
    {"cron": "30 2 * * *", "every": None},
    {"cron": None, "every": 2500.0},
    {"cron": None, "every": 700.0},
]
JITTERS = st.sampled_from([0.0, 3000.0, 7000.0])
SECONDS = st.sampled_from([0.0, 1.0, 600.0, 1800.0, 3600.0, 5000.0, 20_000.0])
MISFIRES = st.sampled_from(Misfire)


class ScheduleWalk(RuleBasedStateMachine):
    """Whatever happens, what was decided are all fires from the first planned one to the coming.

    `began` is the first fire since the schedule was last planned: at the creation, when it
    was edited, when the task was enabled, when a first run was asked for.
    """

    @initialize(
        schedule=st.sampled_from(SCHEDULES),
        jitter=JITTERS,
        misfire=MISFIRES,
        retries=st.integers(0, 1),
        next_run=st.sampled_from([None, None, 5000.0]),
    )
    def a_task(self, schedule: dict[str, Any], retries: int, **fields: Any) -> None:
        self.decided: list[float] = []
        self.decided_before = 0
        self.seen = 0
        self.world = World(**schedule, **fields, max_retries=retries, retry_delay=3000.0)
        self.plan()

    # -- what happens ----------------------------------------------------------------------

    def watch(self, act: Any, *, plans_anew: bool = False) -> None:
        world = self.world
        old = world.row
        overdue = self.overdue() if plans_anew else []
        with contextlib.suppress(Conflict):
            act()
            self.take_down(old)
            assert set(overdue) <= set(self.decided), "fires that were due are forgotten"
            if plans_anew:
                self.plan()

    def plan(self) -> None:
        row = self.world.row
        self.began, self.asked_for = row.fire_at, row.explicit
        self.decided_before = len(self.decided)

    def take_down(self, old: Row) -> None:
        world, row = self.world, self.world.row
        missed = [run for run in world.runs[self.seen :] if run.status == "MISSED"]
        assert old.enabled or not missed, "fires of a disabled task are not recorded"
        self.decided += [run.scheduled_at for run in missed if run.scheduled_at is not None]
        self.seen = len(world.runs)
        if row.job_id != old.job_id and row.scheduled_at is not None and not old.explicit:
            self.decided.append(row.scheduled_at)

    def overdue(self) -> list[float]:
        """Fires whose moment has passed, and nobody has looked at them yet."""
        row, definition = self.world.row, self.world.definition
        if row.fire_at is None or row.explicit or not row.enabled:
            return []
        offset = jitter_offset(row.id, definition.jitter)
        return [fire for fire in self.fires(row.fire_at) if fire + offset < self.world.now]

    def fires(self, first: float, until: float | None = None) -> list[float]:
        schedule = self.world.definition.schedule(self.world.row.anchor)
        end = self.world.now if until is None else until
        later = fires_between(schedule, first, end, 9999)
        return [fire for fire in [first, *later] if fire <= end]

    @rule(seconds=SECONDS)
    def time_passes(self, seconds: float) -> None:
        self.world.now += seconds
        self.watch(lambda: self.world.due(grace=3000.0))

    @rule(seconds=SECONDS)
    def nobody_looks(self, seconds: float) -> None:
        self.world.now += seconds

    @rule(seconds=SECONDS)
    def no_manager_is_up(self, seconds: float) -> None:
        self.world.now += seconds
        self.watch(lambda: self.world.due(up_since=self.world.now))

    @precondition(lambda self: self.world.row.status is QUEUED)
    @rule()
    def an_executor_acquires(self) -> None:
        self.watch(self.world.acquire)

    @precondition(lambda self: self.world.row.status is EXECUTED)
    @rule(seconds=st.sampled_from([0.0, 200.0]), well=st.booleans())
    def a_run_goes_on(self, seconds: float, well: bool) -> None:
        self.world.now += seconds
        self.watch(self.world.finish if well else self.world.fail)

    @rule(event=st.sampled_from([Suspend(), Resume(), Cancel()]))
    def an_operator_acts(self, event: Any) -> None:
        self.watch(lambda: self.world.apply(event))

    @rule(kind=st.sampled_from([RunNow, Reset]))
    def an_operator_wants_a_run(self, kind: Any) -> None:
        world = self.world
        coming = (world.row.fire_at, world.row.explicit)
        self.watch(lambda: world.apply(kind(job_id=world.new_id())))
        assert (world.row.fire_at, world.row.explicit) == coming, "the schedule is left alone"

    @rule(misfire=MISFIRES)
    def the_policy_is_edited(self, misfire: Misfire) -> None:
        self.watch(lambda: self.world.update(misfire=misfire))

    @rule(jitter=JITTERS)
    def the_jitter_is_edited(self, jitter: float) -> None:
        if jitter != self.world.definition.jitter:
            self.watch(lambda: self.world.update(jitter=jitter))

    @rule(schedule=st.sampled_from(SCHEDULES), jitter=JITTERS)
    def the_schedule_is_edited(self, schedule: dict[str, Any], jitter: float) -> None:
        definition = self.world.definition
        wanted = {**schedule, "jitter": jitter}
        changes = {k: v for k, v in wanted.items() if getattr(definition, k) != v}
        if changes.keys() & {"cron", "every"}:
            self.watch(lambda: self.world.update(**changes), plans_anew=True)

    @rule(seconds=st.sampled_from([-500.0, 0.0, 1000.0, 10_000.0]))
    def a_first_run_is_asked_for(self, seconds: float) -> None:
        moment = self.world.now + seconds
        self.watch(lambda: self.world.update(next_run=moment), plans_anew=True)

    @precondition(lambda self: self.world.row.enabled)
    @rule()
    def it_is_disabled(self) -> None:
        self.watch(lambda: self.world.update(enabled=False), plans_anew=True)

    @precondition(lambda self: not self.world.row.enabled)
    @rule(seconds=SECONDS, jitter=JITTERS)
    def it_is_enabled(self, seconds: float, jitter: float) -> None:
        world = self.world
        world.now += seconds
        count = len(self.decided)
        changes: dict[str, Any] = {} if jitter == world.definition.jitter else {"jitter": jitter}
        self.watch(lambda: world.update(enabled=True, **changes), plans_anew=True)
        assert len(self.decided) == count, "nothing is replayed"

    @precondition(lambda self: self.world.row.enabled)
    @rule(jitter=JITTERS)
    def it_is_disabled_for_a_moment(self, jitter: float) -> None:
        self.it_is_disabled()
        self.it_is_enabled(0.0, jitter)

    # -- what must hold --------------------------------------------------------------------

    @invariant()
    def no_fire_is_decided_twice(self) -> None:
        row = self.world.row
        coming = [] if row.fire_at is None or row.explicit else [row.fire_at]
        decided = self.decided + coming
        assert len(decided) == len(set(decided)), decided

    @invariant()
    def no_fire_is_forgotten(self) -> None:
        row = self.world.row
        if not row.enabled or self.began is None:
            return
        assert row.fire_at is not None
        assert row.fire_at >= self.began
        passed = [fire for fire in self.fires(self.began, row.fire_at) if fire < row.fire_at]
        assert sorted(self.decided[self.decided_before :]) == passed[self.asked_for :]

    @invariant()
    def somebody_looks_at_the_coming_fire(self) -> None:
        row = self.world.row
        if row.enabled and row.status is IDLE and not row.open:
            assert row.due_at == row.next_run
        assert row.status is not SUSPENDED or row.due_at is None


TestScheduleWalk = ScheduleWalk.TestCase
TestScheduleWalk.settings = settings(
    max_examples=examples(300),
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.filter_too_much],
)
