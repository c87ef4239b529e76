"""The kit passes the minimal executor, which has about 130 lines of code."""

import pytest

from kaiju_tasks.conformance import check_executor
from kaiju_tasks.conformance.cases import CASES
from kaiju_tasks.conformance.report import Level
from tests.support.node import FETCHER, find_node
from tests.support.processes import ROOT

PROGRAM = ROOT / "examples" / "executors" / "minimal" / "executor.mjs"


@pytest.mark.slow
async def test_the_minimal_executor_reaches_core() -> None:
    with FETCHER.alone():
        node = find_node()
    names = [case.name for case in CASES if case.level is Level.CORE]
    report = await check_executor([*node.with_websocket, str(PROGRAM)], seconds=30, only=names)
    problems = {one.name: one.problem for one in report.outcomes if one.problem is not None}
    assert problems == {}
    assert (report.reached, report.fill) == (Level.CORE, True)
