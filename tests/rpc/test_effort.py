import asyncio
import time

import pytest

from kaiju_tasks.rpc import Effort, count_as_useful, counting_waits

STEP_SECONDS = 0.02


async def work(steps: int) -> str:
    for _ in range(steps):
        time.sleep(STEP_SECONDS)
        await asyncio.sleep(STEP_SECONDS)
    return "done"


async def test_the_time_of_the_loop_is_counted_without_waits() -> None:
    effort = Effort()
    assert await effort.measure(work(3)) == "done"
    assert effort.seconds >= 3 * STEP_SECONDS
    assert not effort.useful


async def test_waits_are_counted_on_demand() -> None:
    async def wait() -> None:
        with counting_waits():
            await asyncio.sleep(STEP_SECONDS)

    effort = Effort()
    await effort.measure(wait())
    assert effort.seconds >= STEP_SECONDS * 0.9


async def test_an_effect_counts_for_the_message_that_has_it() -> None:
    async def change() -> None:
        await asyncio.create_task(mark())

    async def mark() -> None:
        count_as_useful()

    efforts = Effort(), Effort()
    await asyncio.gather(efforts[0].measure(change()), efforts[1].measure(work(1)))
    assert [effort.useful for effort in efforts] == [True, False]


async def test_errors_and_cancellations_pass_through() -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await Effort().measure(fail())
    task = asyncio.create_task(Effort().measure(asyncio.Event().wait()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
