"""Progress of running stages, told as events. It is nowhere stored."""

import logging

import msgspec

from kaiju_tasks.manager.events.hub import EventHub
from kaiju_tasks.manager.events.public import progress_event
from kaiju_tasks.manager.executors.sessions import Session
from kaiju_tasks.manager.writing.definitions import DefinitionCache
from kaiju_tasks.protocol import Report

log = logging.getLogger(__name__)

PAUSE_SECONDS = 0.1
"""Between two events of one task; executors of ours report every 0.2 seconds at most."""
KEPT_MAX = 10_000
REPORT_BYTES_MAX = 65_536


class ProgressEvents:
    """Tells progress, at most every 0.1 seconds for a task."""

    def __init__(self, hub: EventHub, definitions: DefinitionCache, manager_id: str) -> None:
        self._hub = hub
        self._definitions = definitions
        self._manager_id = manager_id
        self._published_at: dict[str, float] = {}

    def publish(self, report: Report, session: Session, now: float) -> None:
        """Tell what an executor reports.

        :param now: the store's clock, or nearly so
        """
        if not self._hub.listened or not self._may(report.id, now):
            return
        definition = self._definitions.known(report.id)
        if definition is None or len(report.result) > REPORT_BYTES_MAX:
            return
        try:
            event = progress_event(report, definition, session.executor_id, self._manager_id, now)
        except (msgspec.DecodeError, RecursionError) as exc:
            log.debug("executor %s: progress that is none: %s", session.executor_id, exc)
            return
        self._hub.deliver([event])

    def _may(self, task_id: str, now: float) -> bool:
        last = self._published_at.get(task_id)
        if last is not None and 0 <= now - last < PAUSE_SECONDS:
            return False
        if len(self._published_at) >= KEPT_MAX:
            self._published_at.clear()
        self._published_at[task_id] = now
        return True
