"""The terminal of somebody who follows a page: a folder, an environment, commands."""

import os
import re
import shlex
import shutil
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.docs.blocks import Step
from tests.docs.expected import match, match_among
from tests.support.node import find_node
from tests.support.ports import free_port
from tests.support.postgres_binaries import find_postgres
from tests.support.processes import ROOT, Processes, RunningProcess
from tests.support.wait import wait_until

PORTS = re.compile(r"\b(8077|808[0-2]|9000)\b")
DATABASE = re.compile(r"postgresql://kaiju(?::…)?@db\.internal/tasks")
FAILURE = re.compile(r'\{"error"|error: ')
"""What a command prints that a page shows to fail."""
STOP = "systemctl stop kaiju-manager"
START = "systemctl start kaiju-manager"
NODE = re.compile(r"^node (?=\w+_service\.mjs)")
MANAGER = re.compile(r"make run\b|kaiju-tasks serve\b")
ANSWERS = {
    MANAGER: r"^kaiju-tasks \S+ at \S+ ",
    re.compile(r"(?<!-- )kaiju-tasks executor\b(?!.*--until-idle)"): "connected to manager",
    re.compile(r"python \w*(receiver|web|service)\.py"): "(Running|Serving) on ",
    NODE: "Serving on ",
    re.compile(r"kaiju-tasks events\b"): "",
}
"""Programs that run on until they are stopped, and what they print when they are there."""
PLACES = {
    "/opt/billing/.venv/bin/": "",
    "/var/lib/kaiju": "{folder}",
    "path/to/kaiju_tasks": str(ROOT),
    "make run": "make -o .venv/.run run PORT=8077",
    "python -m venv venv": "python -m tests.docs.fresh_venv venv",
    "pip wheel": "pip wheel --no-build-isolation --no-index",
    "pip install dist": "pip install --no-index dist",
    "https://shop.example/": "http://127.0.0.1:8080/",
    "http://a:": "http://127.0.0.1:",
    "http://b:": "http://127.0.0.1:",
}
"""What a page names that is another here: places, and programs that would fetch something."""
LINKS = ("Makefile", "examples", "kaiju_tasks", "pyproject.toml", "README.md", "LICENSE")

SQLITE = f"""#!{sys.executable}
import sqlite3, sys
sqlite3.connect(sys.argv[1], isolation_level=None).execute(sys.argv[2])
"""
"""What stands for the program `sqlite3` where that is not installed."""


