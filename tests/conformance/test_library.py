"""The kit passes the library's executor."""

import sys

import pytest

from kaiju_tasks.conformance import check_executor
from kaiju_tasks.conformance.cases import CASES
from kaiju_tasks.conformance.report import Level

SAMPLES = [sys.executable, "-m", "kaiju_tasks.cli", "executor", "kaiju_tasks.samples:executor"]


@pytest.mark.slow
async def test_the_library_reaches_the_highest_level() -> None:
    report = await check_executor(SAMPLES, seconds=30)
    problems = {one.name: one.problem for one in report.outcomes if one.problem is not None}
    assert problems == {}
    assert (report.reached, report.fill) == (Level.FULL, False)
    assert len(report.outcomes) == sum(not case.fill for case in CASES)
