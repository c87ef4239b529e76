"""An executor process: the executor's own code, its commands, and ways to die."""

import asyncio
import itertools
from collections.abc import Callable
from random import Random
from typing import Any

from kaiju_tasks.errors import Abort
from kaiju_tasks.executor import Context, Executor
from kaiju_tasks.executor.clock import LoopClock
from kaiju_tasks.executor.link import Link, Orphaned
from kaiju_tasks.executor.outbox import Outbox
from kaiju_tasks.executor.runner import Runner
from kaiju_tasks.executor.runtime import Runtime
from kaiju_tasks.executor.transport import Refused
from kaiju_tasks.protocol import CommandInfo, ConnectParams
from tests.simulation.filled import FilledRunner
from tests.simulation.loop import Process
from tests.simulation.network import Network, SimTransport
from tests.simulation.trace import Trace

Began = Callable[["SimExecutor", Context], int]


class SimExecutor:
    """One life of an executor; a new one comes with a new name.

    :param fill: whether it leaves the filling of its commands to the manager
    :param lacking: methods that it has, but does not announce
    :ivar announced: the methods that it has announced in its life
    :param began: called when a stage begins; returns the number of that execution, which is part of
        the result, so that each stored result shows where it came from
    """

    def __init__(
        self,
        name: str,
        urls: list[str],
        app_name: str,
        concurrency: int,
        network: Network,
        random: Random,
        trace: Trace,
        began: Began,
        lacking: frozenset[str] = frozenset(),
        *,
        fill: bool = False,
    ) -> None:
        self._fill = fill
        self.announced: set[str] = set()
        self._lacking = lacking
        self._identity: ConnectParams | None = None
        self._methods: list[str] = []
        self.process = Process(name)
        self.app_name = app_name
        self.concurrency = concurrency
        self.trace = trace
        self.leaving = False
        self._urls = urls
        self._network = network
        self._random = Random(random.getrandbits(64))
        self._began = began
        self.runner: Runner | None = None
        self.link: Link | None = None
        self.process.spawn(self._main())

    async def _main(self) -> None:
        executor = _commands(self)
        clock = LoopClock()
        runtime = Runtime([executor], clock, threads=1, kill_grace=2.0)
        runtime.on_stuck = lambda: self.kill(silent=False)
        make = FilledRunner if self._fill else Runner
        self.runner = make(runtime, Outbox(), concurrency=self.concurrency)
        identity = self._identity = ConnectParams(
            id=self.process.name,
            app_names=[self.app_name],
            instance=self.process.name,
            fill=self._fill,
            data=executor.data if self._fill else {},
        )
        self._methods = sorted(executor.commands)
        self.announce(self._lacking)
        transport = SimTransport(self._network, self.process)
        self.link = Link(self._urls, identity, self.runner, transport, clock, self._random)
        try:
            await self.link.run()
        except (Orphaned, Refused) as error:
            self.trace(self.process.name, f"ends: {error}")
        self.trace(self.process.name, "has ended")
        self.leaving = True
        self.process.kill()

    def announce(self, lacking: frozenset[str]) -> None:
        """Announce all methods but some, from the next connect on."""
        self._lacking = lacking
        if self._identity is None:
            return
        methods = [method for method in self._methods if method not in lacking]
        self._identity.commands = [CommandInfo(method) for method in methods]
        self.announced |= set(methods)

    def lacks(self, method: str) -> bool:
        """Whether it does not announce a method now."""
        return method in self._lacking

    @property
    def serves(self) -> bool:
        """Whether it is there to take work."""
        return self.process.runs and not self.leaving

    def began(self, ctx: Context) -> int:
        return self._began(self, ctx)

    def kill(self, *, silent: bool) -> None:
        """SIGKILL. The kernel closes its socket, unless the machine is gone too."""
        if not self.process.alive:
            return
        self.trace(self.process.name, f"is killed silent={silent}")
        self.leaving = True
        self.process.kill()
        for wire in [w for w in self._network.wires if w.executor is self.process]:
            wire.end(None, None if silent else self._network.delay())

    def forget(self) -> None:
        """Lose a task: its assignment or its report, and every memory of it."""
        segments = list(self.runner._segments.values()) if self.runner is not None else []
        if segments:
            segment = self._random.choice(segments)
            self.trace(self.process.name, f"forgets {segment.lease()}")
            segment.drop()

    def oversleep(self) -> None:
        """Let the stages that run go on beyond their time."""
        for segment in self.runner._segments.values() if self.runner is not None else ():
            stage = segment._stage
            if stage is not None and stage._timer is not None:
                self.trace(self.process.name, f"oversleeps {segment.lease()}")
                stage._timer.cancel()

    def leave(self) -> None:
        """SIGTERM."""
        if self.link is not None and not self.leaving:
            self.trace(self.process.name, "is asked to leave")
            self.leaving = True
            self.process.spawn(self.link.stop(self._random.choice([0.0, 1.0, 5.0])))


def _commands(sim: SimExecutor) -> Executor:
    executor = Executor(sim.app_name, data={"home": sim.process.name})
    random = sim._random
    stubborn = itertools.count()

    @executor.command("echo")
    async def echo(ctx: Context, data: Any = None) -> Any:
        return {"n": sim.began(ctx), "data": data}

    @executor.command("some")
    async def some(ctx: Context) -> Any:
        return {"n": sim.began(ctx), "some": list(range(random.randrange(4)))}

    @executor.command("nap")
    async def nap(ctx: Context, seconds: float) -> Any:
        n = sim.began(ctx)
        ctx.progress(0, 1)
        await asyncio.sleep(seconds)
        return {"n": n}

    @executor.command("flaky")
    async def flaky(ctx: Context, chance: float) -> Any:
        n = sim.began(ctx)
        await asyncio.sleep(random.random())
        if random.random() < chance:
            raise ValueError(f"bad luck, execution {n}")
        return {"n": n}

    @executor.command("once")
    async def once(ctx: Context) -> Any:
        n = sim.began(ctx)
        if ctx.attempt == 1 and ctx._info.cycle == 0:
            raise ValueError(f"the first attempt fails, execution {n}")
        return {"n": n}

    @executor.command("hang")
    async def hang(ctx: Context) -> Any:
        sim.began(ctx)
        await asyncio.sleep(1e6)

    @executor.command("give_up")
    async def give_up(ctx: Context) -> Any:
        raise Abort(f"no use, execution {sim.began(ctx)}")

    @executor.command("stretch")
    async def stretch(ctx: Context) -> Any:
        n = sim.began(ctx)
        ctx.extend(5.0)
        await asyncio.sleep(random.uniform(8.0, 14.0))
        return {"n": n}

    @executor.command("lethal")
    async def lethal(ctx: Context, chance: float) -> Any:
        n = sim.began(ctx)
        await asyncio.sleep(random.random())
        if random.random() < chance:
            sim.kill(silent=random.random() < 0.5)
            await asyncio.sleep(1e6)
        return {"n": n}

    @executor.command("stubborn")
    async def stubborn_(ctx: Context) -> Any:
        sim.began(ctx)
        next(stubborn)
        try:
            await asyncio.sleep(1e6)
        except asyncio.CancelledError:
            await asyncio.sleep(random.choice([0.5, 1e6]))
            raise

    return executor
