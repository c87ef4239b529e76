"""What one client occupies is bounded, and leaves room for others."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from kaiju_tasks import http_runner
from kaiju_tasks.errors import TooManyRequests
from kaiju_tasks.manager.auth import TokenOrder, database_issuer
from kaiju_tasks.protocol import DEFAULT_FRAME_BYTES
from kaiju_tasks.rights import Kind
from kaiju_tasks.rpc import NoParams, Share
from kaiju_tasks.server import app, traffic
from kaiju_tasks.server.traffic import Answers, SocketCount
from kaiju_tasks.settings import load_settings
from tests.server.conftest import Site, open_site
from tests.support.wait import PATIENCE_SECONDS, wait_until

KIB = 1024
MINIMUM = traffic.REQUEST_BYTES_MIN


class Clients:
    """Requests that hold a share until they are let go."""

    def __init__(self, share: Share) -> None:
        self.share = share
        self.holding: list[str] = []
        self._let_go: dict[str, asyncio.Event] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def ask(self, name: str, size: int = MINIMUM) -> asyncio.Task[None]:
        """Ask for bytes; the client is the first letter of the name."""
        self._let_go[name] = asyncio.Event()
        task = asyncio.create_task(self._hold(name, size))
        self._tasks.append(task)
        await self._settle()
        return task

    async def _hold(self, name: str, size: int) -> None:
        taken = await self.share.take(name[0], size)
        self.holding.append(name)
        await self._let_go[name].wait()
        self.holding.remove(name)
        self.share.give(name[0], taken)

    async def end(self, name: str) -> list[str]:
        """Let one go. Returns who holds bytes then."""
        self._let_go[name].set()
        await self._settle()
        return self.holding

    async def _settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    async def end_all(self) -> None:
        for event in self._let_go.values():
            event.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@pytest.fixture
async def clients() -> AsyncIterator[Clients]:
    clients = Clients(Share(total=6 * MINIMUM, each=3 * MINIMUM, least=MINIMUM))
    yield clients
    await clients.end_all()
    assert await clients.share.take("x", 3 * MINIMUM) == 3 * MINIMUM
    assert await clients.share.take("y", 3 * MINIMUM) == 3 * MINIMUM


async def test_a_client_with_its_maximum_leaves_room_for_others(clients: Clients) -> None:
    for name in ("a1", "a2", "a3", "a4", "a5", "b1"):
        await clients.ask(name)
    assert clients.holding == ["a1", "a2", "a3", "b1"]
    assert await clients.end("a2") == ["a1", "a3", "b1", "a4"]
    assert await clients.end("b1") == ["a1", "a3", "a4"]


async def test_clients_that_wait_take_turns(clients: Clients) -> None:
    for name in ("a1", "a2", "a3", "b1", "b2", "b3", "c1", "c2", "d1"):
        await clients.ask(name)
    assert clients.holding == ["a1", "a2", "a3", "b1", "b2", "c1"]
    for name in ("a1", "a2", "b1"):
        await clients.end(name)
    assert clients.holding == ["a3", "b2", "c1", "d1", "b3"]


async def test_a_large_request_is_not_overtaken_for_ever(clients: Clients) -> None:
    for name in ("a1", "a2", "a3", "b1", "b2"):
        await clients.ask(name)
    await clients.ask("c1", 3 * MINIMUM)
    for name in ("d1", "d2"):
        await clients.ask(name)
    assert await clients.end("a1") == ["a2", "a3", "b1", "b2"]
    assert await clients.end("b1") == ["a2", "a3", "b2", "c1"]
    assert await clients.end("a2") == ["a3", "b2", "c1", "d1"]
    assert await clients.end("a3") == ["b2", "c1", "d1"]
    assert await clients.end("b2") == ["c1", "d1", "d2"]


async def test_clients_that_give_nothing_back_leave_room_for_one_that_has_none() -> None:
    clients = Clients(Share(total=64 * MINIMUM, each=16 * MINIMUM, least=MINIMUM))
    for number in range(20):
        for name in "abcdefghij":
            await clients.ask(f"{name}{number}")
    await clients.ask("x1")
    assert "x1" in clients.holding
    for name in "abcdefghij":
        assert sum(one[0] == name for one in clients.holding) >= 5
    await clients.end_all()


async def test_what_is_larger_than_a_share_counts_as_one(clients: Clients) -> None:
    await clients.ask("a1", 100 * MINIMUM)
    await clients.ask("b1")
    assert clients.holding == ["a1", "b1"]


async def test_a_request_that_is_given_up_keeps_nothing(clients: Clients) -> None:
    for name in ("a1", "a2", "a3"):
        await clients.ask(name)
    waiting = await clients.ask("a4")
    waiting.cancel()
    await clients.ask("a5")
    assert await clients.end("a1") == ["a2", "a3", "a5"]


async def test_sockets_are_counted_by_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "SOCKETS", 3)
    monkeypatch.setattr(traffic, "SOCKETS_EACH", 2)
    count = SocketCount()
    with count.opened("a"), count.opened("a"):
        with pytest.raises(TooManyRequests), count.opened("a"):
            pass
        with count.opened("b"), pytest.raises(TooManyRequests), count.opened("c"):
            pass
        with count.opened("c"):
            pass


class Slow:
    """A method that is not answered until it is let go."""

    def __init__(self) -> None:
        self.running = self.most = 0
        self.let_go = asyncio.Event()

    async def __call__(self, caller: Any, params: NoParams) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        await self.let_go.wait()
        self.running -= 1


@pytest.fixture
async def slow(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Site, Slow]]:
    """A manager with a share of four requests, two for each client."""
    monkeypatch.setattr(traffic, "REQUESTS_BYTES", 4 * MINIMUM)
    monkeypatch.setattr(traffic, "REQUESTS_BYTES_EACH", 2 * MINIMUM)
    monkeypatch.setattr(traffic, "REPORTS_BYTES", 4 * MINIMUM)
    monkeypatch.setattr(traffic, "REPORTS_BYTES_EACH", 2 * MINIMUM)
    monkeypatch.setattr(app, "Traffic", lambda largest: traffic.Traffic(0))
    slow = Slow()
    async with open_site(load_settings(environ={}), {"test.slow": slow}) as site:
        yield site, slow


async def test_a_flood_over_a_socket_is_read_no_faster_than_it_is_answered(
    slow: tuple[Site, Slow],
) -> None:
    site, method = slow
    request = {"jsonrpc": "2.0", "id": 1, "method": "test.slow"}
    async with site.socket() as socket:
        for _ in range(50):
            await socket.send_json(request)
        await wait_until(lambda: method.running == 2, "two are running")
        assert (await site.session.get(f"{site.url}/healthz")).status == 200
        method.let_go.set()
        for _ in range(50):
            answer = await socket.receive_json(timeout=PATIENCE_SECONDS)
            assert answer == {"jsonrpc": "2.0", "id": 1, "result": None}
    assert method.most == 2


async def test_posts_wait_for_room(slow: tuple[Site, Slow]) -> None:
    """Each of them over a connection of its own."""
    site, method = slow
    request = {"jsonrpc": "2.0", "id": 1, "method": "test.slow"}
    posts = [asyncio.create_task(site.post(request)) for _ in range(10)]
    await wait_until(lambda: method.running == 4, "four are running")
    method.let_go.set()
    for response in await asyncio.gather(*posts):
        assert (await response.json())["result"] is None
    assert method.most == 4


async def connected(socket: aiohttp.ClientWebSocketResponse, executor_id: str = "e1") -> None:
    params = {"id": executor_id, "app_names": ["default"], "capacity": 1}
    await socket.send_json(
        {"jsonrpc": "2.0", "id": 0, "method": "manager.connect", "params": params}
    )
    answer = await socket.receive_json(timeout=PATIENCE_SECONDS)
    assert answer["result"]["status"] == "ACTIVE"


async def test_the_frames_of_an_executor_are_bounded_too(
    slow: tuple[Site, Slow],
) -> None:
    site, method = slow
    request = {"jsonrpc": "2.0", "id": 1, "method": "test.slow"}
    async with site.socket() as socket:
        await connected(socket)
        for _ in range(50):
            await socket.send_json(request)
        await wait_until(lambda: method.running == 2, "two are running")
        async with site.socket() as other:
            await connected(other, "e2")
        method.let_go.set()
        for _ in range(50):
            await socket.receive_json(timeout=PATIENCE_SECONDS)
    assert method.most == 2


async def test_executors_have_room_of_their_own(slow: tuple[Site, Slow]) -> None:
    site, method = slow
    request = {"jsonrpc": "2.0", "id": 1, "method": "test.slow"}
    async with site.socket() as executor, AsyncExitStack() as stack:
        await connected(executor)
        for _ in range(4):
            socket = await stack.enter_async_context(site.socket())
            await socket.send_json(request)
        await wait_until(lambda: method.running == 4, "others have all of their room")
        ping = {"jsonrpc": "2.0", "id": 2, "method": "manager.ping", "params": {"id": "e1"}}
        await executor.send_json(ping)
        answer = await executor.receive_json(timeout=PATIENCE_SECONDS)
        assert answer["result"]["status"] == "ACTIVE"
        method.let_go.set()


async def test_the_largest_reports_of_several_executors_are_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """None of them needs more room than there is."""
    for name in ("REPORTS_BYTES", "REPORTS_BYTES_EACH", "ARRIVED_BYTES"):
        monkeypatch.setattr(traffic, name, MINIMUM)
    lease = {"id": "t", "job_id": "j", "epoch": 1, "nonce": "n", "stage": 0}
    report = {**lease, "state": "finished", "result": "x" * (DEFAULT_FRAME_BYTES - 10_000)}
    call = {"jsonrpc": "2.0", "id": 1, "method": "manager.write_stage"}
    body = json.dumps({**call, "params": {"reports": [report]}})

    async def report_twice(site: Site, executor_id: str) -> None:
        async with site.socket() as socket:
            await connected(socket, executor_id)
            for _ in range(2):
                await socket.send_str(body)
            for _ in range(2):
                answer = await socket.receive_json(timeout=PATIENCE_SECONDS)
                assert answer["result"]["acks"] == [{"state": "stale_lease"}]

    async with open_site(load_settings(environ={})) as site:
        await asyncio.gather(*(report_twice(site, f"e{number}") for number in range(3)))


async def test_bodies_that_do_not_come_hold_up_nobody(slow: tuple[Site, Slow]) -> None:
    site, _ = slow
    head = b"POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000\r\n\r\n"
    idle = []
    for _ in range(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(head)
        idle.append((reader, writer))
    async with site.socket() as socket:
        await connected(socket)
    assert "result" in await site.call("system.info")
    for _, writer in idle:
        writer.close()


async def test_the_posts_of_a_principal_are_counted_together(slow: tuple[Site, Slow]) -> None:
    site, method = slow
    order = TokenOrder(principal="ann", kind=Kind.USER)
    token = (await database_issuer(site.manager.store).create(order)).token
    site.manager.auth.changed()
    headers = {"Authorization": f"Bearer {token}"}
    request = {"jsonrpc": "2.0", "id": 1, "method": "test.slow"}
    posts = [asyncio.create_task(site.post(request, headers=headers)) for _ in range(10)]
    await wait_until(lambda: method.running == 2, "two are running")
    method.let_go.set()
    for response in await asyncio.gather(*posts):
        assert (await response.json())["result"] is None
    assert method.most == 2


async def test_too_many_sockets_are_refused_before_they_open(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traffic, "SOCKETS_EACH", 1)
    async with site.socket() as socket:
        response = await site.session.get(
            f"{site.url}/rpc",
            headers={
                "Connection": "Upgrade",
                "Upgrade": "websocket",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
            },
        )
        assert response.status == 429
        await socket.send_json({"jsonrpc": "2.0", "id": 1, "method": "system.whoami"})
        assert "result" in await socket.receive_json(timeout=PATIENCE_SECONDS)
    async with site.socket():
        pass


async def test_a_connection_without_a_request_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_runner, "HEADERS_SECONDS", 0.1)
    async with open_site(load_settings(environ={})) as site:
        for sent in (b"", b"POST /rpc HTTP/1.1\r\nHost: localhost\r\n"):
            reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
            writer.write(sent)
            async with asyncio.timeout(PATIENCE_SECONDS):
                assert await reader.read() == b""
            writer.close()


async def test_a_connection_that_has_sent_a_request_stays_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http_runner, "HEADERS_SECONDS", 0.1)
    async with open_site(load_settings(environ={})) as site:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        other, silent = await asyncio.open_connection("127.0.0.1", site.port)
        request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
        for _ in range(2):
            writer.write(request)
            async with asyncio.timeout(PATIENCE_SECONDS):
                assert b" 200 " in await reader.readuntil(b"}")
                await other.read()  # until the silent one is closed
        for one in (writer, silent):
            one.close()


@pytest.mark.parametrize("next_sent", [b"", b"POST /rpc HTTP/1.1\r\nHost: localhost\r\n"])
async def test_a_connection_without_a_next_request_is_closed(
    monkeypatch: pytest.MonkeyPatch, next_sent: bytes
) -> None:
    monkeypatch.setattr(http_runner, "IDLE_SECONDS", 0.1)
    async with open_site(load_settings(environ={})) as site:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" + next_sent)
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert b" 200 " in await reader.read()
        writer.close()


async def test_large_answers_that_are_not_read_are_bounded() -> None:
    answers, size = Answers(), 16 * 1024 * KIB
    unread = [web.Response() for _ in range(2)]
    for response in unread:
        answers.add("a", response, size)
    with pytest.raises(TooManyRequests):
        answers.add("a", web.Response(), size)
    answers.add("a", web.Response(), KIB)
    others = [web.Response() for _ in range(4)]
    for name, response in zip("bbcc", others, strict=True):
        answers.add(name, response, size)
    with pytest.raises(TooManyRequests):
        answers.add("d", web.Response(), size)
    del response, unread
    answers.add("a", web.Response(), size)
