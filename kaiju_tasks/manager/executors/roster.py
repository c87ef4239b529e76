"""Connects executors, renews their leases, and suspends, drains and expels them."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
from msgspec import Raw

from kaiju_tasks.errors import Conflict, Forbidden, InvalidParams, NotFound, Unavailable
from kaiju_tasks.lifecycle import ExecutorLost, given_back
from kaiju_tasks.manager.dice import Dice
from kaiju_tasks.manager.executors.departures import Departures
from kaiju_tasks.manager.executors.frames import largest_frame
from kaiju_tasks.manager.executors.methods import Methods, announced, stored
from kaiju_tasks.manager.executors.processes import LocalProcess, has_ended_soon, local_process
from kaiju_tasks.manager.executors.reconciliation import lease_of
from kaiju_tasks.manager.executors.sessions import GONE, Connection, Filler, Session, Sessions
from kaiju_tasks.manager.executors.uptime import Uptime
from kaiju_tasks.manager.executors.visits import REST_SECONDS_MAX, Visits
from kaiju_tasks.manager.writing.changes import Change, Written
from kaiju_tasks.manager.writing.committer import Committer
from kaiju_tasks.protocol import PROTOCOL_VERSION, ConnectParams, ConnectResult, Lease, PingParams
from kaiju_tasks.settings import Settings
from kaiju_tasks.store.base import ExecutorRow, Ping, Store, StoreError, Transaction
from kaiju_tasks.types import AuditRecord, ExecutorStatus, Outcome

log = logging.getLogger(__name__)

EXPIRED_PER_PASS = 50
ENDED_SECONDS = 0.5
"""The lease of an executor whose process has ended: the processes of its commands end by then."""


class Roster:
    """Connects, renews and expels executors.

    :param manager_id: the id of this manager
    :param on_change: called with the id of an executor whose leases or status changed, if it is
        not connected to this manager
    :param on_resumed: called with the session of an executor that may take tasks again
    :param on_shortened: called after a lease was shortened
    :param spawn: runs a coroutine in the background
    :param new_filler: makes what fills the commands of an executor that does not
    """

    def __init__(
        self,
        store: Store,
        committer: Committer,
        sessions: Sessions,
        visits: Visits,
        uptime: Uptime,
        dice: Dice,
        settings: Settings,
        manager_id: str,
        *,
        on_change: Callable[[str], None],
        on_resumed: Callable[[Session], None],
        on_shortened: Callable[[], None],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        new_filler: Callable[[Session, ConnectParams], Filler],
    ) -> None:
        self._store = store
        self._new_filler = new_filler
        self._committer = committer
        self._sessions = sessions
        self._visits = visits
        self._uptime = uptime
        self._dice = dice
        self._settings = settings
        self._manager_id = manager_id
        self._on_change = on_change
        self._on_resumed = on_resumed
        self._on_shortened = on_shortened
        self._spawn = spawn
        self._departures = Departures(settings.lease_seconds)
        self._pings: dict[str, asyncio.Future[ExecutorStatus | None]] = {}
        self._pinging: asyncio.Task[None] | None = None
        self._written: asyncio.Future[None] | None = None  # done when the last write of pings is

    # -- connect -----------------------------------------------------------------------

    async def connect(
        self,
        params: ConnectParams,
        connection: Connection,
        owner: str | None = None,
        *,
        local: bool = False,
    ) -> tuple[ConnectResult, Session]:
        """Register an executor, or register it again after its connection was lost.

        A lease that both the executor and the store hold continues. A lease that only the
        executor holds is revoked. A task that only the store has leased to it is requeued.

        :param owner: the principal on whose behalf the executor connects
        :param local: whether the connection comes from this machine
        :raises InvalidParams: the protocol version is not supported
        :raises Forbidden: an executor of another principal has this id
        :raises Conflict: the executor has connected again since it asked for this, or another
            process is connected with this id
        :raises Unavailable: the database cannot be reached
        """
        protocol = _common_version(params.protocol)
        nonce = self._dice.nonce()
        before = self._sessions.get(params.id)
        again = before is not None and before.connection is connection
        methods = announced(params.commands, params.app_names)
        status, kept, requeued, methods_before = await self._committer.transact(
            lambda tx: self._register(tx, params, nonce, owner)
        )
        session = Session(
            params.id, nonce, connection, params.app_names, params.capacity, status, methods
        )
        session.keep(kept, methods if methods_before is None else methods_before)
        if params.fill:
            session.filler = self._new_filler(session, params)
        session.owner = owner
        session.process = local_process(params.host, params.pid) if local else None
        self._sessions.add(session)
        self._departures.forget(params.id)
        self._let_rest(session, again=again)
        if requeued and again:
            session.revoke(requeued)  # they may have been pushed just before it sent `holding`
        held = set(kept)
        settings = self._settings
        result = ConnectResult(
            protocol=protocol,
            manager_id=self._manager_id,
            ping_interval=settings.ping_interval,
            lease_seconds=settings.lease_seconds,
            reconnect_grace=settings.reconnect_grace,
            orphan_seconds=settings.orphan_seconds,
            max_result_bytes=settings.max_result_bytes,
            max_frame_bytes=largest_frame(settings),
            status=status,
            revoked=[lease for lease in params.holding if lease not in held],
            fill=params.fill,
        )
        return result, session

    def _let_rest(self, session: Session, *, again: bool) -> None:
        """Give an executor no tasks for a while if it comes and goes without useful work.

        :param again: whether it has repeated its connect over the same connection
        """
        now, executor_id = asyncio.get_running_loop().time(), session.executor_id
        rest = self._visits.rest_of if again else self._visits.came
        seconds = rest(executor_id, now)
        if seconds <= 0:
            return
        session.rest(seconds)
        log.log(
            logging.WARNING if seconds == REST_SECONDS_MAX else logging.INFO,
            "executor %s comes and goes without useful work: it gets no tasks for %.1f s",
            executor_id,
            seconds,
        )

    async def _register(
        self, tx: Transaction, params: ConnectParams, nonce: str, owner: str | None
    ) -> Written[tuple[ExecutorStatus, list[Lease], list[Lease], dict[str, Methods] | None]]:
        """:returns: the status, the leases that continue, the leases that were requeued, and the
        methods that the executor had before, by stream, if they may be others"""
        known = await tx.lock_executor(params.id)
        status = ExecutorStatus.ACTIVE
        if known is not None and known.status not in GONE:
            status = known.status
            if None not in (known.owner, owner) and known.owner != owner:
                raise Forbidden(f"an executor with the id {params.id!r} is connected", field="id")
        if known is not None and self._is_taken(params, known, tx.now):
            place = f"process {known.pid} on {known.host}" if known.host else "another process"
            raise Conflict(
                f"the executor id {params.id!r} is in use by {place}, which is connected: give "
                "each process an id of its own, or none",
                field="id",
            )
        if known is not None and _is_overtaken(params, known):
            raise Conflict("the executor has connected again meanwhile: this connect is too late")
        leased = {row.id: row for row in await tx.lock_leased(params.id)}
        kept = [
            lease
            for lease in params.holding
            if lease.id in leased and lease_of(leased[lease.id]) == lease
        ]
        for lease in kept:
            del leased[lease.id]
        row = self._row(params, nonce, owner, status, tx.now)
        before = None
        if kept and known is not None and bytes(known.commands) != bytes(row.commands):
            before = stored(known.commands, known.app_names)
        await tx.put_executor(row)
        changes = await self._committer.advance_rows(tx, leased.values(), given_back(params.id))
        requeued = [lease_of(row) for row in leased.values()]
        return Written((status, kept, requeued, before), changes)

    def _is_taken(self, params: ConnectParams, known: ExecutorRow, now: float) -> bool:
        """Whether another process is connected with this id. One whose connection was seen to
        close, or that has been silent for two pings, no longer is."""
        if known.status in GONE or None in (params.instance, known.instance):
            return False
        settings = self._settings
        silent = now - known.last_ping > 2 * settings.ping_interval
        closed = known.lease_until <= now + settings.reconnect_grace
        return params.instance != known.instance and not silent and not closed

    def _row(
        self,
        params: ConnectParams,
        nonce: str,
        owner: str | None,
        status: ExecutorStatus,
        now: float,
    ) -> ExecutorRow:
        return ExecutorRow(
            id=params.id,
            session=nonce,
            status=status,
            app_names=params.app_names,
            commands=Raw(msgspec.json.encode(params.commands)),
            capacity=params.capacity,
            host=params.host,
            pid=params.pid,
            version=params.version,
            manager_id=self._manager_id,
            connected_at=now,
            last_ping=now,
            lease_until=now + self._settings.lease_seconds,
            owner=owner,
            instance=params.instance,
            attempt=params.attempt,
        )

    # -- renew -------------------------------------------------------------------------

    def session(self, executor_id: str) -> Session | None:
        """The session of an executor that is connected to this manager."""
        return self._sessions.get(executor_id)

    async def ping(self, params: PingParams, session: Session | None) -> ExecutorStatus:
        """Renew an executor's lease.

        :raises NotFound: it was expelled, or is connected elsewhere: it must reconnect
        """
        if session is None or session.executor_id != params.id or not session.open:
            raise _unknown(params.id)
        if params.capacity is not None:
            session.capacity = params.capacity
        before = session.status
        status = await self._renew(session)
        if status is None:
            self._sessions.remove(session)
            raise _unknown(params.id)
        if session.status is before:  # else an operator has changed it meanwhile
            self.change_status(session, status)
        return session.status

    async def _renew(self, session: Session) -> ExecutorStatus | None:
        """Write a ping. Pings that arrive during a write are written together by the next one."""
        future = self._pings.get(session.executor_id)
        if future is None:
            future = self._pings[session.executor_id] = asyncio.get_running_loop().create_future()
        if self._pinging is None or self._pinging.done():
            self._pinging = asyncio.create_task(self._write_pings())
        return await asyncio.shield(future)  # other pings of this executor may share it

    async def _write_pings(self) -> None:
        while self._pings:
            waiting, self._pings = self._pings, {}
            written = self._written = asyncio.get_running_loop().create_future()
            pings = [
                Ping(session.executor_id, session.nonce, session.capacity)
                for session in self._sessions
                if session.executor_id in waiting
            ]
            try:
                statuses = await self._store.ping(pings, self._settings.lease_seconds)
            except Exception as exc:
                self._uptime.reached(False)
                error = exc
                if isinstance(exc, StoreError):
                    error = Unavailable(f"the database cannot be reached: {exc}")
                for future in waiting.values():
                    if not future.done():
                        future.set_exception(error)
                        future.exception()  # retrieve it: its waiters may all be cancelled
                continue
            finally:
                written.set_result(None)
            self._uptime.reached(True)
            for executor_id, future in waiting.items():
                if not future.done():
                    future.set_result(statuses.get(executor_id))

    async def stop(self) -> None:
        """Write the pending pings, then return."""
        if self._pinging is not None:
            await asyncio.gather(self._pinging, return_exceptions=True)

    # -- disconnect, leave, suspend ----------------------------------------------------

    async def closed(self, session: Session) -> None:
        """Shorten the lease to `reconnect_grace` seconds: the socket closed without a leave. A
        process of this machine that has ended does not come back: its lease ends sooner."""
        was_open = session.open
        self._sessions.remove(session)
        if not was_open:
            return
        if self._written is not None:  # a ping that is being written lengthens the lease again
            await asyncio.shield(self._written)
        await self._shorten(session, self._settings.reconnect_grace)
        if session.process is not None:
            self._spawn(self._look_after(session, session.process))

    async def _look_after(self, session: Session, process: LocalProcess) -> None:
        if not await has_ended_soon(process):
            return
        try:
            await self._shorten(session, min(ENDED_SECONDS, self._settings.reconnect_grace))
        except StoreError as exc:
            log.warning("the process of executor %s has ended: %s", session.executor_id, exc)

    async def _shorten(self, session: Session, seconds: float) -> None:
        await self._store.shorten_lease(session.executor_id, session.nonce, seconds)
        self._departures.closed(session.executor_id, session.nonce, seconds)
        self._on_shortened()

    async def leave(self, executor_id: str, session: Session | None = None) -> None:
        """Let an executor leave. Its tasks are requeued, which does not count as a loss.

        :param session: that which leaves; nothing happens if the executor has connected again. None
            for any
        :raises NotFound: no such executor
        """
        nonce = None if session is None else session.nonce
        await self._end(executor_id, ExecutorStatus.GONE, Outcome.RELEASED, session=nonce)
        self._visits.worked(executor_id)

    async def dismiss(self, session: Session) -> None:
        """Let an executor leave that may not serve any more. Its tasks are requeued, which does not
        count as a loss. If it has connected again, nothing happens.

        :raises NotFound: it is not known any more
        :raises Unavailable: the database cannot be reached
        """
        await self._end(
            session.executor_id, ExecutorStatus.GONE, Outcome.RELEASED, session=session.nonce
        )
        self._sessions.remove(session)

    async def suspend(self, executor_id: str, audit: AuditRecord | None = None) -> None:
        """Suspend an executor until `resume`: its leases are revoked and it gets no tasks.

        :param audit: written in the same transaction if the executor's status changes
        :raises NotFound: no such executor
        """
        await self._end(executor_id, ExecutorStatus.SUSPENDED, Outcome.SUSPENDED, audit)

    async def resume(self, executor_id: str, audit: AuditRecord | None = None) -> None:
        """Let a suspended or draining executor take tasks again.

        :param audit: written in the same transaction if the executor's status changes
        :raises NotFound: no such executor
        """
        await self._set_status(executor_id, ExecutorStatus.ACTIVE, audit)

    async def drain(self, executor_id: str, audit: AuditRecord | None = None) -> None:
        """Give an executor no new tasks. The tasks that it holds continue.

        :param audit: written in the same transaction if the executor's status changes
        :raises NotFound: no such executor
        """
        await self._set_status(executor_id, ExecutorStatus.DRAINING, audit)

    async def _set_status(
        self, executor_id: str, status: ExecutorStatus, audit: AuditRecord | None
    ) -> None:
        async def work(tx: Transaction) -> Written[None]:
            executor = await tx.lock_executor(executor_id)
            if executor is None or executor.status in GONE:
                raise _no_executor(executor_id)
            if audit is not None and executor.status is not status:
                await tx.add_audit([audit])
            executor.status = status
            await tx.put_executor(executor)
            return Written(None, [])

        await self._committer.transact(work)
        session = self._sessions.get(executor_id)
        if session is not None:
            self.change_status(session, status)
        else:
            self._on_change(executor_id)

    def change_status(self, session: Session, status: ExecutorStatus) -> None:
        """Apply the status that the store holds to a session."""
        if status is session.status:
            return
        session.change_status(status)
        if status is ExecutorStatus.ACTIVE:
            self._on_resumed(session)

    async def _end(
        self,
        executor_id: str,
        status: ExecutorStatus,
        outcome: Outcome,
        audit: AuditRecord | None = None,
        *,
        session: str | None = None,
    ) -> None:
        """:param session: end only this session; None for any"""

        async def work(tx: Transaction) -> Written[list[Change] | None]:
            executor = await tx.lock_executor(executor_id)
            if executor is None:
                raise _no_executor(executor_id)
            if session not in (None, executor.session):
                return Written(None, [])
            if executor.status is not ExecutorStatus.SUSPENDED:  # a suspension outlasts a leave
                executor.status = status
                if audit is not None:
                    await tx.add_audit([audit])
            await tx.put_executor(executor)
            rows = await tx.lock_leased(executor_id)
            lost = ExecutorLost(executor_id=executor_id, counted=False, outcome=outcome)
            changes = await self._committer.advance_rows(tx, rows, lost)
            return Written(changes, changes)

        changes = await self._committer.transact(work)
        if changes is None:
            return
        self._revoke(executor_id, changes)
        connected = self._sessions.get(executor_id)
        if connected is not None:
            self.change_status(connected, status)

    def _revoke(self, executor_id: str, changes: list[Change]) -> None:
        session = self._sessions.get(executor_id)
        leases = [lease_of(c.before) for c in changes if c.before is not None and c.before.nonce]
        if session is None:
            self._on_change(executor_id)
        elif leases:
            session.revoke(leases)

    # -- expel -------------------------------------------------------------------------

    def seconds_until_expel(self) -> float:
        """Seconds until this manager may expel executors whose lease has ended: any of them, or at
        least one whose connection it saw close."""
        departed = self._departures.seconds_until_over(self._uptime.seconds_reached())
        return min(self._uptime.seconds_until_expel(), departed)

    def _sessions_to_expel(self) -> list[str] | None:
        """The sessions that this manager may expel when their lease has ended; None for all."""
        if self._uptime.seconds_until_expel() <= 0:
            return None
        return self._departures.over(self._uptime.seconds_reached())

    async def expel(self) -> None:
        """Requeue the tasks of executors whose lease has ended, if this manager may expel them."""
        while await self._expel_some() == EXPIRED_PER_PASS:
            pass

    async def _expel_some(self) -> int:
        expired, changes = await self._committer.transact(self._expire)
        for executor in expired:
            mine = [c for c in changes if c.before and c.before.executor_id == executor.id]
            self._departures.forget(executor.id)
            log.warning("executor %s lost its lease: %d tasks requeued", executor.id, len(mine))
            session = self._sessions.get(executor.id)
            self._revoke(executor.id, mine)
            if session is not None:
                self._sessions.close(session)
        return len(expired)

    async def _expire(self, tx: Transaction) -> Written[tuple[list[ExecutorRow], list[Change]]]:
        changes: list[Change] = []
        sessions = self._sessions_to_expel()  # asked here: a failure may have come meanwhile
        if sessions is not None and not sessions:
            return Written(([], changes), changes)
        expired = await tx.lock_expired(EXPIRED_PER_PASS, sessions)
        for executor in expired:
            executor.status = ExecutorStatus.LOST
            await tx.put_executor(executor)
            counted = executor.last_ping >= self._uptime.presence.up_since
            rows = await tx.lock_leased(executor.id)
            lost = ExecutorLost(executor_id=executor.id, counted=counted)
            changes += await self._committer.advance_rows(tx, rows, lost)
        return Written((expired, changes), changes)


def _unknown(executor_id: str) -> NotFound:
    return NotFound(f"executor {executor_id!r} is not connected to this manager: it must reconnect")


def _no_executor(executor_id: str) -> NotFound:
    return NotFound(f"there is no executor {executor_id!r}", id=executor_id)


def _is_overtaken(params: ConnectParams, known: ExecutorRow) -> bool:
    """Whether the process of an executor has sent a newer connect, which was carried out before."""
    same_process = params.instance is not None and params.instance == known.instance
    return same_process and params.attempt < known.attempt


def _common_version(protocol: int) -> int:
    """The lower of both versions, which both sides speak."""
    if abs(protocol - PROTOCOL_VERSION) > 1:
        raise InvalidParams(
            f"this manager speaks version {PROTOCOL_VERSION} of the executor protocol, and the "
            f"executor version {protocol}: they must not differ by more than 1",
            field="protocol",
            speaks=PROTOCOL_VERSION,
        )
    return min(protocol, PROTOCOL_VERSION)
