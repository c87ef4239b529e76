"""Strikes a world with faults: alone, with the time that new tasks take, or many at a time."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping
from random import Random

import asyncpg

from tests.chaos.faults import ALONE, OFTEN, ON_EXECUTORS, SELDOM, Fault
from tests.chaos.world import World

PAUSE_SECONDS = (0.2, 1.5)
PROBE_PAUSE_SECONDS = 0.1
TOGETHER_MAX = 6
UNREACHED = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)
"""What a fault raises that another one has kept from its target."""


class Strikes:
    """The faults of one run.

    :ivar struck: number of faults by name
    :ivar missed: number of faults that other faults have kept from their target, by name
    :ivar recovery: after each fault that struck alone, the seconds until a new task had run
    :ivar outages: the longest time that a new task took, of those that were created one after
        another from the beginning of such a fault until it had healed, in seconds
    """

    def __init__(self, world: World, faults: Mapping[str, Fault], random: Random) -> None:
        self._world = world
        self._faults = faults
        self._random = random
        self._running: dict[asyncio.Task[None], str] = {}
        self.struck: Counter[str] = Counter()
        self.missed: Counter[str] = Counter()
        self.recovery: dict[str, list[float]] = defaultdict(list)
        self.outages: dict[str, list[float]] = defaultdict(list)

    async def alone(self, working: asyncio.Future[None]) -> None:
        """Strike with one fault after another until the work is done."""
        names = sorted(self._faults)
        while names and not working.done():
            await self._strike_alone(self._random.choice(names))
            await asyncio.sleep(self._random.uniform(*PAUSE_SECONDS))

    async def _strike_alone(self, name: str) -> None:
        healed = asyncio.Event()
        probing = asyncio.create_task(self._longest_probe(healed))
        try:
            await self._faults[name](self._world, self._random)
            healed.set()
            self.recovery[name].append(await self._world.probe())
            self.outages[name].append(await probing)
        finally:
            probing.cancel()
            await asyncio.gather(probing, return_exceptions=True)
        self.struck[name] += 1

    async def _longest_probe(self, healed: asyncio.Event) -> float:
        longest = 0.0
        while not healed.is_set():
            longest = max(longest, await self._world.probe())
            await asyncio.sleep(PROBE_PAUSE_SECONDS)
        return longest

    async def together(self, working: asyncio.Future[None], rate: float) -> None:
        """Begin so many faults a second until the work is done, while others last.

        No more than a few last at a time. Those that strike alone wait for the others.
        """
        try:
            while self._faults and not working.done():
                await asyncio.wait({working}, timeout=self._random.expovariate(rate))
                self._raise_broken()
                if len(self._running) < TOGETHER_MAX:
                    await self._begin(self._choose())
        finally:
            await asyncio.gather(*self._running, return_exceptions=True)
        self._raise_broken()

    def _choose(self) -> str:
        """A fault that does not last already, unless it can strike several executors."""
        lasting = set(self._running.values()) - ON_EXECUTORS
        names = sorted(self._faults.keys() - lasting)
        weights = [OFTEN.get(name, SELDOM) for name in names]
        return self._random.choices(names, weights)[0] if names else ""

    async def _begin(self, name: str) -> None:
        if not name:
            return
        if name in ALONE:
            await asyncio.gather(*self._running, return_exceptions=True)
        begun = asyncio.create_task(self._strike_among_others(name))
        self._running[begun] = name
        if name in ALONE:
            await asyncio.wait({begun})

    async def _strike_among_others(self, name: str) -> None:
        try:
            await self._faults[name](self._world, self._random)
        except UNREACHED:
            self.missed[name] += 1
        else:
            self.struck[name] += 1

    def _raise_broken(self) -> None:
        """Forget the faults that have healed, and raise what one of them has raised."""
        for done in [one for one in self._running if one.done()]:
            del self._running[done]
            done.result()
