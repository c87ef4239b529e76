"""A world made from one integer: it lives through trouble, then must come to rest."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Any

from msgspec import Struct

from kaiju_tasks.lifecycle import Step
from kaiju_tasks.settings import Settings
from kaiju_tasks.store import ExecutorRow
from kaiju_tasks.store.columns import ROW_COLUMNS, row_of_integers
from tests.simulation.calm import Calm
from tests.simulation.chaos import Chaos
from tests.simulation.database import Database, StoreLine
from tests.simulation.executor import SimExecutor
from tests.simulation.invariants import Invariant
from tests.simulation.loop import Deadlock, Process, SimLoop
from tests.simulation.manager import SimManager
from tests.simulation.network import Network
from tests.simulation.oracle import Oracle
from tests.simulation.ties import Ties
from tests.simulation.trace import Trace, Violation
from tests.simulation.workload import Client, Workload

TROUBLE_SECONDS = 20.0
GRACE_SECONDS = 6.0
SCHEDULES_SECONDS = 9.0
REST_SECONDS = 600.0
LOOK_SECONDS = 0.5
MIXED = 0.4
"""The share of seeds in which the executors of a stream announce different methods."""
METHODS = ["echo", "some", "nap", "flaky", "once", "hang", "give_up", "stretch", "stubborn"]
SPOILT = 0.2
"""The share of seeds in which a row becomes unreadable."""
SPOILT_TEXT = "the stored definition cannot be read"
"""What is logged of it; nothing else is logged as an error."""
NO_FAULTS: Mapping[str, float] = {}
WEATHER = {"cut", "twice", "narrow"}
"""Faults of the network; all others are of the database."""


class Outcome(Struct):
    """What came of one seed.

    :param digest: the same for the same seed and code
    :param seconds: virtual seconds it took
    """

    seed: int
    violations: list[Violation]
    digest: str
    tail: str
    seconds: float
    turns: int
    stats: dict[str, int]

    @property
    def report(self) -> str:
        """For people: what was wrong, what happened before, and how to see it again."""
        return f"{self.tail}\n\n{self.verdict}"

    @property
    def verdict(self) -> str:
        """What was wrong, and how to see it again."""
        return "\n".join([*map(str, self.violations[:10]), "", f"SEED={self.seed} make sim"])


class World:
    """Managers and executors, and their supervisors.

    :param quiet: no faults at all
    :ivar filled: the part of the executors that leave the filling of commands to the manager
    """

    def __init__(self, seed: int, loop: SimLoop, trace: Trace, *, quiet: bool = False) -> None:
        self._loop = loop
        self._trace = trace
        self._quiet = quiet
        random = self._dice = Random(f"world/{seed}")
        self.settings = Settings(
            ping_interval=1.0,
            reconnect_grace=random.choice([0.5, 1.0]),
            orphan_seconds=random.choice([5.0, 20.0]),
            poll_interval=random.choice([0.5, 1.0, 2.0]),
            batch_rows=random.choice([1, 3, 500]),
        )
        self.network = Network(loop, Random(f"network/{seed}"), trace)
        self.database = Database(loop, Random(f"database/{seed}"), trace)
        self.oracle = Oracle(trace, self.settings.lease_seconds)
        self.ties = Ties(self.oracle, self.database.store, trace)
        self.database.committed = self._committed
        self.database.stepped = self._stepped
        self._clock_dice = Random(f"clock/{seed}")
        self.network.asked = self.oracle.asked
        self.network.answered = self.oracle.answered
        self.network.waits = self.oracle.waits
        self.managers: list[SimManager] = []
        self.executors: list[SimExecutor] = []
        self.process = Process("world")
        self.client = Client(self.managers, self.network, Random(f"client/{seed}"), trace)
        app_names = ["app", "other"][: random.choice([1, 1, 2])]
        executor_count = max(len(app_names), random.choice([1, 2, 3, 4]))
        self._app_names = [app_names[i % len(app_names)] for i in range(executor_count)]
        self._urls = [f"m{i}" for i in range(random.choice([1, 2, 2, 3]))]
        self.workload = Workload(
            self.client,
            self.oracle,
            Random(f"workload/{seed}"),
            trace,
            app_names,
            lethal=not quiet and random.random() < 0.5,
        )
        self.chaos = Chaos(self, self.network, self.database, Random(f"chaos/{seed}"), trace)
        self._methods_dice = Random(f"methods/{seed}")
        self._mixed = self._methods_dice.random() < MIXED
        self._calm = False
        self._spoil_dice = Random(f"spoil/{seed}")
        self._silent = Random(f"silent/{seed}").choice([0.0, 0.0, 0.001])
        self.faults: Mapping[str, float] = NO_FAULTS
        self._fill_dice = Random(f"fill/{seed}")
        self.filled = 0.0
        self._lives = 0

    def _committed(self, line: StoreLine, steps: list[Step], executors: list[ExecutorRow]) -> None:
        self.oracle.now = self._loop.now
        self.oracle.committed(line, steps, executors)
        self.ties.committed(steps)

    def _stepped(self, step: float) -> None:
        self._trace("world", f"the clock was set by {step:.3f} s")
        self.oracle.now = self._loop.now
        db = self.database.store._writer._db  # type: ignore[attr-defined]
        found = db.execute(f"SELECT {', '.join(ROW_COLUMNS)} FROM tasks ORDER BY id")
        self.oracle.stepped(step, [row_of_integers(values) for values in found])

    def _lacking(self) -> frozenset[str]:
        """Methods that an executor does not announce. In calm, one that comes has all of them."""
        dice = self._methods_dice
        if not self._mixed or self._calm:
            return frozenset()
        return frozenset(dice.sample(METHODS, dice.choice([0, 2, 5, len(METHODS)])))

    async def _change_methods(self) -> None:
        """Let executors announce other methods while they hold tasks."""
        while True:
            await asyncio.sleep(self._methods_dice.expovariate(1 / 4.0))
            if not self.executors:
                continue
            executor = self._methods_dice.choice(self.executors)
            lacking = self._lacking()
            self._trace(executor.process.name, f"announces all but {sorted(lacking)}")
            executor.announce(lacking)
            for wire in [w for w in self.network.wires if w.executor is executor.process]:
                wire.cut(half_open=False)

    async def _set_clock(self) -> None:
        dice = self._clock_dice
        while True:
            await asyncio.sleep(dice.uniform(1.0, TROUBLE_SECONDS))
            # PostgreSQL moves no time of a row before the transaction that has locked it has ended.
            self.database.faults.late = 0.0
            await self.database.late.all_ended()
            self.database.ahead += dice.choice([1, -1]) * dice.choice([3.0, 40.0, 3600.0])

    async def _spoil_definition(self) -> None:
        """Make the definition of one task unreadable, whatever it does at the moment."""
        await asyncio.sleep(self._spoil_dice.uniform(1.0, TROUBLE_SECONDS))
        if not self.oracle.rows:
            return
        task_id = self._spoil_dice.choice(sorted(self.oracle.rows))
        self._trace("world", f"the definition of {task_id} is spoilt")
        self.oracle.spoilt.add(task_id)
        async with self.database.store.transaction() as tx:
            await tx.lock([])
            db = self.database.store._writer._db  # type: ignore[attr-defined]
            db.execute("UPDATE definitions SET body = '{' WHERE task_id = ?", (task_id,))
        for manager in self.managers:
            if manager.manager is not None:
                manager.manager.committer.states.definitions.forget(task_id)

    async def live(self) -> None:
        """The whole life: trouble, calm, rest."""
        await self.database.store.open()
        for url in self._urls:
            self.process.spawn(self._keep_manager(url))
        for app_name in self._app_names:
            self.process.spawn(self._keep_executor(app_name))
        if not self._quiet:
            self.chaos.start_weather()
            self.database.faults.silent = self._silent
            for name, chance in self.faults.items():
                target = self.network.weather if name in WEATHER else self.database.faults
                setattr(target, name, chance)
        works = [
            self.client.process.spawn(
                self.workload.create_tasks(self._dice.choice([3, 10, 20]), TROUBLE_SECONDS * 0.8)
            ),
            self.client.process.spawn(self.workload.disturb(TROUBLE_SECONDS)),
            self.client.process.spawn(self.workload.disturb_lines()),
        ]
        if self._mixed:
            works.append(self.process.spawn(self._change_methods()))
        if not self._quiet:
            works.append(self.process.spawn(self.chaos.run()))
            if self._spoil_dice.random() < SPOILT:
                works.append(self.process.spawn(self._spoil_definition()))
            if self._clock_dice.random() < 0.4:
                works.append(self.process.spawn(self._set_clock()))
        await asyncio.sleep(TROUBLE_SECONDS)
        for work in works:
            work.cancel()
        await self._come_to_rest()

    async def _come_to_rest(self) -> None:
        self._trace("world", "the trouble ends")
        self.chaos.end()
        self._calm = True
        for app_name in dict.fromkeys(self._app_names) if self._mixed else ():
            self.process.spawn(self._keep_executor(app_name))
        self.client.process.spawn(self.workload.help_along())
        calm = Calm(self.oracle, self.ties, self._trace)
        began = self._loop.now
        self.client.process.call_later(
            SCHEDULES_SECONDS, lambda: self.client.process.spawn(self.workload.end_schedules())
        )
        await asyncio.sleep(GRACE_SECONDS)
        while not self._trace.violations:
            calm.look(self._loop.now, self.executors)
            left = calm.unfinished(self._loop.now)
            waited = self._loop.now - began
            if not left and waited > SCHEDULES_SECONDS + self.settings.lease_seconds:
                break
            if waited > REST_SECONDS:
                for row in left:
                    self._trace.violated(
                        Invariant.EVERYTHING_ENDS, f"task {row.id} does not end: {row}"
                    )
                break
            await asyncio.sleep(LOOK_SECONDS)
        self._trace_sessions()
        self.oracle.compare(self._stored_results())
        self.ties.compare_runs()

    def _trace_sessions(self) -> None:
        for manager in self.managers:
            for session in manager.manager.sessions if manager.manager is not None else ():
                leases = ", ".join(f"{x.id} epoch {x.epoch}" for x in session.leases.values())
                self._trace(
                    manager.process.name,
                    f"has {session.executor_id} {session.status} capacity {session.capacity} "
                    f"reserved {session.reserved_for} alone {session.alone}: {leases}",
                )

    def _stored_results(self) -> dict[tuple[str, int, int], bytes]:
        db = self.database.store._writer._db  # type: ignore[attr-defined]
        found = db.execute(
            "SELECT job_id, cycle, stage, result FROM stages WHERE failed_attempt = 0"
        )
        return {(job, cycle, stage): result.encode() for job, cycle, stage, result in found}

    # -- supervisors --------------------------------------------------------------------------

    def _name(self, kind: str) -> str:
        self._lives += 1
        return f"{kind}{self._lives}"

    async def _keep_manager(self, url: str) -> None:
        while True:
            manager = SimManager(
                self._name(f"{url}."),
                url,
                self.settings,
                self.database,
                self.network,
                self._dice,
                self._trace,
                self.oracle.published,
            )
            self.managers.append(manager)
            await manager.process.killed()
            self.managers.remove(manager)
            await asyncio.sleep(self._down_seconds())

    def _down_seconds(self) -> float:
        """How long no other manager is started in the place of one that has ended."""
        return self._dice.uniform(0.1, 6.0)

    async def _keep_executor(self, app_name: str) -> None:
        while True:
            executor = SimExecutor(
                self._name("e"),
                self._urls,
                app_name,
                self._dice.choice([1, 2, 10]),
                self.network,
                self._dice,
                self._trace,
                self.oracle.began,
                self._lacking(),
                fill=self._fill_dice.random() < self.filled,
            )
            self.executors.append(executor)
            await executor.process.killed()
            self.oracle.dead.add(executor.process.name)
            self.executors.remove(executor)
            await asyncio.sleep(self._dice.uniform(0.1, 4.0))


FATES = ("kaiju_tasks.manager.runs", "kaiju_tasks.executor.stage")
"""The loggers of how runs and stages end, which the trace has anyway."""


class _LogWatch(logging.Handler):
    """Warnings go into the trace; errors and tracebacks are violations, except that runs fail."""

    def __init__(self, trace: Trace) -> None:
        super().__init__(logging.INFO)
        self._trace = trace

    def emit(self, record: logging.LogRecord) -> None:
        if record.name in FATES:
            return
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
        if SPOILT_TEXT in text:
            self._trace("log", text)
        elif record.levelno >= logging.ERROR or record.exc_info:
            self._trace.violated(Invariant.NO_ERRORS_LOGGED, f"log: {text}")
        elif record.levelno >= logging.WARNING:
            self._trace("log", text)


@contextlib.contextmanager
def _watched_logs(trace: Trace) -> Iterator[None]:
    logger = logging.getLogger("kaiju_tasks")
    watch = _LogWatch(trace)
    propagate, logger.propagate = logger.propagate, False
    logger.addHandler(watch)
    try:
        yield
    finally:
        logger.removeHandler(watch)
        logger.propagate = propagate


def simulate(
    seed: int,
    *,
    echo: bool = False,
    quiet: bool = False,
    faults: Mapping[str, float] = NO_FAULTS,
    filled: float = 0.0,
) -> Outcome:
    """Live through one seed.

    :param echo: print the whole trace
    :param quiet: without faults
    :param faults: chances of the network's or the database's small troubles, instead of the seed's
    :param filled: the part of the executors that leave the filling to the manager
    """

    def make(loop: SimLoop, trace: Trace) -> World:
        world = World(seed, loop, trace, quiet=quiet)
        world.faults = faults
        world.filled = filled
        return world

    return live_through(seed, make, echo=echo)


def live_through(
    seed: int, make: Callable[[SimLoop, Trace], World], *, echo: bool = False
) -> Outcome:
    """Make a world on a loop of its own, and let it live."""
    loop = SimLoop()
    trace = Trace(loop.time, echo=echo)
    asyncio.set_event_loop(loop)
    loop.set_exception_handler(
        lambda _, context: trace.violated(Invariant.NO_EXCEPTION_UNSEEN, _unhandled(context))
    )
    try:
        with _watched_logs(trace):
            world = make(loop, trace)
            try:
                loop.run_until_complete(world.live())
            except Deadlock as deadlock:
                trace.violated(Invariant.NO_DEADLOCK, f"deadlock: {deadlock}")
        digest = trace.digest
        outcome = Outcome(
            seed, trace.violations, digest, trace.tail, loop.now, loop.turns, world.oracle.stats
        )
        _take_down(loop, world)
        return outcome
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def _unhandled(context: dict[str, Any]) -> str:
    error = context.get("exception")
    text = f"unhandled: {context.get('message')}"
    if error is not None:
        text += "\n" + "".join(logging.Formatter().formatException((type(error), error, None)))
    return text


def _take_down(loop: SimLoop, world: World) -> None:
    """Let every task end, those of the dead too; what they still do is nobody's business."""
    loop.set_exception_handler(lambda _, context: None)
    logger = logging.getLogger("kaiju_tasks")
    disabled, logger.disabled = logger.disabled, True
    loop.over = True
    for process in loop.processes:
        process.revive()
    try:
        for _ in range(50):
            tasks = loop.open_tasks()
            if not tasks:
                break
            for task in tasks:
                task.cancel()
            loop.call_later(0.01, loop.stop)
            loop.run_forever()
    finally:
        logger.disabled = disabled
    loop.run_until_complete(world.database.store.close())