class Console:
    """Runs the commands of a page, in its order.

    :param database: the PostgreSQL that stands for the page's `db.internal`
    """

    def __init__(self, folder: Path, processes: Processes, database: str | None) -> None:
        self.folder = folder
        self._processes = processes
        self._database = database
        self._ports: dict[str, str] = {}
        self._ids: dict[str, str] = {}
        self._lasting: list[tuple[Step, RunningProcess]] = []
        self._state = folder / ".state"
        self._state.write_text(_exports(self._environment()))
        for name in LINKS:
            (folder / name).symlink_to(ROOT / name)
        if shutil.which("sqlite3") is None:
            _install(folder / "bin" / "sqlite3", SQLITE)
        (folder / ".venv").symlink_to(sys.prefix)

    @property
    def url(self) -> str:
        """The manager of the page."""
        return f"http://127.0.0.1:{self._port('8077')}"

    def here(self, text: str) -> str:
        """A page's text with this machine's ports, addresses and places."""
        for there, here in PLACES.items():
            text = text.replace(there, here.replace("{folder}", str(self.folder)))
        if self._database is not None:
            text = DATABASE.sub(lambda _: str(self._database), text)
        return PORTS.sub(lambda found: self._port(found[0]), text)

    async def run(self, step: Step) -> None:
        """Run a command and compare what it prints with what the page shows.

        :raises AssertionError: it fails, or prints something else
        """
        made = re.match(r"(?:\w+=\S+ )*make (?!run\b)", step.command)
        assert made is None, f"{step.block.place}: `make` would change the environment it runs in"
        if step.command == STOP:
            await self._stop_managers()
            return
        if step.command == START:
            step = [one for one, _ in self._lasting if MANAGER.search(one.command)][-1]
        for program, answer in ANSWERS.items():
            if program.search(step.command):
                await self._start(step, program is MANAGER, answer)
                return
        process = self._spawn(step)
        code = await process.ended(180)
        printed = process.log.splitlines()
        where = f"{step.block.place}: $ {step.command}\n{process.log_end}"
        shown_to_fail = any(FAILURE.match(line) for line in step.expected)
        assert (code == 0) != shown_to_fail, where
        assert "Traceback" not in process.log, where
        if step.expected:
            self._learn(match(self._expected(step), printed), where)
        if last := re.findall(r"\b[0-9a-f]{32}\b", process.log):
            self._ids["ID"] = last[-1]

    async def end(self) -> None:
        """Wait for what the page shows of the programs that run on.

        :raises AssertionError: one of them has printed something else, or failed
        """
        for step, process in self._lasting:
            await self._has_printed(step, process)
            assert "Traceback" not in process.log, process.log_end

    async def _start(self, step: Step, manager: bool, answer: str) -> None:
        if manager:
            await self._stop_managers()
        command = step.command
        if NODE.search(command):
            command = NODE.sub(f"{find_node().program} ", command)
        process = self._spawn(step._replace(command=f"exec env {command}"))
        self._lasting.append((step, process))
        if answer:
            await process.logged(answer)
        if "--executor" in step.command or "make run" in step.command:
            await process.logged("connected to manager")
        if not answer and step.expected:
            await self._probe(step, process)

    async def _stop_managers(self) -> None:
        for step, process in self._lasting:
            if MANAGER.search(step.command) and process.exit_code is None:
                await self._has_printed(step, process)
                os.killpg(process.pid, signal.SIGINT)  # Ctrl-C
                await process.ended()
                assert "Traceback" not in process.log, process.log_end

    async def _probe(self, step: Step, process: RunningProcess) -> None:
        """Create tasks until events of them are printed: it has subscribed."""
        found = re.search(r"app_name=(\w+)", step.command)
        stream = found[1] if found else "default"

        async def printed() -> bool:
            task = f'kaiju-tasks task create --app {stream} --method _TIMER_ --param "timer=0"'
            assert await self._spawn(step._replace(command=task)).ended() == 0
            return bool(process.log)

        await wait_until(printed, f"{step.command} prints events")

    async def _has_printed(self, step: Step, process: RunningProcess) -> None:
        def matches() -> bool:
            try:
                self._ids.update(match_among(self._expected(step), process.log.splitlines()))
            except AssertionError:
                return False
            return True

        await wait_until(matches, f"{step.command} has printed {step.expected}; {process.log_end}")

    def _spawn(self, step: Step) -> RunningProcess:
        state = shlex.quote(str(self._state))
        command = self.here(step.command)
        for shown, printed in self._ids.items():
            command = re.sub(rf"\b{shown}", printed, command)
        command = f". {state}\n{command}\ncode=$?\nexport -p > {state}\nexit $code"
        return self._processes.start(["bash", "-c", command], "page", {"TERM": "dumb"})

    def _expected(self, step: Step) -> list[str]:
        return [self.here(line) for line in step.expected]

    def _learn(self, ids: Mapping[str, str], where: str) -> None:
        for shown, printed in ids.items():
            assert self._ids.setdefault(shown, printed) == printed, where

    def _environment(self) -> dict[str, str]:
        folders = [self.folder / "bin", Path(sys.executable).parent, os.environ["PATH"]]
        if self._database is not None:
            folders.insert(0, find_postgres()[0].folder)
        path = os.pathsep.join(map(str, folders))
        url, port = self.url, self._port("8077")
        return {"PATH": path, "KAIJU_URL": url, "KAIJU_PORT": port, "PYTHONUNBUFFERED": "1"}

    def _port(self, shown: str) -> str:
        return self._ports.setdefault(shown, str(free_port()))


def _exports(environment: Mapping[str, str]) -> str:
    return "".join(f"export {name}={shlex.quote(text)}\n" for name, text in environment.items())


def _install(program: Path, text: str) -> None:
    program.parent.mkdir()
    program.write_text(text)
    program.chmod(0o755)
