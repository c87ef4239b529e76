"""Kills the only manager at each of its steps: every statement, every commit, every frame.

`python -m tests.simulation.crash_points` runs every shape at every step; `--every 5` every fifth.
"""

import argparse
import asyncio
import inspect
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from kaiju_tasks.settings import Settings
from kaiju_tasks.store import Store
from kaiju_tasks.store.presumed import Presumed
from kaiju_tasks.types import MESSAGE, TASKS, TIMER, TaskStatus
from tests.simulation.calm import Calm
from tests.simulation.database import CALLS
from tests.simulation.invariants import Invariant
from tests.simulation.loop import SimLoop
from tests.simulation.manager import SimManager
from tests.simulation.network import Wire
from tests.simulation.trace import Trace
from tests.simulation.world import Outcome, World, live_through

Json = dict[str, Any]
APP = "app"
DOWN_SECONDS = 0.5
REST_SECONDS = 120.0
FIRES = 2
"""Runs of a schedule that are waited for."""


def _echo(**fields: Any) -> Json:
    return {"method": "echo", "params": {"data": 1}, **fields}


_FAILS_ONCE = {"method": "once"}
_CHILD = {"app_name": APP, "commands": [_echo(), _echo()]}

SHAPES: dict[str, list[Json]] = {
    "plain": [{"id": "a", "commands": [_echo()]}],
    "stages": [{"id": "a", "commands": [_echo(), _echo(), _echo()]}],
    "hooks": [
        {
            "id": "a",
            "commands": [
                _echo(),
                {"method": TIMER, "params": {"timer": 0.5}},
                {"method": MESSAGE, "params": {"name": "go"}},
                _echo(),
            ],
        }
    ],
    "retries": [{"id": "a", "commands": [_echo(), _FAILS_ONCE], "max_retries": 3}],
    "first": [
        {
            "id": "a",
            "commands": [_echo(), _FAILS_ONCE],
            "max_retries": 3,
            "restart_policy": "FIRST",
            "retry_delay": 0.2,
        }
    ],
    "chain": [
        {"id": "b", "delay": 300.0, "commands": [_echo()]},
        {"id": "a", "commands": [_echo()], "next_task": "b"},
    ],
    "children": [
        {
            "id": "a",
            "commands": [
                {"method": TASKS, "params": {"create": [_CHILD, _CHILD]}},
                _echo(),
            ],
        }
    ],
    "cron": [{"id": "a", "every": 1.0, "misfire": "all", "commands": [_echo()]}],
    "notify": [{"id": "a", "commands": [_echo()], "notify": True}],
    "slots": [
        {"id": id, "commands": [_echo(), _echo()], "concurrency": {"key": "k", "limit": 1}}
        for id in ("a", "b", "c")
    ],
    "unique": [
        {"id": id, "commands": [_echo()], "unique": {"key": "u", "on_conflict": "reuse"}}
        for id in ("a", "b")
    ],
}


class Countdown:
    """Counts the steps of a manager, and kills it at one of them.

    :param at: the number of the step, from 1; None never kills
    """

    def __init__(self, at: int | None) -> None:
        self._at = at
        self.steps = 0
        self.victim: SimManager | None = None

    def step(self, *, at_once: bool) -> None:
        """Make a step.

        :param at_once: do nothing more after a kill, not even up to the next wait
        """
        self.steps += 1
        if self.steps == self._at and self.victim is not None:
            self.victim.kill(silent=False)
            if at_once:
                raise asyncio.CancelledError


class CountedStore:
    """A store each of whose statements is a step."""

    def __init__(self, store: Store, countdown: Countdown) -> None:
        self._store = store
        self._countdown = countdown

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        return _counted(method, self._countdown) if name in CALLS else method

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        async with self._store.transaction() as inner:
            yield CountedTransaction(inner, self._countdown)
            self._countdown.step(at_once=True)  # before the commit
        self._countdown.step(at_once=False)  # after it, and nobody has heard of it

    async def write_presumed(self, presumed: Presumed) -> bool:
        self._countdown.step(at_once=True)  # before the statement
        written = await self._store.write_presumed(presumed)
        self._countdown.step(at_once=False)  # after it, and nobody has heard of it
        return written


