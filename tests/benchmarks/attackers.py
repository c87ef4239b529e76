"""What one hostile principal can do to a manager, as a process of its own.

`python -m tests.benchmarks.attackers NAME URL USER_TOKEN EXECUTOR_TOKEN` attacks until it is
killed.
"""

import asyncio
import itertools
import json
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

import aiohttp

__all__ = ["ATTACKS", "STREAM", "prepare"]

STREAM = "evil"
MIB = 1024 * 1024
NICE = 19
FRAME_BYTES = 8 * MIB - 1024
LONG_TASKS = 240
LONG_TEXT = "a" * 20_000
LARGE_RESULTS = 30
LARGE_RESULT = "r" * 1_000_000
PATTERN = "%a" * 500 + "b"
TOO_LONG_PATTERN = "%a" * 4_500

Json = dict[str, Any]
Attack = Callable[["Attacker"], Awaitable[None]]


def call(method: str, params: Json, id: int = 1) -> Json:
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": params}


class Attacker:
    """A user and an executor of the stream `evil`."""

    def __init__(self, session: aiohttp.ClientSession, url: str, user: str, executor: str) -> None:
        self._session = session
        self.url = f"{url}/rpc"
        self._user = user
        self._executor = executor

    def socket(self) -> Any:
        """A WebSocket of the user."""
        return self._session.ws_connect(self.url, headers=_bearer(self._user), max_msg_size=0)

    def executor_socket(self) -> Any:
        """A WebSocket of the executor."""
        headers = _bearer(self._executor)
        return self._session.ws_connect(self.url, headers=headers, max_msg_size=0)

    async def post(self, body: Any) -> Any:
        """POST as the user."""
        headers = _bearer(self._user)
        async with self._session.post(self.url, json=body, headers=headers) as response:
            return await response.json()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A bare connection."""
        parts = urlsplit(self.url)
        return await asyncio.open_connection(parts.hostname, parts.port)

    def head(self, content_length: int) -> bytes:
        """The headers of a POST."""
        return (
            f"POST /rpc HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {self._user}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {content_length}\r\n\r\n"
        ).encode()


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def _hello(
    socket: aiohttp.ClientWebSocketResponse, name: str = "evil", capacity: int = 0
) -> None:
    params = {"id": name, "app_names": [STREAM], "capacity": capacity}
    await socket.send_json(call("manager.connect", params, id=0))
    while (await socket.receive_json()).get("id") != 0:
        pass


async def _read_all(socket: aiohttp.ClientWebSocketResponse) -> None:
    async for _ in socket:
        pass


async def _flood(
    open_socket: Callable[[], Any], frames: Callable[[int], str], *, hello: bool
) -> None:
    """Send frames as fast as they are taken, and read the answers. Comes back when it is closed."""
    for number in itertools.count():
        async with open_socket() as socket:
            if hello:
                await _hello(socket)
            reading = asyncio.create_task(_read_all(socket))
            try:
                for count in itertools.count(number * 1_000_000):
                    await socket.send_str(frames(count))
            except (aiohttp.ClientError, ConnectionError):
                await asyncio.sleep(0.1)
            finally:
                reading.cancel()


def _report(result: str) -> str:
    lease = '"id":"t","job_id":"j","epoch":1,"nonce":"n","stage":0'
    return (
        '{"jsonrpc":"2.0","id":1,"method":"manager.write_stage","params":{"reports":[{'
        f'{lease},"state":"finished","result":{result}}}]}}}}'
    )


async def nothing(attacker: Attacker) -> None:
    """No attack: by how much the figures differ anyway."""
    await asyncio.Event().wait()


async def ping_flood(attacker: Attacker) -> None:
    """An executor that pings and reports without a pause."""
    ping, report = json.dumps(call("manager.ping", {"id": "evil"})), _report("1")
    await _flood(attacker.executor_socket, lambda count: ping if count % 2 else report, hello=True)


async def large_reports(attacker: Attacker) -> None:
    """An executor that sends the largest frames without a pause."""
    frame = _report('"' + "x" * FRAME_BYTES + '"')
    await _flood(attacker.executor_socket, lambda _: frame, hello=True)


async def hard_floats(attacker: Attacker) -> None:
    """The largest frames, of numbers that are hard to read, with a fault at their end."""
    number = "1." + "7" * 30 + "e-300,"
    numbers = "[" + number * (FRAME_BYTES // len(number)) + "1]"
    whole, torn = _report(numbers), _report(numbers[:-1] + "NaN]")
    await _flood(attacker.executor_socket, lambda count: whole if count % 2 else torn, hello=True)


async def call_flood(attacker: Attacker) -> None:
    """A user with 20 sockets that calls without a pause."""
    body = json.dumps(call("tasks.list", {"limit": 100}))
    await asyncio.gather(*(_flood(attacker.socket, lambda _: body, hello=False) for _ in range(20)))


async def never_read(attacker: Attacker) -> None:
    """Sockets that ask for much and read nothing."""
    async with AsyncExitStack() as stack:
        body = json.dumps(call("tasks.list", {"columns": ["id", "result"], "limit": 1000}))
        while True:
            for _ in range(12):
                reader, writer = await attacker.connect()
                writer.write(_handshake(attacker))
                await reader.readuntil(b"\r\n\r\n")
                reader._transport.pause_reading()  # type: ignore[attr-defined]
                for _ in range(100):
                    writer.write(_frame(body.encode()))
                stack.callback(writer.close)
            await asyncio.sleep(1.0)


def _handshake(attacker: Attacker) -> bytes:
    return (
        "GET /rpc HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        f"Authorization: Bearer {attacker._user}\r\n\r\n"
    ).encode()


def _frame(payload: bytes) -> bytes:
    """A whole frame, masked with zeros."""
    return bytes([0x81, 0xFF]) + len(payload).to_bytes(8) + bytes(4) + payload


async def _keep_open(attacker: Attacker, count: int, sent: bytes) -> None:
    """Keep connections open over which some bytes were sent, and replace those that are closed."""
    async with AsyncExitStack() as stack:
        opened = 0

        async def one() -> None:
            nonlocal opened
            while True:
                reader, writer = await attacker.connect()
                stack.callback(writer.close)
                try:
                    writer.write(sent)
                    await writer.drain()
                    while await reader.read(65_536):
                        pass
                except ConnectionError:
                    pass
                await asyncio.sleep(0.1)

        await asyncio.gather(*(one() for _ in range(count)))


async def half_headers(attacker: Attacker) -> None:
    """500 connections whose headers do not end."""
    await _keep_open(attacker, 500, b"POST /rpc HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * 4_000)


async def idle_bodies(attacker: Attacker) -> None:
    """500 POSTs that announce a body and do not send it."""
    await _keep_open(attacker, 500, attacker.head(MIB))


async def half_bodies(attacker: Attacker) -> None:
    """500 POSTs that send all of their body but its end."""
    await _keep_open(attacker, 500, attacker.head(MIB) + b" " * (MIB - 1))


async def half_frames(attacker: Attacker) -> None:
    """500 WebSockets over which half a frame of 4 MiB was sent."""
    frame = _frame(b" " * 4_000_000)
    await _keep_open(attacker, 500, _handshake(attacker) + frame[:2_000_000])


async def likes(attacker: Attacker) -> None:
    """Patterns that take long, in lists, counts and bulk calls, and others that are too long."""
    hard, refused = {"description": {"like": PATTERN}}, {"description": {"like": TOO_LONG_PATTERN}}
    await _repeat(
        attacker,
        call("tasks.list", {"conditions": hard}),
        call("tasks.count", {"conditions": hard}),
        call("tasks.m_cancel", {"conditions": hard, "dry_run": True}),
        call("tasks.m_suspend", {"conditions": hard}),
        call("tasks.count", {"conditions": refused}),
    )


async def results(attacker: Attacker) -> None:
    """Batches of lists with all results."""
    one = call("tasks.list", {"columns": ["id", "result"], "limit": 1000})
    await _repeat(attacker, [one] * 100)


async def _repeat(attacker: Attacker, *bodies: Any, at_once: int = 30) -> None:
    async def one(number: int) -> None:
        for count in itertools.count(number):
            await attacker.post(bodies[count % len(bodies)])

    await asyncio.gather(*(one(number) for number in range(at_once)))


async def waits(attacker: Attacker) -> None:
    """2,560 waits over 40 sockets."""
    body = json.dumps(call("tasks.wait", {"id": "l0", "timeout": 60}))

    async def one() -> None:
        async with attacker.socket() as socket:
            for _ in range(64):
                await socket.send_str(body)
            async for _ in socket:
                await socket.send_str(body)

    await asyncio.gather(*(one() for _ in range(40)))


ATTACKS: dict[str, Attack] = {
    attack.__name__: attack
    for attack in (
        nothing,
        ping_flood,
        large_reports,
        hard_floats,
        call_flood,
        never_read,
        half_headers,
        idle_bodies,
        half_bodies,
        half_frames,
        likes,
        results,
        waits,
    )
}


async def prepare(url: str, user: str, executor: str) -> None:
    """Create the tasks that the attacks use: some with long texts, and some with large results."""
    async with aiohttp.ClientSession() as session:
        attacker = Attacker(session, url, user, executor)
        for start in range(0, LONG_TASKS, 40):
            data = [
                {
                    "id": f"l{number}",
                    "app_name": STREAM,
                    "description": LONG_TEXT,
                    "delay": 86_400,
                    "commands": [{"method": "work"}],
                }
                for number in range(start, start + 40)
            ]
            answer = await attacker.post(call("tasks.m_create", {"data": data}))
            assert "result" in answer, answer
        data = [
            {"id": f"r{number}", "app_name": STREAM, "commands": [{"method": "work"}]}
            for number in range(LARGE_RESULTS)
        ]
        answer = await attacker.post(call("tasks.m_create", {"data": data}))
        assert "result" in answer, answer
        await _run_large(attacker)


async def _run_large(attacker: Attacker) -> None:
    done = 0
    async with attacker.executor_socket() as socket:
        await _hello(socket, "evil", 1)
        while done < LARGE_RESULTS:
            message = await socket.receive_json()
            if message.get("method") == "executor.run":
                for task in message["params"]["tasks"]:
                    lease = {n: task[n] for n in ("id", "job_id", "epoch", "nonce", "stage")}
                    report = {**lease, "state": "finished", "result": LARGE_RESULT}
                    await socket.send_json(call("manager.write_stage", {"reports": [report]}))
            elif message.get("id") == 1:
                assert message["result"]["acks"] == [{"state": "released"}], message
                done += 1


async def main(name: str, url: str, user: str, executor: str) -> None:
    os.nice(NICE)
    timeout, connector = aiohttp.ClientTimeout(total=None), aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        print("attacking", flush=True)
        await ATTACKS[name](Attacker(session, url, user, executor))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
