"""What has arrived and is not answered yet is bounded."""

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiju_tasks.server import app, arrivals, traffic
from kaiju_tasks.server.arrivals import STALLED_SECONDS, Arrival, Arrivals
from kaiju_tasks.server.counted_socket import Payloads
from kaiju_tasks.server.traffic import Traffic
from kaiju_tasks.settings import load_settings
from tests.server.conftest import Site, open_site
from tests.support.wait import PATIENCE_SECONDS, wait_until

KIB = 1024
INFO = b'{"jsonrpc":"2.0","id":1,"method":"system.whoami"}'


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(arrivals, "_now", clock)
    return clock


class Closed(list[str]):
    """The connections that were closed, by name."""

    def begin(self, of: Arrivals, client: str, name: str) -> Arrival:
        return of.begin(client, lambda: self.append(name))


def test_what_is_answered_counts_no_more(clock: Clock) -> None:
    closed, all_ = Closed(), Arrivals(10)
    one = closed.begin(all_, "a", "a1")
    for _ in range(5):
        one.grew(10)
        one.shrank(4)
        one.ended()
    assert (all_.bytes, closed) == (0, [])


def test_the_client_with_the_most_is_closed(clock: Clock) -> None:
    closed, all_ = Closed(), Arrivals(10)
    sizes = {"a1": 4, "b1": 3, "b2": 2}
    opened = {name: closed.begin(all_, name[0], name) for name in sizes}
    for name, size in sizes.items():
        opened[name].grew(size)
    opened["b2"].grew(2)
    assert closed == ["b2"]
    assert all_.bytes == 7
    opened["b2"].shrank(4)  # it ends when it is closed
    assert all_.bytes == 7


def test_a_connection_without_progress_is_closed_before_larger_ones(clock: Clock) -> None:
    closed, all_ = Closed(), Arrivals(10)
    stalled, moving, new = (closed.begin(all_, "a", name) for name in ("stalled", "moving", "new"))
    moving.grew(4)
    stalled.grew(2)
    clock.now += STALLED_SECONDS
    moving.grew(1)
    moving.shrank(1)
    new.grew(5)
    assert closed == ["stalled"]
    new.grew(3)
    assert closed == ["stalled", "new"]


def test_the_connection_that_brings_more_is_closed_before_others_are_read_for_nothing(
    clock: Clock,
) -> None:
    closed, all_ = Closed(), Arrivals(1000 * KIB)
    first, second, small, other = (
        closed.begin(all_, name[0], name) for name in ("a1", "a2", "a3", "b1")
    )
    first.grew(600 * KIB)
    second.grew(300 * KIB)
    second.grew(150 * KIB)
    assert closed == ["a2"]
    other.grew(390 * KIB)
    small.grew(64 * KIB)
    assert closed == ["a2", "a1"]
    assert all_.bytes == (390 + 64) * KIB


def test_what_comes_after_the_end_is_not_counted(clock: Clock) -> None:
    closed, all_ = Closed(), Arrivals(10)
    one = closed.begin(all_, "a", "a1")
    one.grew(11)
    one.grew(5)
    assert (all_.bytes, closed) == (0, ["a1"])


@given(
    payloads=st.lists(st.tuples(st.sampled_from([1, 2, 0, 9, 10]), st.integers(0, 70_000))),
    cuts=st.lists(st.integers(0, 400_000), max_size=20),
    masked=st.booleans(),
)
def test_payloads_are_counted_however_the_stream_is_cut(
    payloads: list[tuple[int, int]], cuts: list[int], masked: bool
) -> None:
    stream, expected = bytearray(), 0
    for opcode, size in payloads:
        control = opcode >= 8
        size = min(size, 125) if control else size
        stream += frame(b"\xff" * size, opcode, masked=masked)
        expected += 0 if control else size
    bounds = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    count = Payloads()
    pieces = (bytes(stream[a:b]) for a, b in pairwise(bounds))
    assert sum(map(count.count, pieces)) == expected


def frame(payload: bytes, opcode: int = 1, *, masked: bool = True) -> bytes:
    size, mask = len(payload), b"\0\0\0\0" if masked else b""
    bit = 0x80 if masked else 0
    if size < 126:
        head = bytes([0x80 | opcode, bit | size])
    elif size < 1 << 16:
        head = bytes([0x80 | opcode, bit | 126]) + size.to_bytes(2)
    else:
        head = bytes([0x80 | opcode, bit | 127]) + size.to_bytes(8)
    return head + mask + payload


@pytest.fixture
async def small(
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[tuple[Site, Traffic]]:
    """A manager with room for 256 KiB of arrivals."""
    made: list[Traffic] = []

    def make(largest: int) -> Traffic:
        made.append(Traffic(0))
        return made[0]

    monkeypatch.setattr(traffic, "ARRIVED_BYTES", 256 * KIB)
    monkeypatch.setattr(app, "Traffic", make)
    async with open_site(load_settings(environ={})) as site:
        yield site, made[0]


HANDSHAKE = (
    b"GET /rpc HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
POST = b"POST /rpc HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"


@pytest.mark.parametrize("start", [HANDSHAKE, POST])
async def test_requests_that_do_not_become_complete_are_bounded(
    small: tuple[Site, Traffic], start: bytes
) -> None:
    site, occupied = small
    half = b"x" * 100 * KIB if start == POST else frame(b"x" * 200 * KIB)[: 100 * KIB]
    ended: list[asyncio.Task[bytes]] = []
    writers = []
    for _ in range(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(start + half)
        writers.append(writer)
        ended.append(asyncio.create_task(reader.read()))
        assert occupied.arrivals.bytes <= 256 * KIB
    await wait_until(lambda: sum(one.done() for one in ended) == 18, "all but two are closed")
    assert "result" in await site.call("system.whoami")
    for writer in writers:
        writer.close()
    await asyncio.gather(*ended, return_exceptions=True)
    await wait_until(lambda: occupied.arrivals.bytes == 0, "all bytes are given back")


async def test_a_frame_that_comes_with_the_handshake_is_counted_once(
    small: tuple[Site, Traffic],
) -> None:
    site, occupied = small
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(HANDSHAKE + frame(INFO) + frame(INFO)[:10])
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert b" 101 " in await reader.readline()
        await reader.readuntil(b'"result"')
    await wait_until(lambda: occupied.arrivals.bytes == 4, "the begin of the second is counted")
    writer.write(frame(INFO)[10:])
    async with asyncio.timeout(PATIENCE_SECONDS):
        await reader.readuntil(b'"result"')
    assert occupied.arrivals.bytes == 0
    writer.close()
