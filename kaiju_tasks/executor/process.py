"""Runs executors as a process: signals, lifespans, one link and an exit code."""

import asyncio
import contextlib
import logging
import os
import socket
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from random import Random

from kaiju_tasks.address import WEBSOCKET_SCHEMES, TokenSource, check_private, read_url
from kaiju_tasks.executor.announcement import fitting
from kaiju_tasks.executor.clock import Clock, SystemClock
from kaiju_tasks.executor.lifespans import lifespans
from kaiju_tasks.executor.link import Link, Orphaned
from kaiju_tasks.executor.outbox import Outbox
from kaiju_tasks.executor.registry import Executor
from kaiju_tasks.executor.runner import Runner
from kaiju_tasks.executor.runtime import Runtime, default_concurrency
from kaiju_tasks.executor.transport import Refused, Transport
from kaiju_tasks.executor.websocket import WebSocketTransport
from kaiju_tasks.protocol import CommandInfo, ConnectParams
from kaiju_tasks.signals import handling_signals
from kaiju_tasks.version import __version__

__all__ = ["DEFAULT_THREADS", "EXIT_ORPHANED", "EXIT_REFUSED", "restart_process", "run_executor"]

logger = logging.getLogger("kaiju_tasks.executor")

EXIT_ORPHANED = 75
"""EX_TEMPFAIL of sysexits.h: no manager could be reached."""
EXIT_REFUSED = 77
"""EX_NOPERM of sysexits.h: the manager refuses this executor."""
DEFAULT_THREADS = 32
IDLE_SECONDS = 1.0
IDLE_LOOK_SECONDS = 0.1


def restart_process() -> None:
    """Replace this process with a new one that has the same command line and pid."""
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


async def run_executor(
    executors: Executor | Sequence[Executor],
    manager_urls: str | Sequence[str],
    *,
    token: TokenSource = None,
    concurrency: int | None = None,
    threads: int = DEFAULT_THREADS,
    max_tasks: int | None = None,
    until_idle: bool = False,
    idle_seconds: float = IDLE_SECONDS,
    stop: asyncio.Event | None = None,
    shutdown_grace: float = 10.0,
    kill_grace: float = 5.0,
    executor_id: str | None = None,
    clock: Clock | None = None,
    transport: Transport | None = None,
    restart: Callable[[], None] | None = None,
    handle_signals: bool = True,
    on_ending: Callable[[int, bool], None] | None = None,
    health_port: int | None = None,
    health_host: str = "127.0.0.1",
) -> int:
    """Run the tasks of managers with these executors until the process is stopped.

    :param manager_urls: a URL, or several that are tried in turn; `/rpc` is added to a URL
        without a path
    :param token: a token of the kind `executor`; a function is called for each connection
    :param concurrency: maximum number of tasks held at once, from 1; None for 500, or `threads` if
        all commands need a thread or a process
    :param threads: maximum number of `def` and process commands that run at once, from 1
    :param max_tasks: restart the process after this many tasks; None for no limit
    :param until_idle: return after `idle_seconds` without tasks
    :param stop: an event that stops the executors in the same way as SIGTERM
    :param shutdown_grace: seconds that running stages get after SIGTERM, and then each lifespan
    :param kill_grace: seconds that a stopped stage gets before the process restarts
    :param executor_id: an id that is stable for the life of the process; None generates one
    :param restart: restarts the process; if it returns, this function returns too
    :param handle_signals: whether to handle SIGTERM, SIGINT and SIGHUP
    :param on_ending: called with the exit code, and whether the process is going to restart, before
        the lifespans end
    :param health_port: the port of `/healthz` and `/readyz`; None for no health server
    :returns: the exit code: 0, 75 if no manager could be reached, 77 if refused
    :raises ValueError: `concurrency` or `threads` is below 1, or executors or URLs are missing
    :raises InvalidParams: a URL or the token is malformed, or the token would be sent unencrypted
        to another machine
    :raises NotAManager: the server at a URL is not a manager, and no manager answered before
    """
    for name, number in (("concurrency", concurrency), ("threads", threads)):
        if number is not None and number < 1:
            raise ValueError(f"`{name}` must be at least 1, not {number}")
    urls = [manager_urls] if isinstance(manager_urls, str) else list(manager_urls)
    if transport is None:
        for url in urls:
            read_url(url, "manager_urls", schemes=WEBSOCKET_SCHEMES)
            if isinstance(token, str):
                check_private(url, "manager_urls")
    served = [executors] if isinstance(executors, Executor) else list(executors)
    clock = SystemClock() if clock is None else clock
    runtime = Runtime(served, clock, threads=threads, kill_grace=kill_grace)
    most = default_concurrency(served, threads) if concurrency is None else concurrency
    runner = Runner(runtime, Outbox(), concurrency=most, max_tasks=max_tasks)
    wire = WebSocketTransport(token) if transport is None else transport
    async with lifespans(served, shutdown_grace):
        identity = _identity(served, executor_id)
        schedules = [schedule for executor in served for schedule in executor.schedules]
        link = Link(urls, identity, runner, wire, clock, Random(), schedules)
        for executor in served:
            executor.offer.on_commands = lambda: link.announce(_commands(served))
        idle = idle_seconds if until_idle else None
        process = _Process(link, runner, clock, idle_seconds=idle, grace_seconds=shutdown_grace)
        runtime.on_stuck = process.stuck
        with handling_signals(process.terminate) if handle_signals else nullcontext():
            async with contextlib.AsyncExitStack() as stack:
                if stop is not None:
                    stack.enter_context(process.stopped_by(stop))
                if health_port is not None:
                    # aiohttp's server costs 50 ms of start-up, which most executors do not need
                    from kaiju_tasks.executor.health import health_server

                    health = health_server(health_port, lambda: link.connected, host=health_host)
                    await stack.enter_async_context(health)
                if transport is None and isinstance(clock, SystemClock):
                    # aiohttp's client is loaded already
                    from kaiju_tasks.executor.heartbeat import Heartbeat

                    heartbeat = Heartbeat(
                        link,
                        runner,
                        clock,
                        token,
                        identity.id,
                        kill_grace=kill_grace,
                        give_up=restart_process if restart is None else None,
                    )
                    heartbeat.start()
                    stack.callback(heartbeat.stop)
                code = await process.run()
                for _ in range(2):  # handle the signals that have come before this
                    await asyncio.sleep(0)
        runtime.threads.close()
        if on_ending is not None:
            ended = 0 if process.terminated else code
            on_ending(ended, process.restart_wanted is not None and restart is None)
        if runtime.lingering and process.restart_wanted:
            # Restart before the lifespans end: a stuck thread may still use their resources.
            process.restart(restart)
            return code
    if process.restart_wanted:
        process.restart(restart)
    return 0 if process.terminated else code


