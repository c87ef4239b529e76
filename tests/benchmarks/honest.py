"""An honest creator of tasks and an honest executor, which keep a manager busy."""

import asyncio
import itertools
from typing import Any, Self

import aiohttp
import msgspec

__all__ = ["Honest"]

OPEN = 300
"""How many tasks are open at once."""
BATCH = 50
CAPACITY = 64
PING_SECONDS = 5.0

Json = dict[str, Any]


class Honest:
    """Creates tasks and runs them, as fast as the manager lets it. Both are in this process and do
    as little as possible, so that the manager is what is measured.

    :param creator: the token of a user
    :param executor: the token of an executor
    :ivar done: the number of tasks that have ended
    """

    def __init__(self, url: str, creator: str, executor: str) -> None:
        self._url = f"{url}/rpc"
        self._creator = creator
        self._executor = executor
        self._ids = itertools.count()
        self._room = asyncio.Semaphore(OPEN)
        self._tasks: list[asyncio.Task[None]] = []
        self.done = 0

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession()
        self._tasks = [asyncio.create_task(part()) for part in (self._create, self._run)]
        return self

    async def __aexit__(self, *exception: object) -> None:
        ended = [task for task in self._tasks if task.done()]
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.close()
        for task in ended:
            await task  # raises what ended it

    def _open(self, token: str) -> Any:
        headers = {"Authorization": f"Bearer {token}"}
        return self._session.ws_connect(self._url, headers=headers, max_msg_size=0)

    async def _create(self) -> None:
        async with self._open(self._creator) as socket:
            for number in itertools.count():
                for _ in range(BATCH):
                    await self._room.acquire()
                data = [
                    {"id": f"h{next(self._ids)}", "commands": [{"method": "do.echo"}]}
                    for _ in range(BATCH)
                ]
                call = {"jsonrpc": "2.0", "id": number, "method": "tasks.m_create"}
                await socket.send_json({**call, "params": {"data": data}})
                answer = await socket.receive_json()
                if "result" not in answer:
                    raise RuntimeError(f"honest tasks were refused: {answer}")

    async def _run(self) -> None:
        async with self._open(self._executor) as socket:
            params = {"id": "honest", "app_names": ["default"], "capacity": CAPACITY}
            await socket.send_json(_call("hello", "manager.connect", params))
            pings = asyncio.create_task(self._ping(socket))
            try:
                async for message in socket:
                    await self._receive(socket, msgspec.json.decode(message.data))
            finally:
                pings.cancel()
        raise RuntimeError(f"the connection of the honest executor was closed: {socket.close_code}")

    async def _ping(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        while True:
            await asyncio.sleep(PING_SECONDS)
            await socket.send_json(_call("ping", "manager.ping", {"id": "honest"}))

    async def _receive(self, socket: aiohttp.ClientWebSocketResponse, message: Json) -> None:
        if message.get("method") == "executor.run":
            reports = [_report(task) for task in message["params"]["tasks"]]
            await socket.send_json(_call("report", "manager.write_stage", {"reports": reports}))
        elif message.get("id") == "report":
            for ack in message["result"]["acks"]:
                assert ack["state"] == "released", message
                self.done += 1
                self._room.release()
        elif "error" in message:
            raise RuntimeError(f"the honest executor was refused: {message}")


def _report(task: Json) -> Json:
    lease = {name: task[name] for name in ("id", "job_id", "epoch", "nonce", "stage")}
    return {**lease, "state": "finished", "result": {"echo": 1}}


def _call(id: str, method: str, params: Json) -> Json:
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": params}
