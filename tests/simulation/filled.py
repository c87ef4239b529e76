"""An executor whose commands the manager fills: the library's, without its templates."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw

from kaiju_tasks.executor.runner import Runner
from kaiju_tasks.executor.segment import Segment
from kaiju_tasks.protocol import Ack, AckState, Assignment
from kaiju_tasks.templates import StageData

NOTHING: Mapping[str, Raw] = {}


class AsSent(StageData):
    """Passes parameters as they were sent."""

    def __init__(self) -> None:
        super().__init__("", "", Raw(b"{}"), None, NOTHING, {})

    def params(self, raw: Raw) -> Any:
        return msgspec.json.decode(raw)

    def holds(self, raw: Raw) -> bool:
        assert bytes(raw) == b"null"
        return True


class FilledSegment(Segment):
    """Takes each next command from the acknowledgement of the report before it."""

    __slots__ = ()

    def start(self) -> None:
        self._data = AsSent()
        super().start()

    def _acknowledged(self, ack: Ack, continues: bool) -> None:
        entry = self._ending
        if self.over or entry is None:
            return
        if ack.state is AckState.AGAIN:
            self._ending = self._outbox.put(
                entry.report, lambda later: self._acknowledged(later, continues)
            )
            return
        if ack.command is not None:
            assert ack.stage is not None
            done = self._position + 1
            self.assignment = msgspec.structs.replace(
                self.assignment,
                stage=ack.stage - done,
                commands=[*self.assignment.commands[:done], ack.command],
            )
        super()._acknowledged(ack, continues)


class FilledRunner(Runner):
    """Runs assignments of one command each."""

    def _begin(self, assignment: Assignment) -> None:
        assert len(assignment.commands) == 1
        segment = FilledSegment(assignment, self.runtime, self.outbox, self._gone)
        self._segments[segment.token] = segment
        self._by_task[assignment.id] = segment
        if self.closed:
            segment.release()
            return
        self.taken += 1
        segment.start()
