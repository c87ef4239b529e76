"""Keeps an executor connected to one of several managers: connects, pings and reconnects."""

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Callable, Coroutine, Sequence
from random import Random
from typing import Any

from msgspec import Raw, structs

from kaiju_tasks.errors import Conflict, MethodNotFound, NotAManager
from kaiju_tasks.executor.clock import Clock, within
from kaiju_tasks.executor.declared import DeclaredSchedules
from kaiju_tasks.executor.lease_watchdog import LeaseWatchdog
from kaiju_tasks.executor.log_sender import LogSender
from kaiju_tasks.executor.messages import (
    RpcError,
    decode_connect,
    decode_drain,
    decode_ping,
    decode_revoke,
    decode_run,
)
from kaiju_tasks.executor.reconnects import Reconnects
from kaiju_tasks.executor.report_sender import ReportSender
from kaiju_tasks.executor.runner import Runner
from kaiju_tasks.executor.session import Lost, Session
from kaiju_tasks.executor.start_gate import Moment
from kaiju_tasks.executor.transport import (
    Connection,
    ConnectionClosed,
    NoManagerThere,
    Refused,
    Transport,
)
from kaiju_tasks.executor.waits import DEFAULT_WAITS, waits_of
from kaiju_tasks.protocol import (
    PROTOCOL_VERSION,
    CommandInfo,
    ConnectParams,
    ConnectResult,
    Declaration,
    PingParams,
    SuspendExecutorParams,
)
from kaiju_tasks.types import ExecutorStatus

__all__ = ["Link", "Orphaned"]

logger = logging.getLogger("kaiju_tasks.executor")

DEFAULT_PING_SECONDS = 5.0
REFUSALS = frozenset({401, 403})
NOT_FOUND = 404
TAKEN_SECONDS = 30.0
"""An executor whose id another process uses tries for so long to connect: two leases by default."""
HOLDING_MAX = 5_000
"""With more leases than this, pings do not list them: they would be too large."""


class Orphaned(Exception):
    """No manager could be reached for `orphan_seconds`, and all work was stopped."""


