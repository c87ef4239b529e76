"""How fast an executor connects again."""

import asyncio
from random import Random

import pytest

from kaiju_tasks.executor import Executor
from kaiju_tasks.executor.reconnects import LASTING_SECONDS, Reconnects
from kaiju_tasks.executor.waits import CONNECT_SECONDS_MAX, DEFAULT_WAITS, Waits
from tests.executor.fakes import Rig, assignment, command

executor = Executor("app")


@executor.command("work")
async def work() -> int:
    return 1


class Longest(Random):
    """Scatters nothing."""

    def uniform(self, a: float, b: float) -> float:
        return b


def waits(reconnects: Reconnects, *, connections: int, seconds: float = 0.1) -> list[float]:
    found = []
    for number in range(connections):
        reconnects.accepted(100.0 * number, DEFAULT_WAITS)
        found.append(reconnects.next(100.0 * number + seconds))
    return found


def test_one_reconnect_is_free_and_more_in_a_row_wait_longer() -> None:
    assert waits(Reconnects(Longest()), connections=5) == [0.1, 0.2, 0.4, 0.8, 1.6]


def test_a_connection_that_lasts_resets_the_wait() -> None:
    reconnects = Reconnects(Longest())
    waits(reconnects, connections=5)
    assert waits(reconnects, connections=3, seconds=LASTING_SECONDS) == [0.1, 0.1, 0.1]


def test_work_resets_the_wait() -> None:
    reconnects = Reconnects(Longest())
    waits(reconnects, connections=5)
    reconnects.accepted(1000.0, DEFAULT_WAITS)
    reconnects.worked()
    assert reconnects.next(1000.1) == 0.1


def test_attempts_without_a_manager_wait_longer_each_time_up_to_the_limit() -> None:
    reconnects = Reconnects(Longest())
    reconnects.accepted(0.0, Waits(retry=1.0))
    assert [reconnects.next(LASTING_SECONDS) for _ in range(6)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    assert waits(reconnects, connections=1) == [0.1]


def test_an_attempt_may_take_longer_each_time_until_a_manager_has_answered() -> None:
    reconnects = Reconnects(Longest())
    assert reconnects.patience() == CONNECT_SECONDS_MAX
    reconnects.accepted(0.0, Waits(connect=1.0))
    assert [reconnects.patience() for _ in range(5)] == [1, 2, 4, 8, CONNECT_SECONDS_MAX]
    reconnects.accepted(0.0, Waits(connect=1.0))
    assert reconnects.patience() == 1


async def cut_after_each_connect(rig: Rig, seconds: float) -> int:
    """:returns: how often it has connected"""
    before, end = rig.manager.connections, rig.clock.time() + seconds
    while rig.clock.time() < end:
        if rig.link.connected:
            rig.wire.cut()
        await rig.clock.advance(0.01)
    return rig.manager.connections - before


async def test_an_executor_that_is_cut_after_each_connect_does_not_come_back_at_full_speed() -> (
    None
):
    async with Rig(executor) as rig:
        assert 20 < await cut_after_each_connect(rig, 60) < 80
        await rig.clock.advance(5)
        assert rig.link.connected
        await rig.do(assignment(command("work")))
        rig.wire.cut()
        await rig.clock.advance(0.11)
        assert rig.link.connected


# ---- all waits are within the lease


SHORT_LEASES = pytest.mark.parametrize(("ping_interval", "grace"), [(0.2, None), (5.0, 1.0)])


@SHORT_LEASES
async def test_an_attempt_to_connect_ends_within_the_lease(
    ping_interval: float, grace: float | None
) -> None:
    rig = Rig(executor)
    rig.manager.ping_interval, rig.manager.reconnect_grace = ping_interval, grace
    async with rig:
        assert rig.wire.patience == [CONNECT_SECONDS_MAX]
        rig.wire.cut()
        await rig.clock.advance(1)
        assert rig.wire.patience[1] <= min(3 * ping_interval, grace or 5.0) / 4


async def test_a_report_is_repeated_several_times_within_the_lease() -> None:
    rig = Rig(executor)
    rig.manager.ping_interval = 0.2
    async with rig:
        rig.manager.errors["manager.write_stage"] = 503, "no database"
        await rig.do(assignment(command("work")))
        await rig.clock.advance(60)
        before = len(rig.manager.methods("manager.write_stage"))
        await rig.clock.advance(3 * 0.2)
        assert len(rig.manager.methods("manager.write_stage")) - before >= 3


async def test_leaving_takes_no_longer_than_the_lease() -> None:
    rig = Rig(executor)
    rig.manager.ping_interval = 0.2
    async with rig:
        rig.manager.errors["manager.write_stage"] = 503, "no database"
        await rig.do(assignment(command("work")))
        rig.manager.silent.add("manager.suspend_executor")
        stopped = asyncio.create_task(rig.link.stop(0.0))
        await rig.clock.advance(3 * 0.2)
        assert stopped.done()
        assert rig.manager.methods("manager.suspend_executor")
