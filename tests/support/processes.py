"""Processes of a test: started, signalled, and always reaped at its end."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO

from tests.support.environment import ROOT, environment
from tests.support.forks import Fork, can_fork, fork
from tests.support.orphans import OrphanGuard
from tests.support.wait import PATIENCE_SECONDS, wait_until

__all__ = ["ROOT", "Processes", "RunningProcess"]

LOG_END_LINES = 200
CLI = "kaiju_tasks.cli"

Popen = subprocess.Popen[bytes] | Fork


class RunningProcess:
    """One process, its output in a file.

    It leads a process group; signals go to itself alone unless said otherwise.
    """

    def __init__(self, name: str, command: list[str], log_path: Path, popen: Popen) -> None:
        self.name = name
        self.command = command
        self.log_path = log_path
        self._popen = popen
        self._closed = False
        self._guard = OrphanGuard('kill -s KILL -- "-$1"', str(self.pid))

    @property
    def pid(self) -> int:
        """Its process id, which is its group's too."""
        return int(self._popen.pid)

    @property
    def exit_code(self) -> int | None:
        """None while it runs; -9 after a SIGKILL."""
        return None if (code := self._popen.poll()) is None else int(code)

    @property
    def log(self) -> str:
        """What it wrote so far, both streams."""
        return self.log_path.read_text(errors="replace")

    @property
    def log_end(self) -> str:
        """The end of the log, for people."""
        lines = self.log.splitlines()[-LOG_END_LINES:]
        return "\n".join([f"$ {' '.join(self.command)}", *lines, f"[exit code {self.exit_code}]"])

    def send(self, number: signal.Signals) -> None:
        """Send a signal; one that has ended already gets none."""
        self._popen.send_signal(number)

    def kill(self) -> None:
        """SIGKILL: no goodbye. Returns when it is gone."""
        self.send(signal.SIGKILL)
        self._popen.wait()

    def terminate(self) -> None:
        """SIGTERM: asks it to end. Await `ended()` next."""
        self.send(signal.SIGTERM)

    def pause(self) -> None:
        """SIGSTOP: it hangs, its connections stay open."""
        self.send(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT: it goes on."""
        self.send(signal.SIGCONT)

    async def ended(self, timeout: float = PATIENCE_SECONDS) -> int:
        """Wait until it has ended.

        :param timeout: seconds
        :returns: its exit code
        :raises AssertionError: when it still runs then
        """
        await wait_until(
            lambda: self.exit_code is not None, f"the process {self.name} has ended", timeout
        )
        code = self.exit_code
        assert code is not None
        return code

    async def logged(self, pattern: str, timeout: float = PATIENCE_SECONDS) -> re.Match[str]:
        """Wait until its output matches a regular expression (multi-line mode).

        :param timeout: seconds
        :raises AssertionError: when it does not, or the process ends first
        """
        compiled = re.compile(pattern, re.MULTILINE)

        def match() -> re.Match[str] | None:
            ended = self.exit_code is not None  # asked first: what it wrote last counts
            found = compiled.search(self.log)
            if found is None:
                self._refuse_if(ended, f"before it wrote /{pattern}/")
            return found

        found = await wait_until(match, f"{self.name} has written /{pattern}/", timeout)
        assert found is not None
        return found

    async def listening(
        self, port: int, host: str = "127.0.0.1", timeout: float = PATIENCE_SECONDS
    ) -> None:
        """Wait until somebody takes connections on a port.

        :param timeout: seconds
        :raises AssertionError: when nobody does, or the process ends first
        """

        async def connects() -> bool:
            self._refuse_if(self.exit_code is not None, f"before it listened on {port}")
            try:
                _, writer = await asyncio.open_connection(host, port)
            except ConnectionRefusedError:
                return False
            writer.close()
            await writer.wait_closed()
            return True

        await wait_until(connects, f"{self.name} listens on {host}:{port}", timeout)

    def close(self) -> None:
        """Kill it and its group, whatever it does, and reap it. May be called twice."""
        if self._closed:
            return
        self._closed = True
        # Its group may outlive it: the children of a manager that was killed are in it.
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass  # nobody is left (macOS says EPERM when only a zombie is)
        self._popen.wait()
        self._guard.release()

    def _refuse_if(self, ended: bool, when: str) -> None:
        if ended:
            raise AssertionError(f"{self.name} ended {when}:\n{self.log_end}")


class Processes:
    """The processes of one test.

    :param folder: holds their logs, and is where they work
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: list[RunningProcess] = []

    def __iter__(self):
        return iter(self._started)

    def kaiju(
        self,
        *arguments: str,
        name: str = "",
        env: Mapping[str, str] | None = None,
        module: str = CLI,
    ) -> RunningProcess:
        """Start `kaiju-tasks` with these arguments.

        :param name: of its log; default is the first argument
        :param env: beside this process's environment, of which no KAIJU_ setting is passed on
        :param module: what is run in its place
        """
        name = name or "-".join(arguments[:1])
        command = [sys.executable, "-m", module, *arguments]
        if module != CLI or not can_fork(env or {}):
            return self.start(command, name, env)

        def forked(log: BinaryIO) -> Fork:
            return fork(arguments, self._folder, {**environment(), **(env or {})}, log)

        return self._started_by(forked, command, name)

    def start(
        self, command: list[str], name: str, env: Mapping[str, str] | None = None
    ) -> RunningProcess:
        """Start any program. It sees this checkout's packages first."""

        def started(log: BinaryIO) -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                env={**environment(), **(env or {})},
                start_new_session=True,
            )

        return self._started_by(started, command, name)

    def _started_by(
        self, start: Callable[[BinaryIO], Popen], command: list[str], name: str
    ) -> RunningProcess:
        unique = f"{len(self._started) + 1}-{name}"
        path = self._folder / f"{unique}.log"
        with path.open("ab") as log:
            process = RunningProcess(unique, command, path, start(log))
        self._started.append(process)
        return process

    def close(self) -> None:
        """Kill and reap them all, the last one first."""
        for process in reversed(self._started):
            process.close()
