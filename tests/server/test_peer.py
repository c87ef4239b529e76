"""The manager's end of a WebSocket."""

import asyncio
from functools import partial
from typing import Any, cast

import pytest
from aiohttp import WSCloseCode, WSMsgType, web

from kaiju_tasks.server.peer import STALLED_SECONDS, Backlog, Peer
from tests.support.wait import wait_until


class Socket:
    """A WebSocket whose reader takes frames only while `reading` is set."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.asked = 0
        self.closed_with: tuple[int, bytes] | None = None
        self.reading = asyncio.Event()
        self.reading.set()

    async def send_frame(self, frame: bytes, opcode: WSMsgType) -> None:
        assert opcode is WSMsgType.TEXT
        self.asked += 1
        await self.reading.wait()
        self.sent.append(frame)

    async def close(self, *, code: int, message: bytes) -> None:
        self.closed_with = (code, message)


def make_peer(socket: Socket, **options: Any) -> Peer:
    return Peer(cast(web.WebSocketResponse, socket), **options)


async def test_frames_are_sent_in_their_order() -> None:
    socket = Socket()
    peer = make_peer(socket)
    frames = [b"%d" % i for i in range(100)]
    for frame in frames:
        peer.send(frame)
    await wait_until(lambda: socket.sent == frames, "all frames were sent")
    await peer.ended()


async def test_a_peer_that_does_not_read_is_closed_and_keeps_no_memory() -> None:
    socket = Socket()
    socket.reading.clear()
    peer = make_peer(socket, queued_bytes_max=1_000)
    for _ in range(100):
        peer.send(b"x" * 100)
    await wait_until(lambda: socket.closed_with, "it was closed")
    assert socket.closed_with is not None
    assert socket.closed_with[0] == WSCloseCode.TRY_AGAIN_LATER
    await peer.ended()


async def test_of_all_peers_the_one_with_the_longest_queue_is_closed() -> None:
    backlog = Backlog(limit=1_000)
    sockets = [Socket(), Socket(), Socket()]
    peers = [make_peer(socket, backlog=backlog) for socket in sockets]
    for socket, peer, frames in zip(sockets, peers, (2, 6, 1), strict=True):
        socket.reading.clear()
        for _ in range(frames):
            peer.send(b"x" * 100)
    assert backlog.bytes == 900
    peers[0].send(b"x" * 200)
    await wait_until(lambda: sockets[1].closed_with, "the second is closed")
    assert [socket.closed_with is None for socket in sockets] == [True, False, True]
    assert backlog.bytes == 500
    for socket in sockets:
        socket.reading.set()
    await wait_until(lambda: backlog.bytes == 0, "the others have read")
    peers[2].send(b"x" * 100)
    for peer in peers:
        await peer.ended()
    assert backlog.bytes == 0


async def test_what_was_read_does_not_count_as_waiting() -> None:
    socket = Socket()
    peer = make_peer(socket, queued_bytes_max=1_000)

    def sent(count: int) -> bool:
        return len(socket.sent) == count

    for count in range(1, 101):
        peer.send(b"x" * 100)
        await wait_until(partial(sent, count), "the frame was sent")
    assert socket.closed_with is None
    await peer.ended()


async def test_closing_sends_what_waits_first() -> None:
    socket = Socket()
    peer = make_peer(socket)
    peer.send(b"last words")
    peer.close()
    await wait_until(lambda: socket.closed_with, "it was closed")
    assert socket.sent == [b"last words"]
    await peer.ended()


async def test_nothing_is_sent_after_closing() -> None:
    socket = Socket()
    peer = make_peer(socket)
    peer.close()
    peer.send(b"too late")
    await wait_until(lambda: socket.closed_with, "it was closed")
    assert socket.sent == []
    await peer.ended()


async def test_what_is_offered_is_left_out_when_too_much_of_it_waits() -> None:
    socket = Socket()
    socket.reading.clear()
    peer = make_peer(socket, offered_bytes_max=1_000)
    peer.send(b"y" * 5_000)
    taken = [peer.offer(b"x" * 100) for _ in range(12)]
    assert taken == [True] * 10 + [False] * 2
    peer.send(b"an answer")
    socket.reading.set()
    await wait_until(lambda: len(socket.sent) == 12, "what waited was sent")
    assert socket.sent[-1] == b"an answer"
    assert peer.offer(b"x" * 1_000)
    assert socket.closed_with is None
    await peer.ended()


async def test_a_frame_is_taken_when_it_is_written() -> None:
    socket = Socket()
    socket.reading.clear()
    peer = make_peer(socket)
    taken: list[int] = []
    for i in range(3):
        peer.send(b"%d" % i, partial(taken.append, i))
    await wait_until(lambda: socket.asked, "the first frame is being written")
    assert taken == []
    socket.reading.set()
    await wait_until(lambda: taken == [0, 1, 2], "all frames were taken")
    await peer.ended()


async def test_a_peer_that_reads_slowly_is_not_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large frame goes out piece by piece, while other frames wait behind it."""
    now, unsent = 100.0, 900
    monkeypatch.setattr("kaiju_tasks.server.peer._now", lambda: now)
    socket = Socket()
    socket.reading.clear()
    peer = make_peer(socket, unsent=lambda: unsent, queued_bytes_max=1_000)
    peer.send(b"x" * 1_000)
    for _ in range(8):
        now, unsent = now + STALLED_SECONDS, unsent - 100
        peer.send(b"y" * 100)
    assert not peer.closed
    now += STALLED_SECONDS
    peer.send(b"y" * 100)
    assert peer.closed
    await peer.ended()


async def test_a_peer_that_reads_slowly_keeps_bounded_memory() -> None:
    socket = Socket()
    socket.reading.clear()
    left = iter(range(1_000, 0, -1))
    peer = make_peer(socket, unsent=lambda: next(left), queued_bytes_max=1_000)
    for _ in range(20):
        peer.send(b"x" * 100)
    assert not peer.closed
    peer.send(b"x")
    assert peer.closed
    await peer.ended()


async def test_a_peer_that_has_ended_counts_nothing() -> None:
    backlog = Backlog(limit=1_000)
    socket, other = Socket(), Socket()
    socket.reading.clear()
    peer, reader = (make_peer(one, backlog=backlog) for one in (socket, other))
    peer.send(b"x" * 500)
    await wait_until(lambda: socket.asked, "the frame is being written")
    await peer.ended()
    for _ in range(10):
        peer.send(b"x" * 500)
        peer.offer(b"x")
    assert (backlog.bytes, peer.queued_bytes) == (0, 0)
    reader.send(b"x" * 900)
    await wait_until(lambda: other.sent, "others are not closed because of it")
    await reader.ended()
