"""Compares the leases of the store, of this manager's sessions and of the executors."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any

from kaiju_tasks.errors import Unavailable
from kaiju_tasks.lifecycle import ExecutorLost, Row, given_back
from kaiju_tasks.manager.executors.sessions import GONE, Session, Sessions
from kaiju_tasks.manager.writing.changes import Written
from kaiju_tasks.manager.writing.committer import Committer
from kaiju_tasks.protocol import Lease
from kaiju_tasks.store.base import Holder, Store, StoreError, Transaction
from kaiju_tasks.types import ExecutorStatus

log = logging.getLogger(__name__)

PINGS_IN_A_ROW = 3
INTERVALS_APART = 1.5
"""A lease that an executor and its session do not both have may be in a message between them. It
is not any more in the third ping in a row: the executor would have given up the connection if the
answer to the first one, which was sent after the message, had not arrived."""


class Reconciliation:
    """Ends the leases that are missing in one of three places: the store, the session through which
    a lease was sent, and the executor.

    :param ping_interval: seconds between the pings of an executor
    :param spawn: runs a coroutine in the background
    :param on_status: called with a session and the status of its executor in the store
    """

    def __init__(
        self,
        store: Store,
        committer: Committer,
        sessions: Sessions,
        ping_interval: float,
        *,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        on_status: Callable[[Session, ExecutorStatus], None],
    ) -> None:
        self._store = store
        self._committer = committer
        self._sessions = sessions
        self._ping_interval = ping_interval
        self._spawn = spawn
        self._on_status = on_status
        self._settling: set[Session] = set()

    # -- the store and the sessions --------------------------------------------------------

    async def check(self, sessions: Iterable[Session] | None = None) -> None:
        """Find ended sessions, revoked leases whose wake-up was lost, and leases that were never
        sent.

        :param sessions: sessions of this manager; None for all
        """
        sent = {
            session: set(session.leases.values())  # without those sent while the rows are read
            for session in (self._sessions if sessions is None else sessions)
        }
        if not sent:
            return
        holders = await self._store.holders([session.executor_id for session in sent])
        for session, leases in sent.items():
            if self._is_current(session, holders.get(session.executor_id)):
                await self._compare(session, leases, holders[session.executor_id].leases)

    def _is_current(self, session: Session, holder: Holder | None) -> bool:
        """Whether a session continues. A session that another manager has ended is closed."""
        if not session.open:
            return False
        if holder is None or holder.session != session.nonce or holder.status in GONE:
            self._sessions.close(session)
            return False
        self._on_status(session, holder.status)
        return True

    async def _compare(self, session: Session, sent: set[Lease], stored: set[Lease]) -> None:
        if ended := [lease for lease in sent - stored if session.has(lease)]:
            session.revoke(ended)
        if any(session.lacks(lease) for lease in stored):
            await self._give_back_unsent(session)

    async def _give_back_unsent(self, session: Session) -> None:
        """Requeue the tasks that are leased to a session but were not sent through it."""

        async def work(tx: Transaction) -> Written[list[Lease]]:
            rows = await _lock_leased(tx, session)
            unsent = [row for lease, row in rows.items() if session.lacks(lease)]
            changes = await self._committer.advance_rows(
                tx, unsent, given_back(session.executor_id)
            )
            return Written([lease_of(row) for row in unsent], changes)

        if unsent := await self._committer.transact(work):
            log.error(
                "executor %s holds %d tasks that were not sent to it: they were requeued",
                session.executor_id,
                len(unsent),
            )
            session.revoke(unsent)

    # -- the sessions and the executors ------------------------------------------------------

    def heard(self, session: Session, holding: Sequence[Lease]) -> None:
        """Compare what an executor says that it holds with what was sent to it.

        :param holding: the leases that it works on or has unacknowledged reports for
        """
        held, now = set(holding), asyncio.get_running_loop().time()
        before, session.differing = session.differing, {}
        lasting: set[Lease] = set()
        differing = held.symmetric_difference(session.leases.values())
        if session.filler is not None:
            differing -= session.filler.unsent
        for lease in differing:
            pings, since = before.get(lease, (0, now))
            session.differing[lease] = pings + 1, since
            if pings + 1 >= PINGS_IN_A_ROW and now - since >= INTERVALS_APART * self._ping_interval:
                lasting.add(lease)
        if lasting and session not in self._settling:
            self._settling.add(session)
            self._spawn(self._settle(session, held, lasting))

    async def _settle(self, session: Session, held: set[Lease], lasting: set[Lease]) -> None:
        try:
            await self._end(session, held, lasting)
        except (Unavailable, StoreError) as exc:
            log.warning("comparing the leases of %s failed: %s", session.executor_id, exc)
        finally:
            self._settling.discard(session)

    async def _end(self, session: Session, held: set[Lease], lasting: set[Lease]) -> None:
        """End the leases that only one side has; a lost one counts as a loss, so that a task that
        is lost again and again does not run for ever."""

        async def work(tx: Transaction) -> Written[tuple[set[Lease], list[Lease]]]:
            rows = await _lock_leased(tx, session)
            lost = [row for lease, row in rows.items() if lease in lasting - held]
            changes = await self._committer.advance_rows(
                tx, lost, ExecutorLost(executor_id=session.executor_id)
            )
            return Written((set(rows), [lease_of(row) for row in lost]), changes)

        stored, lost = await self._committer.transact(work)
        if not session.open:
            return
        if lost:
            log.warning(
                "executor %s has lost %d of its tasks: they were requeued",
                session.executor_id,
                len(lost),
            )
        for lease in lasting & held & stored:
            session.leases[lease.id] = lease
        if ended := [*lost, *(lasting - stored)]:
            session.revoke(ended)


async def _lock_leased(tx: Transaction, session: Session) -> Mapping[Lease, Row]:
    """Lock the tasks that a session's executor holds. There are none if the session has ended: they
    may have been sent through another one."""
    executor = await tx.lock_executor(session.executor_id)
    if executor is None or executor.session != session.nonce or not session.open:
        return {}
    return {lease_of(row): row for row in await tx.lock_leased(session.executor_id)}


def lease_of(row: Row) -> Lease:
    """The lease under which a task is held."""
    return Lease(row.id, row.job_id or "", row.epoch, row.nonce or "")
