"""Limits what an executor is sent at once, in tasks and in bytes."""

from kaiju_tasks.lifecycle import Definition, Row, TaskState
from kaiju_tasks.manager.executors.assignments import segment

UNTAKEN_BYTES = 4 * 1024 * 1024
"""The maximum bytes of assignments that were sent to an executor and that it has not taken. One
assignment may be larger, alone."""
ENVELOPE_BYTES = 400
COMMAND_BYTES = 100
"""The sizes of an assignment and of a command without the data of the task, in bytes."""
SMALL_BYTES = 16 * 1024


class Room:
    """What an executor can be sent in one acquisition.

    :param tasks: the number of tasks
    :param untaken: the bytes that were sent to the executor and that it has not taken
    :ivar short: whether a task was left because of its size
    """

    def __init__(self, tasks: int, untaken: int) -> None:
        self._tasks = tasks
        self._untaken = untaken
        self.short = False

    @property
    def full(self) -> bool:
        return self._tasks <= 0

    def take(self, state: TaskState) -> bool:
        """Count a task, unless it is too large to be sent now."""
        untaken = self._untaken + weight(state.row, state.definition)
        if self._untaken and untaken > UNTAKEN_BYTES:
            self.short = True
            return False
        self._untaken = untaken
        self._tasks -= 1
        return True


def weight(row: Row, definition: Definition) -> int:
    """Estimate the size of a task's assignment in bytes, without reading earlier results."""
    size = ENVELOPE_BYTES + len(definition.kws)
    for command in definition.commands:
        size += COMMAND_BYTES + len(command.params) + len(command.condition)
    if row.result_bytes:
        size += row.result_bytes * _copies(row, definition)
    return size


def _copies(row: Row, definition: Definition) -> int:
    """How often an earlier result can be part of the assignment: by its index and by its name."""
    if row.result_bytes <= SMALL_BYTES:
        return 2
    reads = segment(definition, row.stage).reads
    return 2 if len(reads) > len(dict(reads)) else min(1, len(reads))
