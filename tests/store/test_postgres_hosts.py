"""A database with several hosts, of which one can be written to."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from kaiju_tasks.errors import SettingsError
from kaiju_tasks.rights import ALL_SIGHT
from kaiju_tasks.store import StoreUnavailable
from kaiju_tasks.store.postgres import PostgresStore
from kaiju_tasks.store.postgres.address import parse_address
from kaiju_tasks.store.postgres.bounds import Bounds
from tests.store.making import add
from tests.support.ports import free_port
from tests.support.postgres import Postgres
from tests.support.proxy import Proxy, proxy
from tests.support.wait import wait_until

SSL_REQUEST = 80877103
FULL_DISK = b"SFATAL\0VFATAL\0CXX000\0Mcould not write init file\0\0"


@pytest.fixture
async def way(postgres_dsn: str) -> AsyncIterator[Proxy]:
    async with proxy(urlsplit(postgres_dsn).port or 0) as opened:
        yield opened


def with_hosts(dsn: str, *hosts: str) -> str:
    parts = urlsplit(dsn)
    user = parts.netloc.rpartition("@")[0]
    return parts._replace(netloc=f"{user}@{','.join(hosts)}").geturl()


def host_of(dsn: str) -> str:
    return urlsplit(dsn).netloc.rpartition("@")[2]


def test_each_host_has_its_address() -> None:
    address = parse_address("postgresql://u:p@h1:1,[::1]:2,h3/db?schema=kaiju&sslmode=require")
    assert address.hosts == (
        "postgresql://u:p@h1:1/db?sslmode=require",
        "postgresql://u:p@[::1]:2/db?sslmode=require",
        "postgresql://u:p@h3/db?sslmode=require",
    )
    assert parse_address("postgresql://u@h1:1/db").hosts == ()
    with pytest.raises(SettingsError, match="malformed"):
        parse_address("postgresql://u@h1:1,h2:two/db")


async def test_a_host_that_cannot_be_reached_is_passed_over(
    postgres_dsn: str, way: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    dead = f"127.0.0.1:{free_port()}"
    silent = f"127.0.0.1:{way.port}"
    way.mute = True
    bounds = Bounds(connect_seconds=3.0)
    store = PostgresStore(
        with_hosts(postgres_dsn, dead, silent, host_of(postgres_dsn)), bounds=bounds
    )
    await store.open()
    await add(store, "a")
    await store.close()
    said = [one.message for one in caplog.records if one.levelno >= logging.WARNING]
    assert said == [f"the database is used at the host {host_of(postgres_dsn)} now"]


async def test_another_host_is_used_when_one_goes(postgres_dsn: str, way: Proxy) -> None:
    hosts = (f"127.0.0.1:{way.port}", host_of(postgres_dsn))
    store = PostgresStore(with_hosts(postgres_dsn, *hosts))
    await store.open()
    await add(store, "a")
    await way.close()

    async def works() -> bool:
        try:
            return len(await store.tasks(["a"], ALL_SIGHT)) == 1
        except StoreUnavailable:
            return False

    await wait_until(works, "the other host is used")
    await store.close()


async def test_no_host_at_all_gives_the_reason_of_each(postgres_dsn: str) -> None:
    hosts = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    with pytest.raises(StoreUnavailable, match="No host") as raised:
        await PostgresStore(with_hosts(postgres_dsn, *hosts)).open()
    assert all(host in str(raised.value) for host in hosts)


async def test_a_read_only_host_is_left(
    postgres_dsn: str, postgres_server: Postgres, way: Proxy
) -> None:
    database = urlsplit(postgres_dsn).path.removeprefix("/")
    hosts = (f"127.0.0.1:{way.port}", host_of(postgres_dsn))
    store = PostgresStore(with_hosts(postgres_dsn, *hosts))
    await store.open()
    await add(store, "a")
    read_only = f'ALTER DATABASE "{database}" SET default_transaction_read_only = '
    postgres_server.query(read_only + "on")
    way.cut()
    with pytest.raises(StoreUnavailable):
        await add(store, "b")
    with pytest.raises(StoreUnavailable, match="it is read-only") as raised:
        await add(store, "b")
    assert raised.value.brief == "no host of the database can be written to"
    postgres_server.query(read_only + "off")
    await add(store, "b")
    await store.close()


async def test_a_host_that_cannot_begin_a_session_is_passed_over(postgres_dsn: str) -> None:
    async with broken_server() as broken:
        store = PostgresStore(with_hosts(postgres_dsn, broken, host_of(postgres_dsn)))
        await store.open()
        await add(store, "a")
        await store.close()


async def test_a_server_that_cannot_begin_a_session_is_unavailable() -> None:
    async with broken_server() as broken:
        store = PostgresStore(f"postgresql://someone@{broken}/db")
        with pytest.raises(StoreUnavailable, match="cannot begin a session: could not write"):
            await store.open()


@asynccontextmanager
async def broken_server() -> AsyncIterator[str]:
    """A server that says what PostgreSQL does after a crash while its disk is full.

    :returns: its host and port
    """

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if int.from_bytes((await reader.read(1024))[4:8], "big") == SSL_REQUEST:
            writer.write(b"N")
            await reader.read(1024)
        writer.write(b"E" + (len(FULL_DISK) + 4).to_bytes(4, "big") + FULL_DISK)
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1") as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
