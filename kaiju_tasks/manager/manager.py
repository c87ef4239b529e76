"""A manager: its duties put together over one store."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterable

from kaiju_tasks.errors import Unavailable
from kaiju_tasks.manager.dice import Dice
from kaiju_tasks.manager.events.hub import EventHub
from kaiju_tasks.manager.events.progress import ProgressEvents
from kaiju_tasks.manager.events.relay import Relay
from kaiju_tasks.manager.events.waiters import Waiters
from kaiju_tasks.manager.executors.reports import Reports
from kaiju_tasks.manager.executors.roster import Roster
from kaiju_tasks.manager.executors.sessions import Session, Sessions
from kaiju_tasks.manager.executors.streams import Streams
from kaiju_tasks.manager.executors.uptime import Uptime
from kaiju_tasks.manager.pauses import PauseBook
from kaiju_tasks.manager.retention import Retention
from kaiju_tasks.manager.scheduler import Scheduler
from kaiju_tasks.manager.writing.committer import Committer
from kaiju_tasks.manager.writing.entries import Change
from kaiju_tasks.settings import Settings
from kaiju_tasks.store.base import Store, StoreError, WorkSummary

log = logging.getLogger(__name__)

STREAM, REVOKE, PAUSES = "q:", "r:", "p"


class Manager:
    """Keeps the tasks of one store, beside any number of other managers.

    :param store: opened by the caller, and closed by it
    :param dice: ids and nonces
    """

    def __init__(self, store: Store, settings: Settings, dice: Dice | None = None) -> None:
        self.store = store
        self.settings = settings
        self.dice = dice or Dice()
        self.id = self.dice.new_id()
        self.sessions = Sessions()
        self.waiters = Waiters(on_first=lambda task_id: self.relay.wait(task_id))
        self.events = EventHub(self.id, changed=lambda: self.relay.want())
        self.relay = Relay(
            store, self.id, self.events, self.waiters, self.spawn, settings.ping_interval
        )
        self.uptime = Uptime(
            settings.lease_seconds, max(settings.lease_seconds, 2 * settings.poll_interval)
        )
        self.committer = Committer(
            store,
            self.dice,
            settings,
            publish=self._publish,
            reached=self.uptime.reached,
        )
        self.pauses = PauseBook(
            store,
            self.committer,
            lambda: self.scheduler.now_about(),
            on_change=lambda: self._wake_others({PAUSES}),
            batch_rows=settings.batch_rows,
        )
        self.streams = Streams(
            self.committer, self.sessions, self.pauses, self.dice, settings.batch_rows
        )
        self.reports = Reports(
            self.committer,
            settings,
            lambda: self.scheduler.now_about(),
            ProgressEvents(self.events, self.committer.states.definitions, self.id).publish,
        )
        self.roster = Roster(
            store,
            self.committer,
            self.sessions,
            self.uptime,
            self.dice,
            settings,
            self.id,
            on_change=lambda executor_id: self._wake_others({REVOKE + executor_id}),
        )
        self.scheduler = Scheduler(
            store,
            self.committer,
            self.uptime,
            self.dice,
            seen=self._seen,
            expel=self.roster.expel,
            poll_interval=settings.poll_interval,
            batch_rows=settings.batch_rows,
        )
        self.retention = Retention(store, self.committer, settings)
        self._topics: set[str] = set()
        self._waking: asyncio.Task[None] | None = None
        self._background: set[asyncio.Task[None]] = set()
        self._heartbeat: asyncio.Task[None] | None = None
        self._exit = contextlib.AsyncExitStack()

    async def start(self) -> None:
        """Begin all duties.

        :raises StoreUnavailable: the database cannot be reached
        """
        await self._seen_up()
        self.uptime.reached(True)
        self.committer.start()
        await self.pauses.start()
        self.streams.start()
        await self.scheduler.start()
        self.retention.start()
        listening = self.store.listen(self._heard, self.relay.received)
        await self._exit.enter_async_context(listening)
        self.relay.greet()
        self._heartbeat = asyncio.create_task(self._beat())

    async def stop(self) -> None:
        """End all duties; executors keep their work and go to another manager."""
        if self._heartbeat is not None:
            self._heartbeat.cancel()
            await asyncio.gather(self._heartbeat, return_exceptions=True)
        for session in self.sessions:
            self.sessions.close(session)
        await self._exit.aclose()
        await self.retention.stop()
        await self.scheduler.stop()
        await self.streams.stop()
        await self.pauses.stop()
        await self.committer.stop()
        await self.roster.stop()
        for task in list(self._background):
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        with contextlib.suppress(StoreError):
            await self.store.manager_gone(self.id)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Manager"]:
        await self.start()
        try:
            yield self
        finally:
            await self.stop()

    # -- after a commit ------------------------------------------------------------------

    def _publish(self, changes: list[Change]) -> None:
        """Tell whoever has to act on what was written; all of it is a hint, rows are the truth."""
        topics: set[str] = set()
        for change in changes:
            row = change.step.row
            if row.ready and not change.step.deleted:
                self.streams.feed(row.app_name, row.ready)
                if not self.streams.covers(row.app_name):
                    topics.add(STREAM + row.app_name)
            if row.due_at is not None:
                self.scheduler.expect(row.due_at)
            step = change.step
            if step.run_end is not None or step.signal or step.spawn is not None:
                self.scheduler.look()
            revoke = change.step.revoke
            if revoke is not None:
                session = self.sessions.get(revoke.executor_id)
                if session is None:
                    topics.add(REVOKE + revoke.executor_id)
                else:
                    session.revoke([revoke.lease])
        self.streams.credit()
        self.waiters.changed(change.step.row.id for change in changes)
        if topics:
            self._wake_others(topics)
        self.events.publish(changes)

    def serve_session(self, session: Session) -> None:
        """An executor has come, or has places free: its streams may go on."""
        for app_name in session.app_names:
            self.streams.feed(app_name)
        self.scheduler.look()

    def _wake_others(self, topics: set[str]) -> None:
        """Wake other managers; what gathers while one wake is sent goes with the next."""
        self._topics |= topics
        if self._waking is None or self._waking.done():
            self._waking = self.spawn(self._send_topics())

    async def _send_topics(self) -> None:
        while self._topics:
            topics, self._topics = self._topics, set()
            try:
                await self.store.wake(topics)
            except StoreError as exc:
                log.warning("other managers were not woken, they will find out by polling: %s", exc)

    # -- from outside ----------------------------------------------------------------------

    def _heard(self, topics: Iterable[str]) -> None:
        topics = frozenset(topics)
        if not topics:
            self.scheduler.look()
            self.relay.missed()
        if not topics or PAUSES in topics:
            self.pauses.changed()
        for topic in topics:
            if topic.startswith(STREAM):
                self.streams.feed(topic.removeprefix(STREAM))
            elif topic.startswith(REVOKE):
                session = self.sessions.get(topic.removeprefix(REVOKE))
                if session is not None:
                    self.spawn(self._reconcile(session))

    async def _reconcile(self, session: Session) -> None:
        try:
            await self.roster.reconcile(session)
        except StoreError as exc:
            log.warning("executor %s could not be checked: %s", session.executor_id, exc)

    def _seen(self, summary: WorkSummary) -> None:
        self.pauses.seen(summary.paused)
        served = self.streams.served()
        self.streams.feed_all(summary.ready & served, summary.suspect & served)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self.settings.ping_interval)
            try:
                self.relay.renew()
                await self._seen_up()
                await self.roster.check()
            except (Unavailable, StoreError) as exc:
                self.uptime.reached(False)
                log.warning("the database cannot be reached: %s", exc)
            except Exception:
                log.exception("the heartbeat failed; trying again")

    async def _seen_up(self) -> None:
        self.uptime.up_since = await self.store.manager_seen(self.id, self.settings.lease_seconds)

    def spawn(self, work: "asyncio._CoroutineLike[None]") -> asyncio.Task[None]:
        """Run something beside, ended with the manager."""
        task: asyncio.Task[None] = asyncio.ensure_future(work)  # type: ignore[arg-type]
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task
