"""Looks whether the process of an executor on the manager's own machine has ended."""

import asyncio
import socket
from pathlib import Path

LOOK_AFTER_SECONDS = (0.0, 0.05, 0.2, 0.75)
"""A process that is killed closes its sockets a moment before it has ended."""
_ENDED = ("Z", "X")


class LocalProcess:
    """A process of this machine, as it was when its executor connected.

    :param started: its start time as the kernel shows it, which another process with the same id
        does not have
    """

    def __init__(self, pid: int, started: str) -> None:
        self._pid = pid
        self._started = started

    def has_ended(self) -> bool:
        """Whether it runs no more. It may still be a zombie."""
        found = _state(self._pid)
        return found is None or found[0] in _ENDED or found[1] != self._started


def local_process(host: str | None, pid: int | None) -> LocalProcess | None:
    """The process with this id, if it can be seen: on Linux, and not from another container.

    :param host: the name of the executor's machine, as the executor gives it
    """
    if pid is None or host != socket.gethostname():
        return None
    found = _state(pid)
    return None if found is None else LocalProcess(pid, found[1])


async def has_ended_soon(process: LocalProcess) -> bool:
    """Whether a process has ended, within a second from now."""
    for seconds in LOOK_AFTER_SECONDS:
        await asyncio.sleep(seconds)
        if process.has_ended():
            return True
    return False


def _state(pid: int) -> tuple[str, str] | None:
    """The state and the start time of a process; None if there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name before may contain anything
    return fields[0], fields[19]
