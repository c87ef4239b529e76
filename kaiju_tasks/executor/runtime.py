"""Holds what all stages of a process share: clock, start gate, threads, commands, calls of the
manager and lingering calls."""

from collections.abc import Callable, Iterable, Sequence

from kaiju_tasks.executor.batches import Batches
from kaiju_tasks.executor.calls import Call
from kaiju_tasks.executor.clock import Clock
from kaiju_tasks.executor.failures import UnknownMethod
from kaiju_tasks.executor.logs import LogBuffer
from kaiju_tasks.executor.manager_calls import ManagerCalls
from kaiju_tasks.executor.places import Places
from kaiju_tasks.executor.registry import Command, Executor
from kaiju_tasks.executor.start_gate import StartGate
from kaiju_tasks.executor.threads import ThreadPool

__all__ = ["Runtime", "by_app_name", "default_concurrency"]

DEFAULT_MAX_RESULT_BYTES = 1024 * 1024
DEFAULT_CONCURRENCY = 500
"""Tasks whose commands are `async def` mostly wait."""
CROWDED_SECONDS = 60.0
CROWDED_SECONDS_MAX = 960.0
"""After that, a process takes for a minute only tasks that have a place even if all need one. If it
happens again soon afterwards, for twice as long, up to the maximum."""


class Runtime:
    """The shared resources of the running stages.

    :param threads: maximum number of `def` and process commands that run at once, from 1
    :param kill_grace: seconds that a stopped call may take to end, from 0
    :ivar batches: the batches of batch commands
    :ivar calls: calls methods of the manager for stages
    :ivar gate: lets stages begin while their leases are known to stand
    :ivar max_result_bytes: the manager's limit for one result
    :ivar ceiling: the most tasks that may be held because of what the executors depend on, or None
    :ivar places: of `def` and process commands
    :ivar logs: what stages have logged and printed, until it is sent
    :ivar on_capacity: called when the number of lingering calls, `crowded` or `ceiling` changes
    :ivar on_stuck: called when a stopped call has not ended within `kill_grace`
    """

    def __init__(
        self, executors: Sequence[Executor], clock: Clock, *, threads: int, kill_grace: float
    ) -> None:
        self.executors = by_app_name(executors)
        self.clock = clock
        self.gate = StartGate(clock)
        self.calls = ManagerCalls(clock)
        self.threads = ThreadPool(threads)
        self.places = Places(threads)
        self.batches = Batches(clock, self.gate, self.threads, self.places, self.found_no_place)
        self.logs = LogBuffer(clock.time)
        self.max_result_bytes = DEFAULT_MAX_RESULT_BYTES
        self.on_capacity: Callable[[], None] = _nothing
        self.ceiling = _lowest_ceiling(executors)
        for executor in executors:
            executor.offer.on_ceiling = self._ceiling_changed
        self.on_stuck: Callable[[], None] = _nothing
        self._kill_grace = kill_grace
        self._lingering: set[Call] = set()
        self._crowded_until = float("-inf")
        self._crowded_seconds = CROWDED_SECONDS

    def find(self, app_name: str, method: str) -> tuple[Executor, Command]:
        """:raises UnknownMethod: no executor of this process has the command"""
        executor = self.executors.get(app_name)
        command = None if executor is None else executor.find(method)
        if executor is None or command is None:
            raise UnknownMethod(
                f"this executor has no command `{method}` for the stream `{app_name}`"
            )
        return executor, command

    def needs_place(self, app_name: str, method: str) -> bool:
        """Whether a command runs in a thread or a process."""
        executor = self.executors.get(app_name)
        return executor is not None and _needs_place(executor.commands.get(method))

    @property
    def crowded(self) -> bool:
        """Whether a task has waited in vain for a place lately."""
        return self.clock.time() < self._crowded_until

    def _ceiling_changed(self) -> None:
        self.ceiling = _lowest_ceiling(self.executors.values())
        self.on_capacity()

    def found_no_place(self) -> None:
        """A task has waited in vain for a place."""
        if self.crowded:
            return
        now, seconds = self.clock.time(), self._crowded_seconds
        soon = now < self._crowded_until + seconds
        self._crowded_seconds = min(2 * seconds, CROWDED_SECONDS_MAX) if soon else CROWDED_SECONDS
        self._crowded_until = now + self._crowded_seconds
        self.on_capacity()

    @property
    def lingering(self) -> int:
        """The number of stopped calls that still run. Each of them uses capacity."""
        return len(self._lingering)

    def linger(self, call: Call) -> None:
        """Watch a stopped call until it ends."""
        self._lingering.add(call)
        self.clock.call_later(self._kill_grace, self._check_stuck, call)
        self.on_capacity()

    def ended(self, call: Call) -> None:
        """A call has ended, lingering or not."""
        if call in self._lingering:
            self._lingering.remove(call)
            self.on_capacity()

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


def default_concurrency(executors: Sequence[Executor], threads: int) -> int:
    """The number of tasks that a process holds at once if nothing is said: hundreds, or as many as
    can run if all its commands need a thread or a process."""
    commands = [command for one in executors for command in one.commands.values()]
    if commands and all(map(_needs_place, commands)):
        return threads
    return max(threads, DEFAULT_CONCURRENCY)


def _lowest_ceiling(executors: Iterable[Executor]) -> int | None:
    ceilings = [executor.offer.ceiling for executor in executors]
    return min((one for one in ceilings if one is not None), default=None)


def _needs_place(command: Command | None) -> bool:
    return command is not None and command.needs_place


def _nothing() -> None:
    return None
