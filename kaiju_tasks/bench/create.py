"""Measures how fast clients create tasks while no executor is connected."""

import asyncio
import contextlib
import itertools
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import msgspec

from kaiju_tasks.bench.cluster import APP, EXECUTOR, Cluster, cluster, cpu_figures
from kaiju_tasks.bench.jobs import Job
from kaiju_tasks.bench.options import Options
from kaiju_tasks.bench.rows import Figure
from kaiju_tasks.client.transport import Answer, Transport, read_result
from kaiju_tasks.rpc.messages import encode_request

TASK = {"app_name": APP, "commands": Job("create", 1).commands}
CLIENTS = (1, 10, 50, 200)
MANY_CLIENTS = 50
WARM_UP = 50

Create = Callable[[], Awaitable[object]]


async def create(options: Options) -> AsyncIterator[Figure]:
    """Measure single creates: one after the other, and of many clients at once."""
    alone, together = options.tasks // 20, options.tasks // 4
    async with cluster(options) as one:
        over_http = partial(one.client.call, "tasks.create", data=TASK)
        async with _websocket(one.url) as over_websocket:
            for what, make, clients, count in (
                ("one by one, HTTP", over_http, 1, alone),
                ("one by one, WebSocket", over_websocket, 1, alone),
                (f"{MANY_CLIENTS} clients, HTTP", over_http, MANY_CLIENTS, together),
            ):
                for figure in await _created(one, "create", what, make, clients, count):
                    yield figure


async def clients(options: Options) -> AsyncIterator[Figure]:
    """Measure single creates over HTTP by the number of clients."""
    async with cluster(options) as one:
        make = partial(one.client.call, "tasks.create", data=TASK)
        for count in CLIENTS:
            tasks = options.tasks // (20 if count == 1 else 8)
            for figure in await _created(one, "clients", "create", make, count, tasks, count):
                yield figure


async def created_one_by_one(one: Cluster, part: str, count: int, at: int) -> list[Figure]:
    """Measure single creates over HTTP, one after the other."""
    make = partial(one.client.call, "tasks.create", data=TASK)
    return await _created(one, part, "create one by one", make, 1, count, at)


async def _created(
    one: Cluster,
    part: str,
    what: str,
    make: Create,
    clients: int,
    count: int,
    at: int | None = None,
) -> list[Figure]:
    """Create tasks and return the rate and the CPU times.

    :param clients: number of calls that are open at once
    """
    await _call(make, clients, WARM_UP)
    meter = await one.start_meter()
    started = time.perf_counter()
    await _call(make, clients, count)
    rate = count / (time.perf_counter() - started)
    await one.stop_meter(meter)
    return [
        Figure(part, what, "tasks/s", rate, at),
        *cpu_figures(part, what, meter, count, at, without=EXECUTOR),
    ]


async def _call(make: Create, clients: int, count: int) -> None:
    left = iter(range(count))

    async def client() -> None:
        for _ in left:
            await make()

    await asyncio.gather(*(client() for _ in range(clients)))


@contextlib.asynccontextmanager
async def _websocket(url: str) -> AsyncIterator[Create]:
    """Create tasks over one WebSocket, one at a time."""
    transport = Transport(url, None)
    numbers = itertools.count(1)
    socket = await transport.open_socket()

    async def create() -> None:
        params = {"data": {"id": uuid.uuid4().hex, **TASK}}
        await socket.send_str(encode_request(next(numbers), "tasks.create", params).decode())
        read_result(msgspec.json.decode((await socket.receive()).data, type=Answer))

    try:
        yield create
    finally:
        await socket.close()
        await transport.close()
