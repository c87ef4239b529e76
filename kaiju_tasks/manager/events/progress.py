"""Publishes the progress of running stages as events."""

import logging

import msgspec

from kaiju_tasks.manager.events.hub import EventHub
from kaiju_tasks.manager.events.public import progress_event
from kaiju_tasks.manager.executors.sessions import Session
from kaiju_tasks.manager.writing.definitions import DefinitionCache
from kaiju_tasks.protocol import Report

log = logging.getLogger(__name__)

PAUSE_SECONDS = 0.1
"""The minimum between two events of one task; our executors report at most every 0.2 seconds."""
KEPT_MAX = 10_000
REPORT_BYTES_MAX = 65_536


class ProgressEvents:
    """Publishes progress, at most once every 0.1 seconds for each task."""

    def __init__(self, hub: EventHub, definitions: DefinitionCache, manager_id: str) -> None:
        self._hub = hub
        self._definitions = definitions
        self._manager_id = manager_id
        self._published_at: dict[str, float] = {}

    def publish(self, report: Report, session: Session, now: float) -> None:
        """Publish a progress report. Reports that come too soon or are invalid are dropped.

        :param now: approximate time of the store's clock, UNIX seconds
        """
        if not self._hub.listened or not self._may(report.id, now):
            return
        definition = self._definitions.known(report.id)
        if definition is None or len(report.result) > REPORT_BYTES_MAX:
            return
        try:
            event = progress_event(report, definition, session.executor_id, self._manager_id, now)
        except (msgspec.DecodeError, RecursionError) as exc:
            log.debug("ignored invalid progress from executor %s: %s", session.executor_id, exc)
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
