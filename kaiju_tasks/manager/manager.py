"""Assembles a manager from its parts, and starts and stops them."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Coroutine, Iterable
from typing import Any, TypeVar

from kaiju_tasks.address import is_loopback
from kaiju_tasks.errors import Unavailable
from kaiju_tasks.manager.auth import Authenticator
from kaiju_tasks.manager.bulk.calls import BulkCalls
from kaiju_tasks.manager.dice import Dice
from kaiju_tasks.manager.events.hub import EventHub
from kaiju_tasks.manager.events.logs import LogEvents
from kaiju_tasks.manager.events.looks import Looks
from kaiju_tasks.manager.events.progress import ProgressEvents
from kaiju_tasks.manager.events.relay import Relay
from kaiju_tasks.manager.events.waiters import Waiters
from kaiju_tasks.manager.events.wakes import Wakes, read_wake
from kaiju_tasks.manager.executors.filler import FillDesk
from kaiju_tasks.manager.executors.method_gates import MethodGates
from kaiju_tasks.manager.executors.placement import placements
from kaiju_tasks.manager.executors.reconciliation import Reconciliation
from kaiju_tasks.manager.executors.reports import Reports
from kaiju_tasks.manager.executors.roster import Roster
from kaiju_tasks.manager.executors.sessions import Session, Sessions
from kaiju_tasks.manager.executors.streams import Streams
from kaiju_tasks.manager.executors.uptime import Uptime
from kaiju_tasks.manager.executors.visits import Visits
from kaiju_tasks.manager.heartbeat import Heartbeat
from kaiju_tasks.manager.logs import LogKeeper
from kaiju_tasks.manager.loop import Loop
from kaiju_tasks.manager.pauses import PauseBook
from kaiju_tasks.manager.progress import ProgressKeeper
from kaiju_tasks.manager.publisher import Publisher
from kaiju_tasks.manager.retention import Retention
from kaiju_tasks.manager.scheduler import Scheduler
from kaiju_tasks.manager.stats import Stats
from kaiju_tasks.manager.store_clock import StoreClock
from kaiju_tasks.manager.task_counts import TaskCounts
from kaiju_tasks.manager.writing.committer import Committer
from kaiju_tasks.protocol import Report
from kaiju_tasks.settings import Settings
from kaiju_tasks.store.base import Store, StoreError, WorkSummary

log = logging.getLogger(__name__)

GOODBYE_SECONDS = 3.0

T = TypeVar("T")


class Manager:
    """Manages the tasks of one store. Any number of managers can share a store.

    :param store: an open store; the caller closes it
    :param dice: the source of ids and nonces
    """

    def __init__(self, store: Store, settings: Settings, dice: Dice | None = None) -> None:
        self.store = store
        self.settings = settings
        self.dice = dice or Dice()
        self.id = self.dice.new_id()
        self.clock = StoreClock(store.clock)
        self.wakes = Wakes(store, self.spawn, lambda: self.relay.alone)
        self.sessions = Sessions()
        self.waiters = Waiters(on_first=self._awaited)
        self.looks = Looks(store, self.waiters, lambda: self.relay.alone)
        self.events = EventHub(self.id, changed=lambda: self.relay.want())
        self.relay = Relay(
            store, self.id, self.events, self.waiters, self.spawn, settings.ping_interval
        )
        self.uptime = Uptime(
            settings.lease_seconds, max(settings.lease_seconds, 2 * settings.poll_interval)
        )
        self.heartbeat = Heartbeat(store, self.id, self.uptime, settings)
        self.committer = Committer(
            store,
            self.dice,
            settings,
            publish=lambda changes: self._publisher.publish(changes),
            reached=self.uptime.reached,
        )
        self.auth = Authenticator(
            store,
            store.clock,
            self.dice.secret,
            on_change=self._rights_changed,
        )
        self.pauses = PauseBook(
            store,
            self.committer,
            self.clock,
            on_change=self.wakes.pauses,
            batch_rows=settings.batch_rows,
        )
        self.streams = Streams(
            self.committer,
            self.sessions,
            self.pauses,
            self.dice,
            settings.batch_rows,
            store.parallel,
            reconcile=lambda session: self.reconciliation.check([session]),
            gates=MethodGates(store.method_gates, settings.poll_interval / 2),
        )
        visits = Visits()
        self.committer.new_placement = placements(
            self.streams, self.committer.states, self.pauses, self.dice, self.sessions.close
        )
        self._progress_events = ProgressEvents(
            self.events, self.committer.states.definitions, self.id
        )
        self.progress = ProgressKeeper(store)
        self.task_counts = TaskCounts(store)
        log_events = LogEvents(self.events, self.committer.states.definitions, self.id)
        self.logs = LogKeeper(store, self.clock.now, log_events.publish, self.spawn)
        self.reports = Reports(
            self.committer,
            settings,
            self.clock,
            self._progressed,
            visits.worked,
        )
        self.fill_desk = FillDesk(self.committer, self.clock, self.reports.apply, self.spawn)
        self.roster = Roster(
            store,
            self.committer,
            self.sessions,
            visits,
            self.uptime,
            self.dice,
            settings,
            self.id,
            on_change=self.wakes.executor,
            on_resumed=self.serve_session,
            on_shortened=lambda: self.scheduler.look(),
            spawn=self.spawn,
            new_filler=self.fill_desk.new,
        )
        self.reconciliation = Reconciliation(
            store,
            self.committer,
            self.sessions,
            settings.ping_interval,
            spawn=self.spawn,
            on_status=self.roster.change_status,
        )
        self.scheduler = Scheduler(
            store,
            self.committer,
            self.uptime,
            self.heartbeat,
            self.dice,
            self.clock,
            seen=self._seen,
            roster=self.roster,
            poll_interval=settings.poll_interval,
            batch_rows=settings.batch_rows,
            misfire_grace=settings.misfire_grace,
        )
        self.bulks = BulkCalls(
            store, self.committer, self.auth, settings, self.id, self.dice.new_id
        )
        self.retention = Retention(store, self.committer, settings, self.dice)
        self.stats = Stats(store, self.clock, self.id)
        self._publisher = Publisher(
            self.streams,
            self.scheduler,
            self.sessions,
            self.waiters,
            self.events,
            self.wakes,
            self.stats,
        )
        self._beats = Loop(
            "heartbeat",
            wait=self._until_next_beat,
            work=self._beat,
            retry_seconds=settings.ping_interval,
            on_outage=self._out_of_reach,
        )
        self._background: set[asyncio.Task[Any]] = set()
        self._exit = contextlib.AsyncExitStack()

    def _awaited(self, task_id: str) -> None:
        """A caller waits for a task for which no other caller waits."""
        self.relay.wait(task_id)
        self.looks.begin(task_id)

    def _rights_changed(self) -> None:
        """Principals or tokens have changed. Pauses hold the tasks of disabled principals."""
        self.pauses.changed()
        self.committer.accounts.changed()

    def _progressed(self, report: Report, session: Session, now: float) -> None:
        self._progress_events.publish(report, session, now)
        self.progress.note(report, session, now)

    async def start(self) -> None:
        """Start all parts.

        :raises StoreUnavailable: the database cannot be reached
        """
        await self.heartbeat.beat()
        self.uptime.reached(True)
        await self.auth.start()
        if not self.auth.local:  # there are principals
            await self.committer.accounts.start()
        self.committer.start()
        await self.pauses.start()
        self.streams.start()
        await self.scheduler.start()
        self.retention.start()
        self.progress.start()
        self.logs.start()
        self.bulks.start()
        self.stats.start()
        self.looks.start()
        listening = self.store.listen(self._on_wake, self.relay.received)
        await self._exit.enter_async_context(listening)
        self.relay.greet()
        self._beats.start()

    async def stop(self) -> None:
        """Stop all parts. Executors keep their leases and reconnect to another manager."""
        await self._beats.stop()
        await self.looks.stop()
        for session in self.sessions:
            self.sessions.close(session)
        await self._exit.aclose()
        await self.bulks.stop()
        await self.progress.stop()
        await self.logs.stop()
        await self.retention.stop()
        await self.scheduler.stop()
        await self.streams.stop()
        await self.pauses.stop()
        await self.committer.stop()
        await self.roster.stop()
        await self.stats.stop()
        await self.auth.stop()
        for task in list(self._background):
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        self.fill_desk.close()
        with contextlib.suppress(StoreError, TimeoutError):
            async with asyncio.timeout(GOODBYE_SECONDS):
                await self.store.manager_gone(self.id)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Manager"]:
        await self.start()
        try:
            yield self
        finally:
            await self.stop()

    @property
    def insecure_host(self) -> bool:
        """Whether other machines reach the manager and may do everything, because no token
        exists."""
        return self.auth.local and not is_loopback(self.settings.host)

    # -- events from outside ------------------------------------------------------------------

    def serve_session(self, session: Session) -> None:
        """Serve the streams of an executor that has connected or has been resumed."""
        for app_name in session.app_names:
            self.streams.feed(app_name)
        self.streams.want_gates()
        self.scheduler.look()

    def _on_wake(self, topics: Iterable[str]) -> None:
        """Handle a wake-up of another manager. No topics: wake-ups may have been lost."""
        topics = frozenset(topics)
        woken = read_wake(topics)
        if not topics:
            self.scheduler.look()
            self.relay.missed()
        if not topics or woken.pauses:
            self.pauses.changed()
        if not topics or woken.tokens:
            self.auth.changed()
        for app_name in woken.streams:
            self.streams.feed(app_name)
        if woken.gates:
            self.streams.want_gates(known=True)
        for executor_id in woken.executors:
            session = self.sessions.get(executor_id)
            if session is not None:
                self.spawn(self._reconcile(session))

    async def _reconcile(self, session: Session) -> None:
        try:
            await self.reconciliation.check([session])
        except (Unavailable, StoreError) as exc:
            log.warning("checking the leases of executor %s failed: %s", session.executor_id, exc)

    def _seen(self, summary: WorkSummary, asked_at: float) -> None:
        self.pauses.seen(summary.paused)
        self.auth.seen(summary.tokens_revision, asked_at)
        if summary.gated:
            self.streams.gates_seen()
        served = self.streams.served()
        self.streams.feed_all(summary.ready & served, summary.suspect & served)

    async def _until_next_beat(self) -> None:
        await asyncio.sleep(self.settings.ping_interval)

    async def _beat(self) -> None:
        self.relay.renew()
        await self.heartbeat.beat()
        if self.uptime.presence.bulks:
            self.bulks.notice()
        await self.reconciliation.check()

    def _out_of_reach(self) -> None:
        self.uptime.reached(False)

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run a coroutine in the background. It is cancelled when the manager stops."""
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task
