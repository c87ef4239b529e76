"""A second attempt beside one that may have fallen silent."""

import asyncio

import pytest

from kaiju_tasks.store.postgres.hedged import hedged
from tests.support.wait import PATIENCE_SECONDS, wait_until

NEVER = PATIENCE_SECONDS * 10


class Attempts:
    """Attempts that end when and how a test says."""

    def __init__(self) -> None:
        self.begun: list[asyncio.Future[str]] = []
        self.discarded: list[str] = []

    async def __call__(self) -> str:
        self.begun.append(asyncio.get_running_loop().create_future())
        return await self.begun[-1]

    def run(self, seconds: float) -> asyncio.Task[str]:
        return asyncio.create_task(hedged(self, seconds, self.discarded.append))

    async def are(self, number: int) -> None:
        await wait_until(lambda: len(self.begun) == number, f"{number} attempts have begun")


async def test_an_attempt_that_ends_in_time_is_the_only_one() -> None:
    attempts = Attempts()
    running = attempts.run(NEVER)
    await attempts.are(1)
    attempts.begun[0].set_result("first")
    assert await running == "first"
    assert len(attempts.begun) == 1
    assert attempts.discarded == []


async def test_an_attempt_that_fails_in_time_is_not_repeated() -> None:
    attempts = Attempts()
    running = attempts.run(NEVER)
    await attempts.are(1)
    attempts.begun[0].set_exception(OSError("refused"))
    with pytest.raises(OSError, match="refused"):
        await running
    assert len(attempts.begun) == 1


@pytest.mark.parametrize("winner", [0, 1])
async def test_the_first_attempt_to_succeed_counts_and_the_other_is_cancelled(winner: int) -> None:
    attempts = Attempts()
    running = attempts.run(0)
    await attempts.are(2)
    attempts.begun[winner].set_result("open")
    assert await running == "open"
    await wait_until(attempts.begun[1 - winner].cancelled, "the other one is cancelled")
    assert attempts.discarded == []


async def test_what_the_other_attempt_gives_too_is_discarded() -> None:
    attempts = Attempts()
    running = attempts.run(0)
    await attempts.are(2)
    attempts.begun[0].set_result("first")
    attempts.begun[1].set_result("second")
    assert await running in ("first", "second")
    await wait_until(lambda: len(attempts.discarded) == 1, "the other one is discarded")
    assert {running.result(), *attempts.discarded} == {"first", "second"}


async def test_one_failure_leaves_the_other_attempt() -> None:
    attempts = Attempts()
    running = attempts.run(0)
    await attempts.are(2)
    attempts.begun[0].set_exception(OSError("cut"))
    attempts.begun[1].set_result("second")
    assert await running == "second"


async def test_two_failures_raise_one_of_them() -> None:
    attempts = Attempts()
    running = attempts.run(0)
    await attempts.are(2)
    for number, attempt in enumerate(attempts.begun):
        attempt.set_exception(OSError(f"cut {number}"))
    with pytest.raises(OSError, match="cut"):
        await running


async def test_a_caller_that_is_cancelled_cancels_both() -> None:
    attempts = Attempts()
    running = attempts.run(0)
    await attempts.are(2)
    running.cancel()
    for attempt in attempts.begun:
        await wait_until(attempt.cancelled, "it is cancelled")
