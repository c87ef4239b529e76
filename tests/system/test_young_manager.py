"""A manager that has just started, and executors that die under it."""

import sys

from tests.support.processes import Processes
from tests.system.fleet import Fleet, command, ended, history, outcomes, task

LONG_LEASE = {"ping_interval": 20, "suspend_after_pings": 20}
"""The lease, 400 seconds, is longer than any wait of a test."""

BARE = """
import asyncio, sys
import aiohttp

async def main():
    async with aiohttp.ClientSession() as client, client.ws_connect(sys.argv[1] + "/rpc") as socket:
        params = {"id": "bare", "app_names": ["system"], "capacity": 1, "protocol": 1}
        request = {"jsonrpc": "2.0", "id": 1, "method": "manager.connect", "params": params}
        await socket.send_json(request)
        async for message in socket:
            print(message.data, flush=True)

asyncio.run(main())
"""
"""An executor that says nothing of its process."""


async def test_an_executor_whose_process_was_killed_is_replaced_before_its_grace_ends(
    fleet: Fleet,
) -> None:
    fleet.settings = {**LONG_LEASE, "reconnect_grace": 300}
    manager = await fleet.manager()
    first = await fleet.executor(manager)
    client = fleet.client(manager)
    holds, gate = fleet.file("holds"), fleet.file("gate")
    await client.tasks.create(task("a", command("hold", file=holds, gate=gate)))
    await holds.has(1)
    second = await fleet.executor(manager)
    first.process.kill()
    await holds.has(2)
    gate.touch()
    done = await ended(client, "a")
    records = await history(client, done)
    assert outcomes(records) == ["LOST", "FINISHED"]
    assert [r["executor_id"] for r in records] == [first.id, second.id]


async def test_an_executor_whose_connection_closed_is_replaced_after_its_grace(
    fleet: Fleet, processes: Processes
) -> None:
    fleet.settings = {**LONG_LEASE, "reconnect_grace": 1}
    manager = await fleet.manager()
    client = fleet.client(manager)
    bare = processes.start([sys.executable, "-c", BARE, manager.url], "bare")
    await bare.logged('"result"')
    trace = fleet.file("trace")
    await client.tasks.create(task("a", command("note", file=trace)))
    await bare.logged("executor.run")
    second = await fleet.executor(manager)
    bare.kill()
    done = await ended(client, "a")
    records = await history(client, done)
    assert outcomes(records) == ["LOST", "FINISHED"]
    assert [r["executor_id"] for r in records] == ["bare", second.id]
