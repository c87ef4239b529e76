"""Clients that use much of the event loop without an effect rest while others work."""

import asyncio

import pytest

from kaiju_tasks.rpc import Effort
from kaiju_tasks.server.pace import FREE_SECONDS, Pace


def effort(seconds: float = 0.0, *, useful: bool = False) -> Effort:
    made = Effort()
    made.seconds, made.useful = seconds, useful
    return made


async def rests(pace: Pace, client: str) -> bool:
    """Whether a client does not get its turn at once."""
    turn = asyncio.create_task(pace.turn(client))
    for _ in range(5):
        await asyncio.sleep(0)
    waits = not turn.done()
    turn.cancel()
    await asyncio.gather(turn, return_exceptions=True)
    return waits


async def test_who_uses_much_without_an_effect_rests_while_others_work() -> None:
    pace = Pace()
    pace.answered("honest", effort(useful=True), 100)
    pace.answered("flood", effort(2 * FREE_SECONDS), 100)
    assert await rests(pace, "flood")
    assert not await rests(pace, "honest")
    assert not await rests(pace, "another")


async def test_nobody_rests_while_nobody_else_works() -> None:
    pace = Pace()
    pace.answered("flood", effort(useful=True), 100)
    pace.answered("flood", effort(1.0), 100)
    assert not await rests(pace, "flood")


@pytest.mark.parametrize("made", [effort(10.0, useful=True), effort(FREE_SECONDS / 2)])
async def test_who_has_an_effect_or_uses_little_does_not_rest(made: Effort) -> None:
    pace = Pace()
    pace.answered("honest", effort(useful=True), 100)
    pace.answered("client", made, 100)
    assert not await rests(pace, "client")


async def test_large_messages_count_although_they_are_refused_at_once() -> None:
    pace = Pace()
    pace.answered("honest", effort(useful=True), 100)
    for _ in range(10):
        pace.answered("flood", effort(), 8 * 1024 * 1024)
    assert await rests(pace, "flood")


async def test_one_of_the_messages_that_wait_goes_on_at_a_time() -> None:
    pace = Pace()
    pace.answered("honest", effort(useful=True), 100)
    pace.answered("flood", effort(2 * FREE_SECONDS), 100)
    turns = [asyncio.create_task(pace.turn("flood")) for _ in range(5)]
    done, waiting = await asyncio.wait(turns, return_when=asyncio.FIRST_COMPLETED)
    assert (len(done), len(waiting)) == (1, 4)
    for turn in waiting:
        turn.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
