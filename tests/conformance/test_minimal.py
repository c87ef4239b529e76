"""The kit passes the minimal executor."""

import sys

import pytest

from kaiju_tasks.conformance import check_executor
from kaiju_tasks.conformance.cases import CASES
from kaiju_tasks.conformance.report import Level
from tests.support.processes import ROOT


@pytest.mark.slow
async def test_the_minimal_executor_reaches_core() -> None:
    program = ROOT / "examples" / "executors" / "minimal" / "executor.py"
    names = [case.name for case in CASES if case.level is Level.CORE]
    report = await check_executor([sys.executable, str(program)], seconds=30, only=names)
    problems = {one.name: one.problem for one in report.outcomes if one.problem is not None}
    assert problems == {}
    assert (report.reached, report.fill) == (Level.CORE, True)
