"""A connection pooler in front of PostgreSQL.

It is PgBouncer, if that is installed or apt can install it. Otherwise it is a proxy that refuses
parameters of a session as PgBouncer does, but gives each client its own session.
"""

import asyncio
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.fetching import FETCH_ERRORS, Fetcher, reason
from tests.support.orphans import OrphanGuard
from tests.support.ports import free_port
from tests.support.postgres import server_user, spawn_as_server
from tests.support.wait import PATIENCE_SECONDS, wait_until

FETCHER = Fetcher("pgbouncer")
SERVER_CONNECTIONS = 3
"""Fewer than the clients have, so that they share them."""
CONFIG = """
[databases]
* = host=127.0.0.1 port={target} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
max_client_conn = 200
default_pool_size = {size}
ignore_startup_parameters = {ignored}
"""
NO_SSL, SSL_REQUEST = b"N", 80877103
KNOWN = {"user", "database", "client_encoding", "application_name", "datestyle", "timezone"}
OURS = (
    "plan_cache_mode,jit,max_parallel_workers_per_gather,lock_timeout,statement_timeout,"
    "idle_in_transaction_session_timeout"
)


@asynccontextmanager
async def pooler(dsn: str, *, ignores: bool = False) -> AsyncIterator[str]:
    """A pooler in transaction mode.

    :param ignores: whether it drops parameters that it does not know, instead of refusing them
    :returns: the DSN by which it is used
    """
    parts = urlsplit(dsn)
    assert parts.port is not None
    port = free_port()
    program = await asyncio.to_thread(_find)
    opened = (
        _proxy(port, parts.port, ignores)
        if program is None
        else _pgbouncer(program, port, parts.port, ignores)
    )
    async with opened:
        netloc = parts.netloc.replace(f":{parts.port}", f":{port}")
        yield parts._replace(netloc=netloc).geturl()


def _find() -> str | None:
    """The path of PgBouncer; None if there is none and none can be installed."""
    path = f"{os.environ['PATH']}:/usr/sbin"
    with FETCHER.alone():
        if (found := shutil.which("pgbouncer", path=path)) is not None:
            return found
        try:
            FETCHER.apt("pgbouncer")
        except FETCH_ERRORS as error:
            FETCHER.say(f"cannot be installed: {reason(error)}")
        return shutil.which("pgbouncer", path=path)


@asynccontextmanager
async def _pgbouncer(program: str, port: int, target: int, ignores: bool) -> AsyncIterator[None]:
    with tempfile.TemporaryDirectory(prefix="kaiju-pgbouncer-") as name:
        folder = Path(name)
        if (user := server_user()) is not None:
            os.chown(folder, user.pw_uid, user.pw_gid)
        config = folder / "pgbouncer.ini"
        ignored = OURS if ignores else ""
        config.write_text(
            CONFIG.format(port=port, target=target, size=SERVER_CONNECTIONS, ignored=ignored)
        )
        with (folder / "log").open("wb") as log:
            process = spawn_as_server([program, str(config)], folder, log)
        guard = OrphanGuard('kill "$1"', str(process.pid))
        try:
            await wait_until(lambda: _listens(process, port, folder / "log"), "PgBouncer listens")
            yield
        finally:
            process.terminate()
            await asyncio.to_thread(process.wait, PATIENCE_SECONDS)
            guard.release()


async def _listens(process: "subprocess.Popen[bytes]", port: int, log: Path) -> bool:
    assert process.poll() is None, log.read_text()
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


@asynccontextmanager
async def _proxy(port: int, target: int, ignores: bool) -> AsyncIterator[None]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        code, body = await _startup(reader)
        if code == SSL_REQUEST:
            writer.write(NO_SSL)
            code, body = await _startup(reader)
        fields = body.rstrip(b"\0").split(b"\0")
        params = dict(zip(fields[::2], fields[1::2], strict=True))
        unknown = [name for name in params if name.decode() not in KNOWN]
        if unknown and not ignores:
            writer.write(_error(f"unsupported startup parameter: {unknown[0].decode()}"))
            writer.close()
            return
        known = [(name, value) for name, value in params.items() if name not in unknown]
        body = b"".join(b"%b\0%b\0" % one for one in known) + b"\0"
        upstream, to_server = await asyncio.open_connection("127.0.0.1", target)
        to_server.write(struct.pack("!ii", len(body) + 8, code) + body)
        await asyncio.gather(_copy(reader, to_server), _copy(upstream, writer))

    async with await asyncio.start_server(serve, "127.0.0.1", port):
        yield


async def _startup(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    length, code = struct.unpack("!ii", await reader.readexactly(8))
    return code, await reader.readexactly(length - 8)


def _error(text: str) -> bytes:
    fields = b"".join(one.encode() + b"\0" for one in ("SFATAL", "C08P01", f"M{text}")) + b"\0"
    return b"E" + struct.pack("!i", len(fields) + 4) + fields


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
    except ConnectionError:
        return
    finally:
        writer.close()
