"""Connections over which too much has arrived are closed a few at a time."""

import asyncio
import ssl
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from kaiju_tasks.server import closings
from kaiju_tasks.server import traffic as server_traffic
from kaiju_tasks.server.closings import AT_ONCE, HELD_SECONDS_MAX, INTERVAL_SECONDS, Turns
from kaiju_tasks.server.traffic import Traffic
from kaiju_tasks.settings import load_settings
from tests.server.conftest import open_site
from tests.server.test_arrivals import HANDSHAKE, KIB, POST, frame
from tests.server.test_tls import make_certificate
from tests.support.wait import wait_until

LIMIT = 256 * KIB
HALF = 100 * KIB
CONNECTIONS = 20
KEPT = LIMIT // HALF
"""How many connections there is room for."""
HELD = CONNECTIONS - KEPT - 2
HOUR = 3600.0


def test_the_first_connections_are_closed_at_once_and_others_in_turn() -> None:
    turns = Turns()
    found = [turns.next("a", 1000.0) for _ in range(AT_ONCE + 3)]
    later = [INTERVAL_SECONDS * number for number in (1, 2, 3)]
    assert found == pytest.approx([0.0] * AT_ONCE + later)
    assert turns.next("b", 1000.0) == 0.0


def test_a_client_that_behaves_again_begins_afresh() -> None:
    turns = Turns()
    for _ in range(2 * AT_ONCE):
        turns.next("a", 1000.0)
    assert turns.next("a", 1000.0 + INTERVAL_SECONDS) > INTERVAL_SECONDS
    after = 1000.0 + 4 * AT_ONCE * INTERVAL_SECONDS
    assert sum(turns.next("a", after) for _ in range(AT_ONCE)) == pytest.approx(0.0)


def test_no_connection_waits_longer_than_the_maximum() -> None:
    turns = Turns()
    assert max(turns.next("a", 1000.0) for _ in range(2_000)) == HELD_SECONDS_MAX


def test_clients_without_connections_are_forgotten() -> None:
    turns = Turns()
    for number in range(100):
        turns.next(f"client {number}", 1000.0)
    turns.next("last", 1000.0 + HELD_SECONDS_MAX)
    assert list(turns._next) == ["last"]


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is room for little, and after two connections the next one is closed in an hour."""
    monkeypatch.setattr(server_traffic, "ARRIVED_BYTES", LIMIT)
    monkeypatch.setattr(server_traffic, "FRAMES", 0)
    monkeypatch.setattr(closings, "AT_ONCE", 2)
    monkeypatch.setattr(closings, "INTERVAL_SECONDS", HOUR)
    monkeypatch.setattr(closings, "HELD_SECONDS_MAX", HOUR)


class Half:
    """Connections over which half of a request was sent."""

    def __init__(self, port: int, context: ssl.SSLContext | None) -> None:
        self._port = port
        self._context = context
        self._writers: list[asyncio.StreamWriter] = []
        self.ended: list[asyncio.Task[bytes]] = []

    async def open(self, start: bytes) -> None:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self._port, ssl=self._context, limit=HALF
        )
        half = b"x" * HALF if start == POST else frame(b"x" * 2 * HALF)[:HALF]
        writer.write(start + half)
        self._writers.append(writer)
        self.ended.append(asyncio.create_task(reader.read()))

    async def __aenter__(self) -> "Half":
        return self

    async def __aexit__(self, *exception: object) -> None:
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*self.ended, return_exceptions=True)

    @property
    def closed(self) -> int:
        return sum(one.done() for one in self.ended)


@pytest.mark.parametrize("start", [HANDSHAKE, POST], ids=["socket", "post"])
@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
async def test_what_is_not_closed_yet_is_held_without_memory(
    slow: None, traffic: list[Traffic], tmp_path: Path, start: bytes, secure: bool
) -> None:
    files = make_certificate(tmp_path, "x") if secure else {}
    context = ssl.create_default_context(cafile=files["tls_cert"]) if secure else None
    settings = load_settings(environ={}, overrides=files)
    async with AsyncExitStack() as stack:
        site = await stack.enter_async_context(open_site(settings))
        half = await stack.enter_async_context(Half(site.port, context))
        occupied = traffic[0]
        for _ in range(CONNECTIONS):
            await half.open(start)
            assert occupied.arrivals.bytes <= LIMIT
        await wait_until(lambda: occupied.closings.held == HELD, "the others are held open")
        await wait_until(lambda: half.closed == 2, "two are closed")
        await wait_until(lambda: handlers() == KEPT, "those that are held have no handler")
        occupied.closings.close_all()
        await wait_until(lambda: half.closed == 2 + HELD, "those that were held are closed")
        assert occupied.closings.held == 0


def handlers() -> int:
    """The number of connections for which the server has a task."""
    names = [task.get_coro().__qualname__ for task in asyncio.all_tasks()]  # type: ignore[union-attr]
    return names.count("RequestHandler.start")


async def test_others_are_answered_and_a_manager_that_stops_closes_what_it_holds(
    slow: None, traffic: list[Traffic]
) -> None:
    async with open_site(load_settings(environ={})) as site, Half(site.port, None) as half:
        for _ in range(CONNECTIONS):
            await half.open(POST)
        await wait_until(lambda: traffic[0].closings.held == HELD, "they are held open")
        assert "result" in await site.call("system.whoami")
    assert traffic[0].closings.held == 0


async def test_connections_are_closed_when_it_is_their_turn(
    slow: None, traffic: list[Traffic], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closings, "INTERVAL_SECONDS", 0.01)
    async with open_site(load_settings(environ={})) as site, Half(site.port, None) as half:
        for _ in range(CONNECTIONS):
            await half.open(POST)
        await wait_until(lambda: half.closed == 2 + HELD, "all but those in the room are closed")
        assert traffic[0].closings.held == 0


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
async def test_too_many_that_are_held_are_closed_early(
    slow: None,
    traffic: list[Traffic],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    secure: bool,
) -> None:
    monkeypatch.setattr(closings, "HELD_MAX", 3 * (closings.TLS_WEIGHT if secure else 1))
    files = make_certificate(tmp_path, "x") if secure else {}
    context = ssl.create_default_context(cafile=files["tls_cert"]) if secure else None
    settings = load_settings(environ={}, overrides=files)
    async with open_site(settings) as site, Half(site.port, context) as half:
        for _ in range(CONNECTIONS):
            await half.open(POST)
        await wait_until(lambda: half.closed == 2 + HELD - 3, "all but three are closed")
        assert traffic[0].closings.held == 3
