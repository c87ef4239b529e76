"""Ends all descendants of a worker process when its stage or its executor has ended (Linux).

A command may start programs that start others, and some of them leave their process group or their
parent, as daemons do. So the process that the executor starts becomes a guardian, and runs the
command in a child. Orphans among its descendants become its children (PR_SET_CHILD_SUBREAPER), so
that it finds all of them. It ends them when the command has ended, when it gets SIGTERM, and when
the other end of the pipe to the executor is closed, which the kernel does even after a SIGKILL.
"""

import contextlib
import ctypes
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ["GUARDED", "guard", "set_subreaper"]

GUARDED = sys.platform == "linux"
"""Whether a worker has a guardian here."""

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
PASS_SECONDS = 0.005
PASSES_MAX = 400
"""A process that has been sent SIGKILL may take a moment, or longer in a call to the kernel."""


def guard() -> None:
    """Become the guardian. Only the child, in which the command is run, returns from this.

    Call it before the process has threads.
    """
    if not GUARDED:
        return
    set_subreaper()
    wake_in, wake_out = os.pipe()
    os.set_blocking(wake_out, False)
    signal.set_wakeup_fd(wake_out, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, _noted)
    guardian, worker = os.getpid(), os.fork()
    if worker:
        _watch(worker, wake_in)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    os.close(wake_in)
    os.close(wake_out)
    os.setpgid(0, 0)
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != guardian:
        os._exit(1)


def set_subreaper() -> None:
    """Let orphans among the descendants of this process become its children."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def _noted(number: int, frame: object) -> None:
    """Nothing: the number is in the wake-up pipe."""


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"prctl: {os.strerror(error)}")


def _watch(worker: int, wake: int) -> None:
    """Wait until the command has ended or must end, end all that is left, and exit as it did."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)  # the executor reads the end of the output when the command has ended
    poll = select.poll()
    poll.register(0, 0)  # POLLHUP only: what the executor writes is for the command
    poll.register(wake, select.POLLIN)
    status: int | None = None
    asked = False
    while status is None and not asked:
        for fd, _ in poll.poll():
            asked = asked or fd == 0 or signal.SIGTERM in os.read(wake, 1000)
        status = _reap(worker, status)
    for _ in range(PASSES_MAX):
        _kill_all()
        status = _reap(worker, status)
        if not _has_children():
            break
        time.sleep(PASS_SECONDS)
    _exit_as(status)


def _reap(worker: int, status: int | None) -> int | None:
    """Reap all that have ended. Returns the wait status of the worker, once it is known."""
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == worker:
                status = ended[1]
    return status


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _kill_all() -> None:
    for pid in list(_descendants(os.getpid())):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def _descendants(root: int) -> Iterator[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it has ended meanwhile
                # The second field may contain spaces and parentheses.
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                if state != "Z":
                    children.setdefault(int(parent), []).append(int(entry.name))
    waiting = [root]
    while waiting:
        found = children.get(waiting.pop(), [])
        yield from found
        waiting += found


def _exit_as(status: int | None) -> None:
    code = 1 if status is None else os.waitstatus_to_exitcode(status)
    if code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with contextlib.suppress(OSError):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(max(code, 1) if code < 0 else code)
