"""How fast an executor connects again."""

from random import Random

from kaiju_tasks.executor import Executor
from kaiju_tasks.executor.reconnects import LASTING_SECONDS, Reconnects
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
        reconnects.accepted(100.0 * number)
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
    reconnects.accepted(1000.0)
    reconnects.worked()
    assert reconnects.next(1000.1) == 0.1


def test_attempts_without_a_manager_wait_longer_each_time_up_to_the_limit() -> None:
    reconnects = Reconnects(Longest())
    reconnects.limit(1.0)
    assert [reconnects.next(1.0) for _ in range(6)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    assert waits(reconnects, connections=1) == [0.1]


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
