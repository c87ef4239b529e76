"""What waits is counted, and what nobody waits for any more is given up."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from kaiju_tasks.api import Caller
from kaiju_tasks.errors import TooManyRequests
from kaiju_tasks.rights import EVERYTHING, Kind
from kaiju_tasks.rights.access import CALCULATE
from kaiju_tasks.rpc import Effort, Limits, NoParams, Registry, dispatch
from kaiju_tasks.rpc.held import Held
from kaiju_tasks.server import http, pace, websocket
from kaiju_tasks.server.traffic import Traffic
from tests.server.conftest import Site
from tests.server.test_tokens import token_of
from tests.support.wait import PATIENCE_SECONDS, wait_until

LIST = {"jsonrpc": "2.0", "id": 1, "method": "tasks.list", "params": {}}
UPGRADE = (
    b"GET /rpc HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)


def post_of(body: bytes, length: int | None = None) -> bytes:
    """The begin of a request, without the end of its headers."""
    size = len(body) if length is None else length
    return b"POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n" % size


class Raw:
    """A bare connection."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def send(self, data: bytes) -> None:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port)
        self.writer.write(data)
        await self.writer.drain()

    def abort(self) -> None:
        self.writer.transport.abort()


def others_work(traffic: Traffic) -> None:
    useful = Effort()
    useful.useful = True
    traffic.pace.answered("others", useful, 0)


@pytest.fixture
async def mallory(traffic: list[Traffic], site: Site, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The header of a principal that has to rest for hours."""
    monkeypatch.setattr(pace, "REST_SECONDS_MAX", 10_000.0)
    token = await token_of(site.manager, "mallory", Kind.USER)
    others_work(traffic[0])
    traffic[0].pace.charge("mallory", 1_000.0)
    return f"Authorization: Bearer {token}\r\n\r\n".encode()


@pytest.mark.parametrize("head", [UPGRADE, post_of(b"", 9_000)], ids=["socket", "post"])
async def test_what_comes_from_a_client_that_rests_is_counted(
    traffic: list[Traffic], site: Site, mallory: bytes, head: bytes
) -> None:
    arrivals = traffic[0].arrivals
    raws = [Raw(site.port) for _ in range(3)]
    for raw in raws:
        await raw.send(head + mallory + b"x" * 8_000)
    await wait_until(lambda: arrivals.bytes == 24_000, "what has come is counted")
    for raw in raws:
        raw.abort()


@pytest.mark.parametrize("head", [UPGRADE, post_of(b"", 9_000)], ids=["socket", "post"])
async def test_a_client_that_is_gone_is_noticed_although_it_is_not_read(
    traffic: list[Traffic], site: Site, mallory: bytes, head: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Callable[[], bool]] = []
    never = asyncio.Event()

    async def turn(client: str, is_gone: Callable[[], bool]) -> None:
        asked.append(is_gone)
        await never.wait()

    monkeypatch.setattr(traffic[0].pace, "turn", turn)
    raw = Raw(site.port)
    await raw.send(head + mallory + b"x" * 100)
    await wait_until(lambda: asked, "it waits for its turn")
    assert not asked[0]()
    raw.writer.close()
    await wait_until(asked[0], "it is gone")
    never.set()


async def test_those_that_are_gone_let_others_pass(
    traffic: list[Traffic], site: Site, mallory: bytes
) -> None:
    gone = False
    one = traffic[0].pace
    first = asyncio.create_task(one.turn("mallory"))
    await asyncio.sleep(0)
    others = [asyncio.create_task(one.turn("mallory", lambda: gone)) for _ in range(500)]
    await asyncio.sleep(0)
    gone = True
    first.cancel()
    async with asyncio.timeout(PATIENCE_SECONDS):
        await asyncio.gather(*others)


async def test_a_batch_whose_client_is_gone_is_not_read_to_its_end(
    traffic: list[Traffic], site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, let_go, reads = asyncio.Event(), asyncio.Event(), 0
    find = site.manager.store.find

    async def slow(*arguments: Any) -> Any:
        nonlocal reads
        reads += 1
        began.set()
        await let_go.wait()
        return await find(*arguments)

    callers: list[Caller] = []

    class Seen(Caller):
        def __init__(self, *arguments: Any, **more: Any) -> None:
            super().__init__(*arguments, **more)
            callers.append(self)

    monkeypatch.setattr(http, "Caller", Seen)
    monkeypatch.setattr(site.manager.store, "find", slow)
    body = json.dumps([LIST] * 5).encode()
    raw = Raw(site.port)
    await raw.send(post_of(body) + b"\r\n" + body)
    await began.wait()
    raw.abort()
    await wait_until(lambda: callers[0].gone, "the manager knows that the client is gone")
    let_go.set()
    await wait_until(lambda: not traffic[0].requests._used, "the request is over")
    assert reads == 1


async def test_refused_frames_cost_their_client(
    traffic: list[Traffic], site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frames beyond the open calls of a socket are read no faster than others."""
    monkeypatch.setattr(websocket, "AT_ONCE_MAX", 1)
    monkeypatch.setattr(websocket, "WAITING_MAX", 0)
    await site.call("tasks.create", data={"id": "never", "commands": [{"method": "work"}]})
    wait = {"jsonrpc": "2.0", "id": 5, "method": "tasks.wait"}
    refusals = 3 * int(pace.FREE_SECONDS / pace.MESSAGE_SECONDS)
    async with site.socket() as socket:
        for _ in range(refusals):
            await socket.send_json({**wait, "params": {"id": "never", "timeout": 60}})
        charged = traffic[0].pace._clients

        def spent() -> bool:
            return any(one.spent > pace.FREE_SECONDS for one in charged.values())

        await wait_until(spent, "the refusals are charged")


def test_answers_of_incomplete_batches_are_bounded() -> None:
    held = Held(total=100, each=60)
    with held.holding("a") as one, held.holding("a") as two:
        one.grow(40)
        two.grow(20)
        with pytest.raises(TooManyRequests):
            two.grow(1)
        with held.holding("b") as other:
            other.grow(40)
            with pytest.raises(TooManyRequests):
                other.grow(1)
    assert held.bytes == 0
    with held.holding("a") as one:
        one.grow(60)


async def test_a_batch_is_not_read_on_when_its_client_has_no_more_room() -> None:
    calls = 0

    async def read(caller: Any, params: NoParams) -> str:
        nonlocal calls
        calls += 1
        return "x" * 1_000

    registry = Registry(lambda caller: EVERYTHING)
    registry.add("read", read, access=CALCULATE, doc="For a test.")
    registry.batches = Held(total=10_000, each=1_500)
    batch = json.dumps([{"jsonrpc": "2.0", "id": n, "method": "read"} for n in range(5)])
    for _ in range(2):
        answer = await dispatch(registry, batch.encode(), "caller", Limits())
        assert answer is not None
        found = [one.get("error", {}).get("code") for one in json.loads(answer)]
        assert found == [None, 429, 413, 413, 413]
    assert (calls, registry.batches.bytes) == (4, 0)