class CountedTransaction:
    def __init__(self, inner: Any, countdown: Countdown) -> None:
        self._inner = inner
        self._countdown = countdown

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._inner, name)
        if inspect.iscoroutinefunction(attribute):
            return _counted(attribute, self._countdown)
        return attribute


def _counted(method: Callable[..., Any], countdown: Countdown) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> Any:
        countdown.step(at_once=True)
        return await method(*args, **kwargs)

    return call


class CrashWorld(World):
    """One manager, one executor, tasks of one shape, and no fault but one kill."""

    def __init__(self, shape: str, countdown: Countdown, loop: SimLoop, trace: Trace) -> None:
        super().__init__(0, loop, trace, quiet=True)
        self._tasks = SHAPES[shape]
        self._countdown = countdown
        self.settings = Settings(ping_interval=1.0, reconnect_grace=0.5, poll_interval=1.0)
        store: Any = CountedStore(self.database.store, countdown)
        self.database.store = store
        self._urls, self._app_names = ["m0"], [APP]
        asked, answered = self.network.asked, self.network.answered

        def came(wire: Wire, frame: bytes) -> None:
            asked(wire, frame)
            countdown.step(at_once=False)

        def went(wire: Wire, frame: bytes) -> None:
            answered(wire, frame)
            countdown.step(at_once=False)

        self.network.asked, self.network.answered = came, went

    async def live(self) -> None:
        await self.database.store.open()
        self.process.spawn(self._keep_manager("m0"))
        self.process.spawn(self._keep_executor(APP))
        while not self._connected():
            await asyncio.sleep(0.05)
        self._countdown.victim = self.managers[0]
        self._countdown.steps = 0
        for task in self._tasks:
            data = {"app_name": APP, **task}
            await self.client.attempt("tasks.create", data=data, on_conflict="ignore")
        self.client.process.spawn(self.workload.help_along())
        await self._rest()
        self.oracle.compare(self._stored_results())
        self.ties.compare_runs()

    def _connected(self) -> bool:
        return any(e.link is not None and e.link.connected for e in self.executors)

    async def _rest(self) -> None:
        calm = Calm(self.oracle, self.ties, self._trace)
        began = self._loop.now
        while not self._trace.violations:
            calm.look(self._loop.now, self.executors)
            left = calm.unfinished(self._loop.now)
            if not left and self._fired():
                break
            if self._loop.now - began > REST_SECONDS:
                self._trace.violated(Invariant.EVERYTHING_ENDS, f"does not end: {left}")
            await asyncio.sleep(0.1)
        failed = [r for r in self.oracle.rows.values() if r.status is TaskStatus.FAILED]
        if failed:
            self._trace.violated(Invariant.EVERYTHING_ENDS, f"ended otherwise: {failed}")

    def _fired(self) -> bool:
        scheduled = any(d.scheduled for d in self.oracle.definitions.values())
        return not scheduled or self.oracle.stats.get("run FINISHED", 0) >= FIRES

    def _down_seconds(self) -> float:
        return DOWN_SECONDS


def crash(shape: str, at: int | None, *, echo: bool = False) -> tuple[Outcome, int]:
    """Run the tasks of a shape, and kill the manager at one of its steps.

    :returns: what came of it, and the number of steps
    """
    countdown = Countdown(at)
    outcome = live_through(
        at or 0, lambda loop, trace: CrashWorld(shape, countdown, loop, trace), echo=echo
    )
    return outcome, countdown.steps


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.crash_points")
    parser.add_argument("shapes", nargs="*", default=list(SHAPES))
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--at", type=int, help="only this step, with its trace")
    options = parser.parse_args()
    failed = points = 0
    for shape in options.shapes:
        outcome, steps = crash(shape, None)
        assert not outcome.violations, outcome.report
        chosen = range(1, steps + 1, options.every) if options.at is None else [options.at]
        for at in chosen:
            outcome, _ = crash(shape, at, echo=options.at is not None)
            points += 1
            if outcome.violations:
                failed += 1
                print(f"{shape} killed at {at}: {outcome.violations[:3]}", flush=True)
        print(f"{shape}: {len(chosen)} of {steps} steps", flush=True)
    print(f"{points} crash points, {failed} with violations")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
