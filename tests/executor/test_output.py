"""The lines that the process of a command prints are read beside other work."""

import asyncio
import os

import pytest

from kaiju_tasks.executor.output import LINES_AT_ONCE, Output

LINES = 20_000


@pytest.fixture(autouse=True)
def stderr(capfd: pytest.CaptureFixture[str]) -> None:
    """What is read goes to stderr as well."""


async def printed(output: Output, text: bytes) -> None:
    assert os.write(output.write_end, text) == len(text)
    await output.open()


async def test_others_get_their_turn_while_many_short_lines_are_read() -> None:
    turns = 0
    seen: list[int] = []
    output = Output(lambda line: seen.append(turns))
    await printed(output, b"x\n" * LINES)
    while len(seen) < LINES:
        turns += 1
        await asyncio.sleep(0)
    await output.close()
    assert max(seen.count(turn) for turn in set(seen)) <= LINES_AT_ONCE


async def test_lines_that_were_read_before_the_end_are_kept() -> None:
    seen: list[str] = []
    ended = asyncio.Event()

    def take(line: str) -> None:
        seen.append(line)
        ended.set()

    output = Output(take)
    await printed(output, b"x\n" * LINES + b"rest")
    await ended.wait()
    assert len(seen) < LINES
    assert output._task is not None
    output._task.cancel()
    await output.close()
    assert seen == ["x"] * LINES + ["rest"]
