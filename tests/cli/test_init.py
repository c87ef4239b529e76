"""`kaiju-tasks` as process 1 of a container: it reaps orphans and passes signals on."""

import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.wait import wait_until

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="there are containers on Linux only"
)

BEGIN = """
import os, signal, subprocess, sys
from kaiju_tasks.cli.init import become_init
from kaiju_tasks.executor.guardian import set_subreaper

set_subreaper()  # orphans become its children, like those of process 1
become_init()
say = lambda *words: print(*words, flush=True)
"""
ORPHAN = """
say(subprocess.run(["sh", "-c", "sleep 0.05 & echo $!"], stdout=subprocess.PIPE).stdout.decode())
say(*[subprocess.run(["sh", "-c", f"exit {code}"]).returncode for code in range(50)])
sys.stdin.read()
"""
HANDLER = """
watched = {signal.SIGTERM, signal.SIGHUP}
signal.pthread_sigmask(signal.SIG_BLOCK, watched)
say("ready")
say(*[signal.sigwait(watched).name for _ in range(2)])
sys.exit(7)
"""
TERMINAL = """
import os, sys
os.setsid()
terminal = os.open({path!r}, os.O_RDWR)  # the first that a session opens is its own
if {is_input}:
    os.dup2(terminal, 0)
"""
AT_TERMINAL = """
watched = {signal.SIGINT, signal.SIGTERM, signal.SIGCONT}
signal.pthread_sigmask(signal.SIG_BLOCK, watched)
say("ready")
while (number := signal.sigwait(watched)) != signal.SIGTERM:
    say(number.name)
say("end")
"""
KILLED = "os.kill(os.getpid(), signal.SIGKILL)"


class Program:
    def __init__(self, text: str, before: str = "") -> None:
        command = [sys.executable, "-u", "-c", before + BEGIN + text]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        assert select.select([self.process.stdout], [], [], 60)[0], "it prints nothing"
        return self.process.stdout.readline().strip()

    def ended(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(60)


@pytest.fixture
def programs() -> Iterator[list[Program]]:
    made: list[Program] = []
    yield made
    for program in made:
        program.process.kill()
        program.ended()
        assert program.process.stdout is not None
        program.process.stdout.close()


async def test_orphans_are_reaped_and_the_children_of_commands_are_not(
    programs: list[Program],
) -> None:
    programs.append(program := Program(ORPHAN))
    orphan = Path("/proc") / program.line()
    program.line()  # ends the line of the orphan
    assert program.line() == " ".join(map(str, range(50))), "their exit codes are their parent's"
    await wait_until(lambda: not orphan.exists(), "the orphan is reaped")
    assert program.process.poll() is None
    assert program.ended() == 0


def test_signals_are_passed_on_and_the_exit_code_comes_back(programs: list[Program]) -> None:
    programs.append(program := Program(HANDLER))
    assert program.line() == "ready"
    program.process.send_signal(signal.SIGHUP)
    program.process.send_signal(signal.SIGTERM)
    assert sorted(program.line().split()) == ["SIGHUP", "SIGTERM"]
    assert program.ended() == 7


@pytest.fixture
def terminal() -> Iterator[tuple[int, str]]:
    """The end of a keyboard, and the path of the terminal."""
    keyboard, screen = pty.openpty()
    yield keyboard, os.ttyname(screen)
    os.close(keyboard)
    os.close(screen)


@pytest.mark.parametrize("is_input", [True, False])
def test_no_key_of_a_terminal_stops_it_for_good(
    programs: list[Program], terminal: tuple[int, str], is_input: bool
) -> None:
    """A container has no shell that would continue it after Ctrl-Z."""
    keyboard, path = terminal
    before = TERMINAL.format(path=path, is_input=is_input)
    programs.append(program := Program(AT_TERMINAL, before))
    assert program.line() == "ready"
    os.write(keyboard, b"\x1a")
    assert program.line() == "SIGCONT"
    os.write(keyboard, b"\x03")
    assert program.line() == "SIGINT"
    program.process.send_signal(signal.SIGTERM)
    assert program.line() == "end", "Ctrl-C has arrived once"
    assert program.ended() == 0


def test_a_killed_child_is_told_from_one_that_exits(programs: list[Program]) -> None:
    programs.append(program := Program(KILLED))
    assert program.ended() == 128 + signal.SIGKILL


@pytest.mark.parametrize(("pid", "printed"), [(1, "init"), (2, "")])
def test_only_process_1_is_an_init(pid: int, printed: str) -> None:
    text = f"""
import os, sys
os.getpid = lambda: {pid}
from kaiju_tasks.cli import init, main
init.become_init = lambda: print("init")
sys.argv = ["kaiju-tasks", "--version"]
main()
"""
    command = [sys.executable, "-c", text]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")
    assert lines[0].startswith(printed or "kaiju-tasks")
