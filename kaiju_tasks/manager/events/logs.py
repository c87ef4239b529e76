"""Publishes that log lines were stored, as events."""

from collections.abc import Iterable

from kaiju_tasks.manager.events.hub import EventHub
from kaiju_tasks.manager.events.public import LogWritten, log_event
from kaiju_tasks.manager.writing.definitions import DefinitionCache


class LogEvents:
    """Publishes one event for each attempt whose lines were stored together."""

    def __init__(self, hub: EventHub, definitions: DefinitionCache, manager_id: str) -> None:
        self._hub = hub
        self._definitions = definitions
        self._manager_id = manager_id

    def publish(self, written: Iterable[LogWritten]) -> None:
        """Publish what was stored. Nothing is built without a listener."""
        if not self._hub.listened:
            return
        found = ((one, self._definitions.known(one.task_id)) for one in written)
        self._hub.deliver(
            log_event(one, definition, self._manager_id)
            for one, definition in found
            if definition is not None
        )
