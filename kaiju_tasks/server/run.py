"""Assembles and runs a manager process: store, manager, web server and child executors."""

import asyncio
import contextlib
import errno
import logging
import resource
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from urllib.parse import urlsplit, urlunsplit

from aiohttp import web

from kaiju_tasks.api import method_registry
from kaiju_tasks.errors import SettingsError, reason_of
from kaiju_tasks.http_runner import Runner
from kaiju_tasks.manager import Manager
from kaiju_tasks.rpc import Registry
from kaiju_tasks.server.app import create_app
from kaiju_tasks.server.children import CannotStart, Children
from kaiju_tasks.server.exposure import check_host, warn_of_exposure
from kaiju_tasks.server.logs import connection_logger
from kaiju_tasks.server.signals import Stop, stop_signals
from kaiju_tasks.server.tls import load_certificate, tls_of
from kaiju_tasks.settings import Settings
from kaiju_tasks.store.base import StoreError
from kaiju_tasks.store.open import make_store
from kaiju_tasks.version import __version__

__all__ = ["CannotServe", "serve"]

logger = logging.getLogger(__name__)

HANDLERS_SECONDS = 1.0
LOOPBACK = "127.0.0.1"

Beside = Callable[[Manager, Registry, Settings], AbstractAsyncContextManager[None]]
"""A context manager factory for work that runs in the background while the manager is served."""


class CannotServe(Exception):
    """The manager cannot start.

    :param message: the problem and its solution
    :param exit_code: the exit code of the process
    """

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


async def serve(
    settings: Settings,
    *,
    executors: Sequence[str] = (),
    migrate: bool = True,
    beside: Sequence[Beside] = (),
    say: Callable[[str], None] = print,
    reload: Callable[[], Settings] | None = None,
) -> None:
    """Run a manager until SIGTERM or SIGINT. SIGHUP reads the certificate, the tokens and the log
    level again.

    :param executors: executors to run as child processes, each as `module:attribute`
    :param migrate: whether to create or migrate the tables; if False, they must be current
    :param beside: started when the manager listens, and ended before it stops listening
    :param say: called with one line when the manager is ready
    :param reload: reads the settings again and applies the log level
    :raises CannotServe: the manager cannot start; the message is for people
    :raises SettingsError: a setting is not valid, such as a host that requires a confirmation
    """
    _allow_many_connections()
    with stop_signals() as stop:
        async with contextlib.AsyncExitStack() as stack:
            manager = await stack.enter_async_context(_manager(settings, migrate))
            check_host(manager)
            registry, tls = method_registry(manager), tls_of(settings)
            listening = _listening(manager, registry, settings, tls, inside=bool(executors))
            address, inside = await stack.enter_async_context(listening)
            manager.spawn(warn_of_exposure(manager))
            stop.on_hangup = partial(_reload, manager, settings, tls, reload)
            for run in beside:
                await stack.enter_async_context(run(manager, registry, settings))
            say(f"kaiju-tasks {__version__} at {address} ({_without_password(settings.db)})")
            await _until_stopped(stop, Children(executors, inside, settings, manager.auth))


def _allow_many_connections() -> None:
    """Use as many file descriptors as this process may: clients must not use up those that it needs
    for its database."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # some systems refuse what they have announced
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _reload(
    manager: Manager,
    settings: Settings,
    tls: ssl.SSLContext | None,
    reload: Callable[[], Settings] | None,
) -> None:
    manager.auth.changed()
    try:
        read = settings if reload is None else reload()
        if tls is not None:
            load_certificate(tls, read)
    except SettingsError as error:
        logger.error("SIGHUP: everything stays as it was: %s", error)
    else:
        logger.info("SIGHUP: the certificate, the tokens and the log level were read again")


@contextlib.asynccontextmanager
async def _manager(settings: Settings, migrate: bool) -> AsyncIterator[Manager]:
    store = make_store(settings.db, connections=settings.db_connections)
    try:
        await store.open(migrate=migrate)
    except StoreError as error:
        raise CannotServe(str(error)) from error
    try:
        manager = Manager(store, settings)
        async with manager.running():
            yield manager
    except StoreError as error:
        raise CannotServe(str(error)) from error
    finally:
        await store.close()


@contextlib.asynccontextmanager
async def _listening(
    manager: Manager,
    registry: Registry,
    settings: Settings,
    tls: ssl.SSLContext | None,
    *,
    inside: bool,
) -> AsyncIterator[tuple[str, str]]:
    """
    :param inside: whether executors of this process connect, too
    :returns: the URL of the manager, and the URL for these executors. With TLS it is another port
        of the loopback interface, because the certificate has the public name.
    """
    app = create_app(manager, registry, settings)
    runner = Runner(app, HANDLERS_SECONDS, connection_logger())
    await runner.setup()
    try:
        site = web.TCPSite(runner, settings.host, settings.port, ssl_context=tls)
        try:
            await site.start()
        except (OSError, UnicodeError) as error:
            raise CannotServe(_cannot_listen(settings, error)) from error
        port = runner.addresses[0][1]
        if tls is None:
            address = _address(settings.host, port)
            yield address, address
            return
        address = _address(settings.host, port, "https")
        if not inside:
            yield address, address
            return
        await web.TCPSite(runner, LOOPBACK, 0).start()
        yield address, _address(LOOPBACK, runner.addresses[-1][1])
    finally:
        await runner.cleanup()


async def _until_stopped(stop: Stop, children: Children) -> None:
    children.start()
    waits = [asyncio.create_task(stop.wait()), asyncio.create_task(children.failed())]
    try:
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    except CannotStart as error:
        raise CannotServe(str(error), exit_code=2) from error
    finally:
        for task in waits:
            task.cancel()
        logger.info("stopping")
        stop.on_again = children.hurry
        await children.stop()


def _cannot_listen(settings: Settings, error: Exception) -> str:
    host, port = settings.host, settings.port
    if isinstance(error, socket.gaierror | UnicodeError):
        return f"The host {host!r} cannot be resolved. Use 127.0.0.1 or another local address."
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.EADDRINUSE:
        return (
            f"Port {port} on {host} is in use, possibly by another manager. "
            "Use another port: --port 0 chooses a free one."
        )
    if number == errno.EACCES:
        return f"This user may not listen on port {port}. Use a port from 1024."
    if number == errno.EADDRNOTAVAIL:
        return f"This machine does not have the address {host}."
    return f"Cannot listen on {host}, port {port}: {reason_of(error)}."


def _address(host: str, port: int, scheme: str = "http") -> str:
    reachable = {"0.0.0.0": LOOPBACK, "::": "::1"}.get(host, host)
    name = f"[{reachable}]" if ":" in reachable else reachable
    return f"{scheme}://{name}:{port}"


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    if not parts.hostname or parts.scheme.startswith("sqlite"):
        return url
    kept = parts.netloc.rpartition("@")[2]
    query = "&".join(p for p in parts.query.split("&") if not p.startswith("password="))
    user = f"{parts.username}@" if parts.username else ""
    return urlunsplit((parts.scheme, user + kept, parts.path, query, ""))
