"""Acts as the init process of a container, in which nobody else does.

Process 1 becomes the parent of all orphans, such as daemons that commands have started, and has to
reap them. An executor cannot do so itself: it would take the exit codes of the programs that its
commands wait for. So it runs in a child.
"""

import contextlib
import os
import signal

__all__ = ["become_init"]

PASSED_ON = frozenset(
    {
        signal.SIGHUP,
        signal.SIGINT,
        signal.SIGQUIT,
        signal.SIGTERM,
        signal.SIGUSR1,
        signal.SIGUSR2,
    }
)
KILLED = 128
"""Added to the number of the signal, as shells do."""


def become_init() -> None:
    """Fork. Only the child returns; this process passes signals on to it, reaps orphans, and exits
    as the child does.

    Call it before the process has threads.
    """
    watched = {*PASSED_ON, signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    child = os.fork()
    if child:
        os._exit(_watch(child, watched))
    _take_terminal()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _watch(child: int, watched: set[signal.Signals]) -> int:
    """Wait until the child has ended.

    :returns: the exit code
    """
    while True:
        number = signal.sigwait(watched)
        if number != signal.SIGCHLD:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, number)
        elif (code := _reap(child)) is not None:
            return code


def _reap(child: int) -> int | None:
    """Reap all that have ended.

    :returns: the exit code of the child if it is among them
    """
    found = None
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == child:
                code = os.waitstatus_to_exitcode(ended[1])
                found = code if code >= 0 else KILLED - code
    return found


def _take_terminal() -> None:
    """Let Ctrl-C in a terminal reach this process only: its parent would pass it on as a second
    one."""
    os.setpgid(0, 0)
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    with contextlib.suppress(OSError):  # there is no terminal
        os.tcsetpgrp(0, os.getpgrp())
    signal.signal(signal.SIGTTOU, before)
