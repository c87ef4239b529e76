"""Commands of the executor for Node that the sample commands do not need."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from kaiju_tasks.conformance.peer import Json, Manager, Server
from tests.support.http_server import http_server
from tests.support.node import FETCHER, find_node
from tests.support.processes import ROOT

LIBRARY = ROOT / "examples" / "executors" / "node" / "kaiju.mjs"
PROGRAM = """
import { Executor } from "LIBRARY";

const never = (signal) =>
  new Promise((_, fail) => signal.addEventListener("abort", () => fail(new Error("stopped"))));
const commands = {
  long: { run: (_, { extend, signal }) => (extend(1000), never(signal)) },
};
await new Executor({ urls: [process.env.KAIJU_URL], streams: ["default"], commands }).run();
"""

pytestmark = pytest.mark.slow


class Grants(Manager):
    """A manager that says, when it grants more time, how much the run has left.

    :ivar left: seconds
    """

    left: float | None = None

    def _ack(self, report: Json) -> Json:
        ack = super()._ack(report)
        if report["state"] == "extend" and self.left is not None:
            ack["exec_seconds"] = self.left
        return ack


@asynccontextmanager
async def connected(folder: Path) -> AsyncIterator[Grants]:
    with FETCHER.alone():
        node = find_node()
    program = folder / "executor.mjs"
    program.write_text(PROGRAM.replace("LIBRARY", LIBRARY.as_uri()))
    server = Server()
    server.manager = manager = Grants(60.0)
    async with server.listening():
        process = await asyncio.create_subprocess_exec(
            *node.with_websocket, str(program), env={**os.environ, "KAIJU_URL": server.url}
        )
        try:
            await manager.connect()
            yield manager
        finally:
            process.kill()
            await process.wait()


async def ended(manager: Grants, **command: Any) -> Json:
    task = manager.task({"params": {}, **command})
    await manager.notify("executor.run", {"tasks": [task]})
    return await manager.end(task)


async def test_the_manager_says_how_much_time_the_run_has_left(tmp_path: Path) -> None:
    """It grants no more than a lease may last."""
    async with connected(tmp_path) as manager:
        manager.left = 0.3
        report = await ended(manager, method="long")
        assert report["error"]["type"] == "exec_timeout"
        assert report["seconds"] < 100


@pytest.mark.parametrize("program", ["node", "minimal"])
@pytest.mark.parametrize("status", [401, 403, 503])
async def test_a_refused_token_ends_the_process_and_an_outage_does_not(
    program: str, status: int
) -> None:
    with FETCHER.alone():
        node = find_node()
    asked = asyncio.Semaphore(0)

    async def refuse(request: web.Request) -> web.Response:
        asked.release()
        return web.Response(status=status)

    async with http_server(refuse) as url:
        process = await asyncio.create_subprocess_exec(
            *node.with_websocket,
            str(ROOT / "examples" / "executors" / program / "executor.mjs"),
            env={**os.environ, "KAIJU_URL": url, "KAIJU_TOKEN": "kt_e_x"},
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            if status == 503:
                for _ in range(5):
                    await asyncio.wait_for(asked.acquire(), 60)
                assert process.returncode is None
            else:
                _, said = await asyncio.wait_for(process.communicate(), 60)
                assert process.returncode == 77
                assert b"refuses the token" in said
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()


@pytest.mark.parametrize("method", ["constructor", "toString", "__proto__", "other"])
async def test_what_every_object_has_is_no_method(tmp_path: Path, method: str) -> None:
    async with connected(tmp_path) as manager:
        report = await ended(manager, method=method)
        assert report["error"]["type"] == "unknown_method"
