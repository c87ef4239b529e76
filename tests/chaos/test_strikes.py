"""Faults strike together, and each is counted as what it was."""

import asyncio
from collections.abc import Callable, Mapping
from random import Random
from typing import cast

import pytest

from tests.chaos.faults import Fault
from tests.chaos.strikes import TOGETHER_MAX, Strikes
from tests.chaos.world import World
from tests.support.wait import wait_until

RATE = 1000.0
NO_WORLD = cast(World, None)


class Bed:
    """Faults that last until they are let go."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.lasting: list[str] = []
        self.most = 0

    def lasts(self, name: str) -> Fault:
        async def fault(world: World, random: Random) -> None:
            self.lasting.append(name)
            self.most = max(self.most, len(self.lasting))
            await self.gate.wait()
            self.lasting.remove(name)

        return fault

    async def strike(
        self, faults: Mapping[str, Fault], until: Callable[[Strikes], bool]
    ) -> Strikes:
        working: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        strikes = Strikes(NO_WORLD, faults, Random(1))
        striking = asyncio.create_task(strikes.together(working, RATE))
        try:
            await wait_until(lambda: striking.done() or until(strikes), "they have struck")
        finally:
            working.set_result(None)
            self.gate.set()
            await striking
        return strikes


@pytest.fixture
async def bed() -> Bed:
    return Bed()


async def quick(world: World, random: Random) -> None:
    pass


async def test_different_faults_last_at_the_same_time_and_the_same_one_once(bed: Bed) -> None:
    faults = {name: bed.lasts(name) for name in ("wire_cut", "read_only")}
    await bed.strike({**faults, "failover": quick}, lambda found: found.struck["failover"] > 20)
    assert bed.most == 2


async def test_executors_are_struck_several_at_a_time_but_not_too_many(bed: Bed) -> None:
    faults = {"executor_frozen": bed.lasts("executor_frozen")}
    await bed.strike(faults, lambda _: len(bed.lasting) == TOGETHER_MAX)
    assert bed.most == TOGETHER_MAX


async def test_nothing_accompanies_a_clock_that_is_set(bed: Bed) -> None:
    alone: list[int] = []
    others = 0

    async def clock_set(world: World, random: Random) -> None:
        alone.append(others)
        await asyncio.sleep(0)
        alone.append(others)

    async def other(world: World, random: Random) -> None:
        nonlocal others
        others += 1
        await asyncio.sleep(0.001)
        others -= 1

    faults = {"clock_set": clock_set, "wire_cut": other, "read_only": other}
    await bed.strike(faults, lambda found: found.struck["clock_set"] > 5)
    assert set(alone) == {0}


async def test_a_fault_that_does_not_reach_its_target_does_not_count(bed: Bed) -> None:
    async def unreached(world: World, random: Random) -> None:
        raise ConnectionRefusedError

    found = await bed.strike({"wire_cut": unreached}, lambda found: found.missed["wire_cut"] > 5)
    assert found.struck.total() == 0


async def test_an_error_of_a_fault_ends_the_run(bed: Bed) -> None:
    async def broken(world: World, random: Random) -> None:
        raise AssertionError("a manager has not ended")

    with pytest.raises(AssertionError, match="has not ended"):
        await bed.strike({"wire_cut": broken}, lambda _: False)
