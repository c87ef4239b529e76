"""Measures what a create costs without kaiju_tasks: `python -m tests.benchmarks.floor`.

A server of aiohttp, with uvloop, answers a `tasks.create` with constant JSON: at once, or after
asyncpg has inserted a row, with as many columns as a create writes, into a PostgreSQL with fsync.
Prints the CPU time of the server for each request, of rounds in turns. A manager that uses these
libraries cannot need less.
"""

import argparse
import asyncio
import gc
import statistics
import sys
import time

import asyncpg
import uvloop
from aiohttp import ClientSession, web

from kaiju_tasks.bench.cpu import Meter
from kaiju_tasks.cli.loop import GC_THRESHOLDS
from tests.benchmarks.goals import SETTINGS
from tests.support.postgres import PostgresServer

COLUMNS = 30
REQUEST = (
    b'{"jsonrpc":"2.0","id":1,"method":"tasks.create","params":{"data":{"app_name":"bench",'
    b'"commands":[{"method":"do.echo","params":{"data":1}}]}}}'
)
ANSWER = b'{"jsonrpc":"2.0","id":1,"result":{"id":"x","status":"QUEUED"}}'
KINDS = ("answer", "insert")
WARM_UP = 100


async def serve(dsn: str) -> None:
    """Answer requests until killed. Prints the port."""
    names = [f"c{number}" for number in range(COLUMNS)]
    connection = await asyncpg.connect(dsn)
    await connection.execute(f"CREATE TABLE rows ({', '.join(f'{name} text' for name in names)})")
    places = ", ".join(f"${number + 1}" for number in range(COLUMNS))
    insert = await connection.prepare(f"INSERT INTO rows VALUES ({places})")
    values = ["a value"] * COLUMNS

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        if request.path == "/insert":
            await insert.fetch(*values)
        return web.Response(body=ANSWER, content_type="application/json")

    app = web.Application()
    for kind in KINDS:
        app.router.add_post(f"/{kind}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


async def measure(dsn: str, requests: int, rounds: int) -> None:
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.benchmarks.floor", "--serve", dsn),
        stdout=asyncio.subprocess.PIPE,
    )
    assert server.stdout is not None
    url = f"http://127.0.0.1:{int(await server.stdout.readline())}"
    used: dict[str, list[float]] = {kind: [] for kind in KINDS}
    rates: dict[str, list[float]] = {kind: [] for kind in KINDS}
    try:
        async with ClientSession() as client:

            async def send(kind: str, count: int) -> None:
                for _ in range(count):
                    async with client.post(f"{url}/{kind}", data=REQUEST) as response:
                        assert await response.read() == ANSWER

            for _ in range(rounds):
                for kind in KINDS:
                    await send(kind, WARM_UP)
                    meter, began = Meter({"server": [server.pid]}), time.perf_counter()
                    await send(kind, requests)
                    rates[kind].append(requests / (time.perf_counter() - began))
                    meter.stop({"server": [server.pid]})
                    used[kind].append(meter.used["server"] / requests * 1e6)
    finally:
        server.kill()
        await server.wait()
    for kind in KINDS:
        print(
            f"{kind}: {statistics.median(used[kind]):.0f} µs of CPU, "
            f"{statistics.median(rates[kind]):.0f} each second"
        )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.floor", description=__doc__)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", metavar="DSN", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.serve:
        gc.set_threshold(*GC_THRESHOLDS)
        uvloop.run(serve(chosen.serve))
        return
    with PostgresServer(settings=SETTINGS) as postgres:
        dsn = postgres.create_database("floor")
        asyncio.run(measure(dsn, chosen.requests, chosen.rounds))


if __name__ == "__main__":
    main()
