"""Hostile input breaks nothing. `make fuzz` sends more of it."""

from pathlib import Path

import pytest

from tests.fuzz.inputs import Inputs
from tests.fuzz.target import target

INPUTS = 1_500


async def test_hostile_input_breaks_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    inputs = Inputs(seed=1)
    async with target(tmp_path) as manager:
        for _ in range(INPUTS):
            await manager.send(inputs)
    assert [one.getMessage() for one in caplog.records if one.exc_info] == []
    assert manager.answers["result"] > INPUTS / 20
    assert len(manager.answers) > 5


def test_input_is_reproducible() -> None:
    one, same = Inputs(7), Inputs(7)
    assert [one.body() for _ in range(50)] == [same.body() for _ in range(50)]
    assert [one.frame() for _ in range(50)] == [same.frame() for _ in range(50)]
