"""Remembers the gates of methods at which tasks wait for executors of this manager.

What is remembered is a hint: at a gate that is named here there may be no task any more.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable
from collections.abc import Set as AbstractSet

from kaiju_tasks.lifecycle import is_suspect_gate
from kaiju_tasks.manager.executors.sessions import Sessions

PAGE = 1000
START = ("", "")
NONE: frozenset[str] = frozenset()


class MethodGates:
    """The gates of methods, by stream.

    :param read_page: reads gates and their streams from the store, after one of them and up to a
        number
    :param interval: seconds after which they are read again while tasks wait at any
    :ivar stale: whether they are to be read from the store
    :ivar wanted: whether they are to be read as soon as it is known that tasks wait at any
    """

    def __init__(
        self,
        read_page: Callable[[tuple[str, str], int], Awaitable[list[tuple[str, str]]]],
        interval: float,
    ) -> None:
        self._read_page = read_page
        self._interval = interval
        self._read_at = float("-inf")
        self.wanted = False
        self._gates: dict[str, set[str]] = {}
        self._after = START
        self.stale = False

    def __bool__(self) -> bool:
        return bool(self._gates)

    def add(self, app_name: str, gate: str) -> None:
        self._gates.setdefault(app_name, set()).add(gate)

    def discard(self, app_name: str, gates: Iterable[str]) -> None:
        known = self._gates.get(app_name)
        if known is not None:
            known.difference_update(gates)
            if not known:
                del self._gates[app_name]

    def forget(self, app_name: str) -> None:
        self._gates.pop(app_name, None)

    def of(self, app_name: str, *, suspect: bool = False) -> Collection[str]:
        """The gates of a stream at which ordinary or suspect tasks wait, in a fixed order."""
        known = self._gates.get(app_name)
        if known is None:
            return NONE
        return sorted(gate for gate in known if is_suspect_gate(gate) is suspect)

    def streams(self) -> AbstractSet[str]:
        """The streams with gates of ordinary tasks."""
        if not self._gates:
            return NONE
        return {app_name for app_name in self._gates if self.of(app_name)}

    def suspect(self) -> AbstractSet[str]:
        """The streams with gates of suspect tasks."""
        if not self._gates:
            return NONE
        return {app_name for app_name in self._gates if self.of(app_name, suspect=True)}

    def seen(self, now: float) -> None:
        """Tasks wait at gates of methods.

        :param now: seconds of the event loop
        """
        if self.wanted or now - self._read_at >= self._interval:
            self.stale, self.wanted, self._read_at = True, False, now

    async def read(self, sessions: Sessions) -> bool:
        """Read a page of the gates, and remember those of methods that sessions have. Returns
        whether there are more to read."""
        self.stale = False
        try:
            page = await self._read_page(self._after, PAGE)
        except BaseException:
            self.stale = True
            raise
        for gate, app_name in page:
            if any(s.gates_among(app_name, (gate,)) for s in sessions.serving(app_name)):
                self.add(app_name, gate)
        more = len(page) == PAGE
        self._after = page[-1] if more else START
        self.stale |= more
        return more