class _Process:
    def __init__(
        self,
        link: Link,
        runner: Runner,
        clock: Clock,
        *,
        idle_seconds: float | None,
        grace_seconds: float,
    ) -> None:
        self._link = link
        self._runner = runner
        self._clock = clock
        self._idle_seconds = idle_seconds
        self._grace_seconds = grace_seconds
        self._stops: set[asyncio.Task[None]] = set()
        self.terminated = False
        self._stuck = False
        self.restart_wanted: str | None = None

    async def run(self) -> int:
        watch = asyncio.create_task(self._watch())
        try:
            await self._link.run()
        except Orphaned as error:
            logger.error("%s", error)
            if self._idle_seconds is None:
                self._restart_later("no manager could be reached")
            return EXIT_ORPHANED
        except Refused as error:
            logger.error("%s", error)
            return EXIT_REFUSED
        finally:
            watch.cancel()
            for stop in self._stops:
                stop.cancel()
            await asyncio.gather(watch, *self._stops, return_exceptions=True)
        return 0

    def terminate(self) -> None:
        """End the process, even if it was about to restart. A second call ends the grace."""
        self.terminated = True
        self.restart_wanted = None
        self._stop(self._grace_seconds, "terminated")

    @contextlib.contextmanager
    def stopped_by(self, stop: asyncio.Event) -> Iterator[None]:
        async def wait() -> None:
            await stop.wait()
            self.terminate()

        waiting = asyncio.create_task(wait())
        try:
            yield
        finally:
            waiting.cancel()

    def stuck(self) -> None:
        """A stopped stage does not end. Its thread ends only with the process."""
        self._stuck = True
        self._restart_if_stuck()

    def _restart_if_stuck(self) -> None:
        # A process that ends anyway lets its other stages use their grace. One that takes no work
        # needs no slot, and after a restart it would have a new id, to which no drain applies.
        self._stuck = self._stuck and self._runner.runtime.lingering > 0
        if self._stuck and not self._ending and not self._runner.draining:
            self._restart_later("a stopped stage does not end")
            self._stop(0.0, "restart")

    def _restart_later(self, reason: str) -> None:
        if not self.terminated:
            self.restart_wanted = reason

    @property
    def _ending(self) -> bool:
        return self.terminated or self.restart_wanted is not None

    def restart(self, restart: Callable[[], None] | None) -> None:
        logger.warning("restarting the process: %s", self.restart_wanted)
        (restart_process if restart is None else restart)()

    def _stop(self, grace_seconds: float, reason: str) -> None:
        task = asyncio.create_task(self._link.stop(grace_seconds, reason))
        self._stops.add(task)

    async def _watch(self) -> None:
        while True:
            await self._clock.sleep(IDLE_LOOK_SECONDS)
            self._restart_if_stuck()
            if self._ending or not self._runner.empty:
                continue
            if self._runner.used_up and not self._runner.draining:
                self._restart_later("max_tasks has been reached")
                break
            if self._idle_seconds is None:
                continue
            if self._idle(self._idle_seconds) or self._link.drain_asked:
                break
        await self._link.stop(0.0, "done")

    def _idle(self, seconds: float) -> bool:
        quiet = self._clock.time() - self._link.active_at >= seconds
        return quiet and self._link.connected and self._runner.runtime.ceiling is None


def _identity(executors: Sequence[Executor], executor_id: str | None) -> ConnectParams:
    return ConnectParams(
        id=executor_id or f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}",
        app_names=[executor.app_name for executor in executors],
        commands=_commands(executors),
        host=socket.gethostname(),
        pid=os.getpid(),
        version=_version(executors),
        instance=uuid.uuid4().hex,
    )


def _version(executors: Sequence[Executor]) -> str:
    versions = dict.fromkeys(executor.version for executor in executors if executor.version)
    return ", ".join(versions) or __version__


def _commands(executors: Sequence[Executor]) -> list[CommandInfo]:
    one_stream = len(executors) == 1
    return fitting(
        [
            info
            for executor in executors
            for info in executor.announced(None if one_stream else executor.app_name)
        ]
    )
