"""Distributes committed changes to the parts of the manager that act on them."""

from collections.abc import Sequence

from kaiju_tasks.lifecycle import Step, at_method
from kaiju_tasks.manager.events.hub import EventHub
from kaiju_tasks.manager.events.waiters import Waiters
from kaiju_tasks.manager.events.wakes import Wakes
from kaiju_tasks.manager.executors.sessions import Sessions
from kaiju_tasks.manager.executors.streams import Streams
from kaiju_tasks.manager.run_log import log_changes
from kaiju_tasks.manager.scheduler import Scheduler
from kaiju_tasks.manager.stats import Stats
from kaiju_tasks.manager.writing.changes import Change


class Publisher:
    """Distributes committed changes.

    Every notification is a hint. The rows in the database are authoritative.
    """

    def __init__(
        self,
        streams: Streams,
        scheduler: Scheduler,
        sessions: Sessions,
        waiters: Waiters,
        events: EventHub,
        wakes: Wakes,
        stats: Stats,
    ) -> None:
        self._streams = streams
        self._scheduler = scheduler
        self._sessions = sessions
        self._waiters = waiters
        self._events = events
        self._wakes = wakes
        self._stats = stats

    def publish(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self._feed(change.step)
            self._schedule(change.step)
            self._revoke(change.step)
        self._streams.credit()
        self._waiters.changed(change.step.row.id for change in changes)
        self._events.publish(changes)
        log_changes(changes)
        self._stats.count(changes)

    def _feed(self, step: Step) -> None:
        """Offer a ready task to the executors of this manager or, failing that, of others."""
        row = step.row
        if row.ready and not step.deleted:
            self._streams.feed(row.app_name, row.ready)
            if not self._streams.covers(row.app_name):
                self._wakes.stream(row.app_name)
        elif row.gate is not None and at_method(row) and not step.deleted:
            self._feed_gate(row.app_name, row.gate)

    def _feed_gate(self, app_name: str, gate: str) -> None:
        if not self._streams.feed_gate(app_name, gate):
            self._wakes.gates()

    def _schedule(self, step: Step) -> None:
        if step.row.due_at is not None:
            self._scheduler.expect(step.row.due_at)
        if step.run_end is not None or step.signal or step.spawn is not None:
            self._scheduler.look()

    def _revoke(self, step: Step) -> None:
        if step.revoke is None:
            return
        session = self._sessions.get(step.revoke.executor_id)
        if session is None:
            self._wakes.executor(step.revoke.executor_id)
        else:
            session.revoke([step.revoke.lease])