class Link:
    """Connects a runner to one of several managers at a time.

    :param urls: at least one manager URL, tried in turn
    :param identity: the description of this executor; capacity, holding and attempt are filled in
    :param clock: the source of all times and waits
    :param random: the source of jitter between attempts
    :param schedules: declared to each manager that accepts this executor
    :ivar url: that of the manager in use
    :ivar ping_seconds: the setting of the manager
    :ivar connected: whether a manager has accepted this executor and the connection is open
    :ivar drain_asked: whether the manager has asked this executor to end after its current tasks
    :ivar active_at: the time of the last accepted or finished task, in seconds of the clock
    """

    def __init__(
        self,
        urls: Sequence[str],
        identity: ConnectParams,
        runner: Runner,
        transport: Transport,
        clock: Clock,
        random: Random,
        schedules: Sequence[Declaration] = (),
    ) -> None:
        if not urls:
            raise ValueError("at least one manager URL is needed")
        self._urls = itertools.cycle(urls)
        self.url = urls[0]
        self._identity = identity
        self._runner = runner
        self._transport = transport
        self._clock = clock
        self._reconnects = Reconnects(random)
        self._waits = DEFAULT_WAITS
        self._sender = ReportSender(
            runner.outbox, clock, random, self._expelled, self._reconnects.worked
        )
        self._logs = LogSender(runner.runtime.logs, clock, random)
        self._logs.on_settled = self._check_watchers
        self._schedules = DeclaredSchedules(schedules, clock)
        self._gate = runner.runtime.gate
        self._watchdog = LeaseWatchdog(clock, self._gate, runner.release_exclusive, self._orphaned)
        self.ping_seconds = DEFAULT_PING_SECONDS
        self._accepted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._session: Session | None = None
        self._announced = 0
        self._attempts = 0
        self._pings = 0
        self._was_connected = False
        self._taken_since: float | None = None
        self._logged_failures: set[str] = set()
        self._outdated = asyncio.Event()
        self._stopping = False
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._watchers: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self.connected = False
        self.drain_asked = False
        self.active_at = clock.time()
        runner.on_change = self._tasks_changed
        runner.runtime.on_capacity = self._changed
        self._gate.on_doubt = self._ask

    async def run(self) -> None:
        """Stay connected until `stop` has completed.

        :raises Orphaned: no manager could be reached for `orphan_seconds`
        :raises Refused: a manager refuses this executor, and none has accepted it before
        :raises NotAManager: a server is not a manager, and no manager has accepted this executor
            before
        """
        connecting = asyncio.create_task(self._keep_connected())
        try:
            await asyncio.wait((connecting, self._ended), return_when=asyncio.FIRST_COMPLETED)
            if not self._ended.done():
                await connecting
            await self._ended
        finally:
            self._watchdog.close()
            connecting.cancel()
            await asyncio.gather(connecting, return_exceptions=True)
            await self._transport.close()

    @property
    def orphan_seconds(self) -> float:
        """The setting of the manager."""
        return self._watchdog.orphan_seconds

    def kept_alive(self, asked: Moment) -> None:
        """Another thread has renewed the leases while the event loop was blocked.

        :param asked: when its ping was sent
        """
        self._watchdog.renewed(asked)
        if self.connected and self._session is not None and not self._pings:
            self._ping(self._session)  # the other thread has announced the capacity 0

    def announce(self, commands: list[CommandInfo]) -> None:
        """Announce other commands, with a new connection. The work continues."""
        self._identity = structs.replace(self._identity, commands=commands)
        self._outdated.set()

    async def stop(self, grace_seconds: float, reason: str | None = None) -> None:
        """Let running stages end, release all other tasks, send what is left and leave. Then `run`
        returns.

        A second call ends the waits of the first.

        :param grace_seconds: seconds for running stages, from 0
        :param reason: the reason that is sent to the manager
        """
        if self._stopping:
            self._end_waits()
            return
        self._stopping = True
        self._runner.stop()
        self._changed()
        try:
            await self._until(lambda: self._runner.empty, grace_seconds)
            self._runner.release_all()
            await self._until(lambda: self._runner.empty and self._logs.settled, self._waits.flush)
            await self._leave(reason)
        finally:
            self._end()

    async def _leave(self, reason: str | None) -> None:
        if self._session is None or not self.connected:
            return
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def answer(_: Raw | RpcError | Lost) -> None:
            if not answered.done():
                answered.set_result(None)

        params = SuspendExecutorParams(self._identity.id, reason)
        self._session.request("manager.suspend_executor", params, answer)
        await within(self._clock, self._waits.leave, answered)

    def _end(self, error: Exception | None = None) -> None:
        if self._ended.done():
            return
        if error is None:
            self._ended.set_result(None)
        else:
            self._ended.set_exception(error)

    async def _keep_connected(self) -> None:
        for url in self._urls:
            self.url = url
            try:
                connection = await self._transport.connect(url, self._reconnects.patience())
                try:
                    await self._serve(connection)
                finally:
                    await connection.close()
            except Refused as error:
                if not self._was_connected:
                    raise
                self._log_failure(url, error)
            except NoManagerThere as error:
                if not self._was_connected:
                    raise _not_a_manager(url, error) from error
                self._log_failure(url, error)
            except ConnectionClosed as error:
                if isinstance(error, _IdTaken):
                    self._refuse_if_taken(error)
                self._log_failure(url, error)
            if self._ended.done():  # a failure of the connection may have hidden the cancellation
                return
            await self._clock.sleep(self._reconnects.next(self._clock.time()))

    def _refuse_if_taken(self, error: "_IdTaken") -> None:
        # The other process may have died without a word: then its lease ends soon.
        now = self._clock.time()
        if self._taken_since is None:
            self._taken_since = now
        if not self._was_connected and now - self._taken_since >= TAKEN_SECONDS:
            raise Refused(str(error)) from error

    def _log_failure(self, url: str, error: ConnectionClosed) -> None:
        failure = f"manager {url}: {error}"
        level = logging.DEBUG if failure in self._logged_failures else logging.WARNING
        logger.log(level, "%s; will reconnect", failure)
        self._logged_failures.add(failure)

    async def _serve(self, connection: Connection) -> None:
        session = Session(connection, self._clock, self._notified)
        self._session = session
        self._accepted = asyncio.get_running_loop().create_future()
        self._connect(session)
        try:
            await _first_of(session.run(), self._keep_alive(session), self._until_outdated())
        finally:
            self._session = None
            if self.connected:
                self._watchdog.disconnected()
            self.connected = False
            self._sender.close()
            self._runner.runtime.calls.close()
            self._logs.close()
            self._schedules.close()

    def _connect(self, session: Session) -> None:
        asked = self._gate.moment()
        self._announced = self._runner.capacity
        self._attempts += 1
        self._outdated.clear()
        params = structs.replace(
            self._identity,
            capacity=self._announced,
            holding=self._runner.holding(),
            attempt=self._attempts,
        )

        def answered(answer: Raw | RpcError | Lost) -> None:
            if isinstance(answer, RpcError):
                raise _connect_error(answer)
            if not isinstance(answer, Lost):
                self._on_connected(session, decode_connect(answer), asked)

        session.request("manager.connect", params, answered)

    def _on_connected(self, session: Session, result: ConnectResult, asked: Moment) -> None:
        if abs(result.protocol - PROTOCOL_VERSION) > 1:
            raise Refused(
                f"the manager uses protocol {result.protocol}, this executor {PROTOCOL_VERSION}: "
                "they must not differ by more than 1"
            )
        self._was_connected = self.connected = True
        self._waits = waits_of(result)
        self._reconnects.accepted(self._clock.time(), self._waits)
        self._sender.longest_pause(self._waits.retry)
        self._logged_failures.clear()
        self.ping_seconds = result.ping_interval
        if not self._accepted.done():
            self._accepted.set_result(None)
        self._watchdog.lease_seconds = result.lease_seconds
        self._watchdog.orphan_seconds = result.orphan_seconds
        self._watchdog.reconnect_grace = result.reconnect_grace
        self._runner.runtime.max_result_bytes = result.max_result_bytes
        session.max_frame_bytes = result.max_frame_bytes
        self._runner.revoke(result.revoked)
        self._sender.open(session)
        self._runner.runtime.calls.open(session)
        self._logs.open(session)
        self._schedules.open(session)
        self._apply_status(result.status)
        self._watchdog.renewed(asked)
        self.active_at = self._clock.time()
        logger.info("connected to manager %s at %s", result.manager_id, self.url)

    async def _keep_alive(self, session: Session) -> None:
        # Wait for the answer to connect, because it brings the interval of the first ping, too.
        await within(self._clock, self.ping_seconds, self._accepted)
        while True:
            due = self._clock.time() + self.ping_seconds
            await self._clock.sleep(self.ping_seconds)
            oldest = session.oldest_unanswered()
            now = self._clock.time()
            was_blocked = now - due > self.ping_seconds  # answers may not have been read yet
            if oldest is not None and not was_blocked and now - oldest >= self.ping_seconds * 2:
                raise ConnectionClosed("the manager did not answer in time")
            if self.connected:
                self._ping(session)

    async def _until_outdated(self) -> None:
        await asyncio.shield(self._accepted)  # a connect is carried out before the next one is sent
        await self._outdated.wait()
        logger.info("connects again: the commands of this executor have changed")

    def _ask(self) -> None:
        """Ask the manager whether the leases stand, unless an answer is on its way."""
        if self.connected and self._session is not None and not self._pings:
            self._ping(self._session)

    def _ping(self, session: Session) -> None:
        asked = self._gate.moment()
        self._announced = self._runner.capacity
        self._pings += 1

        def answered(answer: Raw | RpcError | Lost) -> None:
            self._pings -= 1
            if isinstance(answer, RpcError):
                if answer.code == NOT_FOUND:
                    self._expelled()
                return
            if not isinstance(answer, Lost):
                self._apply_status(decode_ping(answer).status)
                self._watchdog.renewed(asked)

        holding = self._runner.holding()
        params = PingParams(
            self._identity.id,
            self._announced,
            holding if len(holding) <= HOLDING_MAX else None,
        )
        session.request("manager.ping", params, answered)

    def _apply_status(self, status: str) -> None:
        self._runner.draining = status != ExecutorStatus.ACTIVE
        self.drain_asked = status == ExecutorStatus.DRAINING
        self._changed()

    def _notified(self, method: str, params: Raw) -> None:
        match method:
            case "executor.run":
                self._runner.run(decode_run(params).tasks)
            case "executor.revoke":
                self._runner.revoke(decode_revoke(params).leases)
            case "executor.drain":
                logger.info("asked to drain: %s", decode_drain(params).reason or "no reason given")
                self._apply_status(ExecutorStatus.DRAINING)
            case "executor.resume":
                self._apply_status(ExecutorStatus.ACTIVE)
            case _ if not self.connected:
                raise NoManagerThere(f"it sent {method!r:.100} instead of an answer to connect")
            case _:
                logger.debug("ignored unknown notification %s, possibly of a newer manager", method)

    def _expelled(self) -> None:
        logger.warning("expelled by the manager: all tasks are dropped")
        self._runner.drop_all()
        raise ConnectionClosed("the manager does not know this executor any more")

    def _orphaned(self) -> None:
        self._runner.drop_all()
        self._end(Orphaned("no manager answered in time: all work was stopped"))

    def _tasks_changed(self) -> None:
        self.active_at = self._clock.time()
        self._changed()

    def _changed(self) -> None:
        session = self._session if self.connected else None
        if session is not None and self._announced != self._runner.capacity:
            self._ping(session)
        if self._watchers:
            self._check_watchers()

    async def _until(self, predicate: Callable[[], bool], seconds: float) -> None:
        if predicate():
            return
        watched: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        watcher = (predicate, watched)
        self._watchers.append(watcher)
        try:
            await within(self._clock, seconds, watched)
        finally:
            self._watchers.remove(watcher)

    def _check_watchers(self) -> None:
        for predicate, watched in self._watchers:
            if not watched.done() and predicate():
                watched.set_result(None)

    def _end_waits(self) -> None:
        for _, watched in self._watchers:
            if not watched.done():
                watched.set_result(None)


class _IdTaken(ConnectionClosed):
    """Another process is connected with the id of this executor."""


def _connect_error(answer: RpcError) -> ConnectionClosed:
    if answer.code == Conflict.code and _is_about(answer, "id"):
        return _IdTaken(f"refused: {answer.message}")
    if answer.code in REFUSALS or _is_about(answer, "protocol"):
        return Refused(f"refused: {answer.message}")
    if answer.code == MethodNotFound.code:
        return NoManagerThere(f"it does not accept executors: {answer.message}")
    return ConnectionClosed(f"refused: {answer.message}")


def _is_about(answer: RpcError, field: str) -> bool:
    return isinstance(answer.data, dict) and answer.data.get("field") == field


def _not_a_manager(url: str, error: NoManagerThere) -> NotAManager:
    return NotAManager(
        f"There is no kaiju_tasks manager at {url}: {error}. Use the URL at which "
        "`kaiju-tasks serve` listens, such as http://127.0.0.1:8077. A proxy in front of it must "
        "forward WebSockets.",
        url=url,
    )


async def _first_of(*coroutines: Coroutine[Any, Any, Any]) -> None:
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)
