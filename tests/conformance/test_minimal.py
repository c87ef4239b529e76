"""The kit passes the minimal executor, which has about 150 lines of code."""

import asyncio
import os

import msgspec
import pytest

from kaiju_tasks.conformance import check_executor
from kaiju_tasks.conformance.cases import CASES
from kaiju_tasks.conformance.peer import Manager, Server
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


@pytest.mark.slow
@pytest.mark.parametrize("data", [b"1e999", b'{"a": [1, -1e999]}'])
async def test_a_result_that_is_not_finite_fails_its_stage(data: bytes) -> None:
    with FETCHER.alone():
        node = find_node()
    server = Server()
    server.manager = manager = Manager(60.0)
    async with server.listening():
        process = await asyncio.create_subprocess_exec(
            *node.with_websocket, str(PROGRAM), env={**os.environ, "KAIJU_URL": server.url}
        )
        try:
            await manager.connect()
            task = manager.task({"method": "do.echo", "params": {"data": msgspec.Raw(data)}})
            await manager.notify("executor.run", {"tasks": [task]})
            report = await manager.end(task)
        finally:
            process.kill()
            await process.wait()
    assert (report["state"], report["error"]["type"]) == ("failed", "execution_error")
    assert "Infinity" in report["error"]["message"]
