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
BY_TERMINAL = frozenset({signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU})
"""They stop a process until the shell of its terminal continues it, which a container does not
have."""
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
        os.setpgid(child, child)  # as the child does: whoever is first
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
    """Reap all that have ended, and continue the child if a terminal has stopped it.

    :returns: the exit code of the child if it is among those that have ended
    """
    found = None
    with contextlib.suppress(ChildProcessError):
        while (changed := os.waitpid(-1, os.WNOHANG | os.WUNTRACED))[0]:
            pid, status = changed
            if pid != child:
                continue
            if not os.WIFSTOPPED(status):
                code = os.waitstatus_to_exitcode(status)
                found = code if code >= 0 else KILLED - code
            elif os.WSTOPSIG(status) in BY_TERMINAL:
                os.killpg(child, signal.SIGCONT)
    return found


def _take_terminal() -> None:
    """Let Ctrl-C in a terminal reach this process only: its parent would pass it on as a second
    one.

    The terminal may be there although the input is a file.
    """
    os.setpgid(0, 0)
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    with contextlib.suppress(OSError):  # there is no terminal
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
        try:
            os.tcsetpgrp(terminal, os.getpgrp())
        finally:
            os.close(terminal)
    signal.signal(signal.SIGTTOU, before)
