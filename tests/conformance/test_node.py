"""The kit passes the reference executor for Node."""

import pytest

from kaiju_tasks.conformance import check_executor
from kaiju_tasks.conformance.cases import CASES
from kaiju_tasks.conformance.report import Level
from tests.support.node import FETCHER, find_node
from tests.support.processes import ROOT


@pytest.mark.slow
async def test_the_executor_for_node_reaches_the_highest_level() -> None:
    with FETCHER.alone():
        node = find_node()
    program = ROOT / "examples" / "executors" / "node" / "executor.mjs"
    report = await check_executor([*node.with_websocket, str(program)], seconds=30)
    problems = {one.name: one.problem for one in report.outcomes if one.problem is not None}
    assert problems == {}
    assert (report.reached, report.fill) == (Level.FULL, True)
    assert len(report.outcomes) == len(CASES)
