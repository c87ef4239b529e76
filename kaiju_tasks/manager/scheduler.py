"""Advances due tasks: one timer sleeps until the earliest `due_at`, a wake-up or the next poll.

The poll, one query every `poll_interval` seconds, makes up for lost wake-ups. It also finds
streams that other managers filled and executors whose lease has ended.
"""

import asyncio
from collections.abc import Callable
from functools import partial

from kaiju_tasks.lifecycle import Due, TaskState
from kaiju_tasks.manager.dice import Dice
from kaiju_tasks.manager.executors.roster import Roster
from kaiju_tasks.manager.executors.uptime import Uptime
from kaiju_tasks.manager.heartbeat import Heartbeat
from kaiju_tasks.manager.loop import Loop
from kaiju_tasks.manager.store_clock import StoreClock
from kaiju_tasks.manager.writing.changes import Written
from kaiju_tasks.manager.writing.committer import Committer
from kaiju_tasks.manager.writing.consequences import TooManyChildren
from kaiju_tasks.manager.writing.slots import Slots
from kaiju_tasks.store.base import Store, Transaction, WorkSummary

LOCKED_RETRY_SECONDS = 0.05
OUTAGE_PAUSE_SECONDS = 0.25
SIGNALS_AT_ONCE = 500


class Scheduler:
    """The loop that advances due tasks.

    :param seen: called with each work summary, and when it was asked for, in seconds of the loop
    :param poll_interval: seconds between two polls
    :param batch_rows: maximum number of tasks in a transaction
    :param misfire_grace: how long a task may take to catch up with its fires, in seconds
    """

    def __init__(
        self,
        store: Store,
        committer: Committer,
        uptime: Uptime,
        heartbeat: Heartbeat,
        dice: Dice,
        clock: StoreClock,
        *,
        seen: Callable[[WorkSummary, float], None],
        roster: Roster,
        poll_interval: float,
        batch_rows: int,
        misfire_grace: float,
    ) -> None:
        self._store = store
        self._committer = committer
        self._uptime = uptime
        self._heartbeat = heartbeat
        self._dice = dice
        self._clock = clock
        self._seen = seen
        self._roster = roster
        self._poll_interval = poll_interval
        self._batch_rows = batch_rows
        self._misfire_grace = misfire_grace
        self._next_due: float | None = None
        self._pause = 0.0
        self._wake = asyncio.Event()
        self._loop = Loop(
            "scheduler pass",
            wait=self._sleep,
            work=self._pass,
            retry_seconds=OUTAGE_PAUSE_SECONDS,
            on_outage=lambda: uptime.reached(False),
        )

    async def start(self) -> None:
        """Read the store's clock and start the loop.

        :raises StoreUnavailable: the database cannot be reached
        """
        await self._store.now()
        self._loop.start()

    async def stop(self) -> None:
        await self._loop.stop()

    def expect(self, due_at: float) -> None:
        """Take the `due_at` (UNIX seconds) of a written task into account."""
        if self._next_due is None or due_at < self._next_due:
            self._next_due = due_at
            self._wake.set()

    def look(self) -> None:
        """Query the database for work now, without waiting for the poll."""
        self._next_due = float("-inf")
        self._wake.set()

    async def _pass(self) -> None:
        """Do all due work, then set the longest time to sleep."""
        summary = await self._look_ahead()
        pause = self._poll_interval
        while summary.next_due is not None and summary.next_due <= summary.now:
            await self._heartbeat.beat_after_silence(summary.now)
            done = await self._do_due()
            summary = await self._look_ahead()
            if not done:  # other transactions hold the locks: try again shortly
                pause = min(pause, LOCKED_RETRY_SECONDS)
                self._next_due = None
                break
        if summary.signals and await self._do_signals():
            pause = 0.0
        if summary.unsettled:
            await self._committer.transact(self._settle)
            pause = min(pause, LOCKED_RETRY_SECONDS)
        if summary.next_expiry is not None:
            pause = min(pause, await self._expel_expired(summary))
        self._pause = pause

    async def _look_ahead(self) -> WorkSummary:
        self._wake.clear()
        self._next_due = None
        asked_at = asyncio.get_running_loop().time()
        summary = await self._store.work_summary()
        self._uptime.reached(True)
        if summary.next_due is not None:
            self._next_due = min(summary.next_due, self._next_due or summary.next_due)
        self._seen(summary, asked_at)
        return summary

    async def _do_due(self) -> int:
        """Advance due tasks until no more of them can be locked."""
        total, at_once = 0, self._batch_rows
        while True:
            try:
                done = await self._committer.transact(partial(self._due_batch, at_once=at_once))
            except TooManyChildren:
                at_once = _fewer(at_once)
                continue
            total += done
            if done < at_once:
                return total

    async def _due_batch(self, tx: Transaction, *, at_once: int) -> Written[int]:
        rows = await tx.lock_due(at_once)
        presence, grace = self._uptime.presence, self._misfire_grace
        heard_since = max(presence.up_since, tx.now - self._uptime.seconds_reached())

        def due(state: TaskState) -> Due:
            return Due(
                job_id=self._dice.new_id(),
                up_since=presence.covered_since,
                grace=grace,
                heard_since=heard_since,
            )

        changes = await self._committer.advance_rows(tx, rows, due)
        return Written(len(changes), changes)

    async def _do_signals(self) -> bool:
        """Process a batch of signals of ended children. Returns whether more may be left."""
        at_once = SIGNALS_AT_ONCE
        while True:
            try:
                return await self._committer.transact(partial(self._signal_batch, at_once=at_once))
            except TooManyChildren:
                at_once = _fewer(at_once)

    async def _signal_batch(self, tx: Transaction, *, at_once: int) -> Written[bool]:
        changes, more = await self._committer.consequences.children.look(tx, at_once)
        await self._committer.save(tx, changes)
        return Written(more, changes)

    async def _settle(self, tx: Transaction) -> Written[None]:
        return Written(None, await Slots(self._committer.states, tx).settle_unsettled())

    async def _expel_expired(self, summary: WorkSummary) -> float:
        """Expel executors whose lease has ended. Returns the seconds until the next check."""
        assert summary.next_expiry is not None
        left = max(summary.next_expiry - summary.now, self._roster.seconds_until_expel())
        if left > 0:
            return left + LOCKED_RETRY_SECONDS
        await self._roster.expel()
        return self._poll_interval

    async def _sleep(self) -> None:
        loop = asyncio.get_running_loop()
        poll_at = loop.time() + self._pause
        while True:
            due = self._next_due
            wake_at = poll_at if due is None else min(poll_at, self._clock.loop_time(due))
            left = wake_at - loop.time()
            if left <= 0:
                return
            self._wake.clear()
            timer = loop.call_later(left, self._wake.set)
            try:
                await self._wake.wait()
            finally:
                timer.cancel()


def _fewer(at_once: int) -> int:
    return max(1, at_once // 8)
