"""Starts `kaiju-tasks` by forking a process that has imported it: this takes a twentieth of the
CPU time of a new interpreter.

A fork is a real process, with its own pid, session, streams, environment, folder and signals, and
runs the same `main`. It differs from a new interpreter in what is read before `main`: variables
such as PYTHONPATH, and which modules are imported when.

`python -m tests.support.forks` is the process that forks. It ends when its socket is closed.
"""

import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

from tests.support.environment import environment

PRELOADED = (
    "asyncpg",
    "uvloop",
    "kaiju_tasks.cli.events",
    "kaiju_tasks.cli.executor",
    "kaiju_tasks.cli.loop",
    "kaiju_tasks.cli.main",
    "kaiju_tasks.cli.serve",
    "kaiju_tasks.cli.task",
    "kaiju_tasks.executor.process",
    "kaiju_tasks.server",
    "kaiju_tasks.system_executor",
)
READ_BEFORE_MAIN = ("PYTHON", "LC_", "LANG", "LD_", "TZ")
REQUEST_BYTES_MAX = 100_000


class Fork:
    """A process that was forked, with what the tests use of `subprocess.Popen`.

    :param ended: gets its exit code when it has ended
    """

    def __init__(self, pid: int, ended: socket.socket) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._ended = ended

    def poll(self) -> int | None:
        """The exit code, or None while it runs; below 0, the signal that ended it."""
        return self._read(socket.MSG_DONTWAIT)

    def wait(self) -> int:
        """Wait until it has ended. Returns its exit code."""
        code = self._read(0)
        assert code is not None
        return code

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def _read(self, flags: int) -> int | None:
        if self.returncode is None:
            try:
                code = self._ended.recv(16, flags)
            except BlockingIOError:
                return None
            assert code, "the process that forks has ended"
            self.returncode = int(code)
            self._ended.close()
        return self.returncode


def can_fork(variables: Iterable[str]) -> bool:
    """Whether a fork can have these variables, beside or instead of those of this process."""
    read_before = any(name.startswith(READ_BEFORE_MAIN) for name in variables)
    return sys.platform == "linux" and not read_before


def fork(
    arguments: Sequence[str],
    cwd: Path,
    env: Mapping[str, str],
    output: BinaryIO,
    errors: BinaryIO | None = None,
) -> Fork:
    """Start `kaiju-tasks`.

    :param errors: gets its stderr; default is `output`
    """
    requests = _forking()
    ended, its_end = socket.socketpair()
    with its_end, open(os.devnull, "rb") as nothing:
        request = json.dumps({"arguments": arguments, "cwd": str(cwd), "env": dict(env)})
        files = [file.fileno() for file in (its_end, nothing, output, errors or output)]
        socket.send_fds(requests, [request.encode()], files)
    return Fork(int(requests.recv(16)), ended)


@cache
def _forking() -> socket.socket:
    """A socket to the process that forks."""
    ours, its = socket.socketpair(type=socket.SOCK_SEQPACKET)
    with its:
        subprocess.Popen(
            [sys.executable, "-m", "tests.support.forks", str(its.fileno())],
            stdin=subprocess.DEVNULL,
            pass_fds=[its.fileno()],
            start_new_session=True,
            env=environment(),
        )
    return ours


def main() -> None:
    """Fork at each request. The forks return from here, and run."""
    run = import_module("kaiju_tasks.cli").main  # before a submodule of that name is imported
    for module in PRELOADED:
        import_module(module)
    gc.freeze()
    _become(*_forked(socket.socket(fileno=int(sys.argv[1]))))
    run()


def _forked(requests: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Serve requests.

    :returns: in each fork, its request and its files; this closes the sockets of this function
    """
    running: dict[int, socket.socket] = {}
    died, wake = socket.socketpair()
    wake.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    while True:
        ready, _, _ = select.select([requests, died], [], [])
        if died in ready:
            died.recv(4096)
            _report(running)
        if requests in ready:
            request, files, _, _ = socket.recv_fds(requests, REQUEST_BYTES_MAX, 4)
            if not request:
                os._exit(0)
            pid = os.fork()
            if pid == 0:
                os.close(files[0])
                return json.loads(request), files[1:]
            running[pid] = socket.socket(fileno=files[0])
            for file in files[1:]:
                os.close(file)
            requests.send(str(pid).encode())


def _report(running: dict[int, socket.socket]) -> None:
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        with running.pop(pid) as ended:
            try:
                ended.send(str(os.waitstatus_to_exitcode(status)).encode())
            except BrokenPipeError:
                pass  # nobody wants to know any more


def _become(request: dict[str, Any], files: Sequence[int]) -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.path[0] = request["cwd"]
    sys.argv[1:] = request["arguments"]
    sys.orig_argv = [sys.executable, "-m", "kaiju_tasks.cli", *request["arguments"]]


if __name__ == "__main__":
    main()
