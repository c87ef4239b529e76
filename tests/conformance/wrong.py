"""A naive executor, right or with a planted fault: `python -m tests.conformance.wrong FAULT`.

It masters just enough of the protocol to show that the cases notice each fault.
"""

import asyncio
import os
import signal
import sys
from typing import Any

import aiohttp

FAULT = sys.argv[-1]


def naive(fault: str) -> list[str]:
    """The command that starts it."""
    return [sys.executable, "-m", "tests.conformance.wrong", fault]


class Naive:
    """Runs one task at a time, on one connection after another."""

    def __init__(self) -> None:
        self.id = f"naive-{os.getpid()}"
        self.number = 0
        self.answers: dict[int, asyncio.Future[Any]] = {}
        self.socket: aiohttp.ClientWebSocketResponse | None = None

    async def run(self) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, sys.exit, 1)
        async with aiohttp.ClientSession() as session:
            while True:
                await self.serve(session)
                await asyncio.sleep(0.05)

    async def serve(self, session: aiohttp.ClientSession) -> None:
        try:
            async with session.ws_connect(os.environ["KAIJU_URL"] + "/rpc") as self.socket:
                connect = {"id": self.id, "app_names": ["default"], "capacity": 4}
                asking = asyncio.create_task(self.ask("manager.connect", connect))
                async for message in self.socket:
                    self.take(message.json())
                asking.cancel()
        except (OSError, aiohttp.ClientError):
            return

    async def ask(self, method: str, params: Any) -> Any:
        assert self.socket is not None
        self.number += 1
        request = {"jsonrpc": "2.0", "id": self.number, "method": method, "params": params}
        future = self.answers[self.number] = asyncio.get_running_loop().create_future()
        await self.socket.send_json(request)
        return await future

    def take(self, message: dict[str, Any]) -> None:
        if message.get("method") == "executor.run":
            for task in message["params"]["tasks"]:
                asyncio.get_running_loop().create_task(self.work(task))
        elif (future := self.answers.pop(message.get("id", 0), None)) and not future.done():
            future.set_result(message.get("result"))

    async def work(self, task: dict[str, Any]) -> None:
        token = {name: task[name] for name in ("id", "job_id", "epoch", "nonce")}
        if FAULT == "nonce":
            token["nonce"] = "x"
        for position, command in enumerate(task["commands"]):
            report = {**token, "stage": task["stage"] + position, **self.outcome(command)}
            asked = self.ask("manager.write_stage", {"reports": [report]})
            if FAULT == "hasty":
                asyncio.get_running_loop().create_task(asked)
                continue
            answer = await asked
            if report["state"] != "finished" or answer["acks"][0]["state"] != "ok":
                return

    def outcome(self, command: dict[str, Any]) -> dict[str, Any]:
        if command["method"] == "do.echo":
            return {"state": "finished", "result": command["params"]["data"], "seconds": 0.0}
        kind = "execution_error" if FAULT == "types" else "unknown_method"
        error = {"type": kind, "message": f"no {command['method']}"}
        return {"state": "failed", "error": error, "seconds": 0.0}


if __name__ == "__main__":
    asyncio.run(Naive().run())
