"""Holds what all stages of a process share: clock, start gate, threads, commands and lingering
calls."""

from collections.abc import Callable, Sequence

from kaiju_tasks.executor.calls import Call
from kaiju_tasks.executor.clock import Clock
from kaiju_tasks.executor.failures import UnknownMethod
from kaiju_tasks.executor.registry import Command, Executor
from kaiju_tasks.executor.start_gate import StartGate
from kaiju_tasks.executor.threads import ThreadPool

__all__ = ["Runtime", "by_app_name"]

DEFAULT_MAX_RESULT_BYTES = 1024 * 1024


class Runtime:
    """The shared resources of the running stages.

    :param thread_count: maximum number of threads for `def` commands, from 1
    :param kill_grace: seconds that a stopped call may take to end, from 0
    :ivar gate: lets stages begin while their leases are known to stand
    :ivar max_result_bytes: the manager's limit for one result
    :ivar on_lingering: called when the number of lingering calls changes
    :ivar on_stuck: called when a stopped call has not ended within `kill_grace`
    """

    def __init__(
        self, executors: Sequence[Executor], clock: Clock, *, thread_count: int, kill_grace: float
    ) -> None:
        self.executors = by_app_name(executors)
        self.clock = clock
        self.gate = StartGate(clock)
        self.threads = ThreadPool(thread_count)
        self.max_result_bytes = DEFAULT_MAX_RESULT_BYTES
        self.on_lingering: Callable[[], None] = _nothing
        self.on_stuck: Callable[[], None] = _nothing
        self._kill_grace = kill_grace
        self._lingering: set[Call] = set()

    def find(self, app_name: str, method: str) -> tuple[Executor, Command]:
        """:raises UnknownMethod: no executor of this process has the command"""
        executor = self.executors.get(app_name)
        command = None if executor is None else executor.find(method)
        if executor is None or command is None:
            raise UnknownMethod(
                f"this executor has no command `{method}` for the stream `{app_name}`"
            )
        return executor, command

    @property
    def lingering(self) -> int:
        """The number of stopped calls that still run. Each of them uses capacity."""
        return len(self._lingering)

    def linger(self, call: Call) -> None:
        """Watch a stopped call until it ends."""
        self._lingering.add(call)
        self.clock.call_later(self._kill_grace, self._check_stuck, call)
        self.on_lingering()

    def ended(self, call: Call) -> None:
        """A call has ended, lingering or not."""
        if call in self._lingering:
            self._lingering.remove(call)
            self.on_lingering()

    def _check_stuck(self, call: Call) -> None:
        if call in self._lingering:
            self.on_stuck()


def by_app_name(executors: Sequence[Executor]) -> dict[str, Executor]:
    """The executors of one process, by stream.

    :raises ValueError: there is no executor, or two executors serve the same stream
    """
    if not executors:
        raise ValueError("at least one Executor is needed")
    found: dict[str, Executor] = {}
    for executor in executors:
        if found.setdefault(executor.app_name, executor) is not executor:
            raise ValueError(f"two executors serve the stream `{executor.app_name}`")
    return found


def _nothing() -> None:
    return None
