"""Managers and executors of one test, on one database."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kaiju_tasks import Client
from kaiju_tasks.errors import KaijuError, NotFound, Unavailable
from tests.support.ports import free_port
from tests.support.processes import CLI, Processes, RunningProcess
from tests.support.wait import wait_until

COMMANDS = "tests.system.commands:executor"
APP = "system"
START_SECONDS = 60.0
SECONDS = 60.0
"""For what happens at once on a machine that has nothing else to do."""

Json = dict[str, Any]

QUICK = {"ping_interval": 0.5, "suspend_after_pings": 8, "reconnect_grace": 0.5}
"""A dead executor is noticed after half a second, a hung one after four."""
PATIENT = {"ping_interval": 0.5, "suspend_after_pings": 20, "reconnect_grace": 10}
"""Nobody is expelled because the machine is slow."""


@dataclass(frozen=True)
class ManagerProcess:
    """A manager; `url` stays the same when it is started again."""

    process: RunningProcess
    url: str


@dataclass(frozen=True)
class ExecutorProcess:
    process: RunningProcess
    id: str


class Fleet:
    """Starts managers and executors.

    :param db: the URL of their database
    :param folder: for the traces that stages leave
    :ivar address: by which executors and clients reach the managers
    :ivar commands: the executors' module and attribute
    :ivar environ: variables of the environment beside the settings
    :ivar program: the module that runs as the manager
    """

    def __init__(self, processes: Processes, db: str, folder: Path) -> None:
        self._processes = processes
        self._db = db
        self._folder = folder
        self._count = 0
        self._clients: list[Client] = []
        self.executors: list[RunningProcess] = []
        self.settings: Mapping[str, Any] = QUICK
        self.address = "127.0.0.1"
        self.commands = COMMANDS
        self.environ: Mapping[str, str] = {}
        self.program = CLI

    async def manager(self, port: int = 0) -> ManagerProcess:
        """Start a manager and wait until it is ready."""
        return await self.ready(self.start_manager(port or free_port()))

    def start_manager(self, port: int) -> ManagerProcess:
        """Start a manager on a port."""
        arguments = ["serve", "--port", str(port), "--db", self._db]
        environ = {**_environ(self.settings), **self.environ}
        process = self._processes.kaiju(*arguments, env=environ, module=self.program)
        return ManagerProcess(process, f"http://{self.address}:{port}")

    async def ready(self, manager: ManagerProcess) -> ManagerProcess:
        """Wait until a manager is ready."""
        await manager.process.logged(r"^kaiju-tasks \S+ at ", START_SECONDS)
        return manager

    async def again(self, manager: ManagerProcess) -> ManagerProcess:
        """Start a manager that has ended once more, on its old port."""
        return await self.manager(int(manager.url.rpartition(":")[2]))

    async def executor(
        self, *managers: ManagerProcess, concurrency: int = 16, **settings: Any
    ) -> ExecutorProcess:
        """Start an executor and wait until the first manager knows it."""
        executor = self.start_executor(*managers, concurrency=concurrency, **settings)
        await self.connected(managers[0], executor)
        return executor

    def start_executor(
        self, *managers: ManagerProcess | str, concurrency: int = 16, **settings: Any
    ) -> ExecutorProcess:
        """Start an executor of managers, or of their URLs, which it tries in turn."""
        self._count += 1
        name = f"executor-{self._count}"
        arguments = ["executor", self.commands, "--id", name, "--concurrency", str(concurrency)]
        for manager in managers:
            arguments += ["--manager", manager if isinstance(manager, str) else manager.url]
        environ = {**_environ(settings), **self.environ}
        process = self._processes.kaiju(*arguments, name=name, env=environ)
        self.executors.append(process)
        return ExecutorProcess(process, name)

    async def connected(self, manager: ManagerProcess, executor: ExecutorProcess) -> None:
        """Wait until an executor may take work, from whichever manager."""
        client = self.client(manager)

        async def active() -> bool:
            try:
                return bool((await client.executors.get(executor.id))["status"] == "ACTIVE")
            except (NotFound, Unavailable):
                return False

        await wait_until(active, f"{executor.id} is connected", START_SECONDS)

    def client(self, manager: ManagerProcess, retry_seconds: float = 0.0) -> Client:
        """A client of one manager, closed at the end of the test; it hides no outage."""
        self._clients.append(Client(manager.url, retry_seconds=retry_seconds))
        return self._clients[-1]

    def file(self, name: str) -> "Trace":
        """A file that stages append to."""
        return Trace(self._folder / name)

    @property
    def living(self) -> list[RunningProcess]:
        """The executors that run."""
        return [process for process in self.executors if process.exit_code is None]

    async def close(self) -> None:
        """End everything, before the database goes. Whatever was done to them, none crashed."""
        for client in self._clients:
            await client.close()
        for process in self._processes:
            process.close()
        for process in self._processes:
            assert "Traceback" not in process.log, process.log_end


class Trace:
    """A file in which stages leave a line each."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __str__(self) -> str:
        return str(self._path)

    @property
    def lines(self) -> list[str]:
        """What was appended so far; whole lines only."""
        if not self._path.exists():
            return []
        return self._path.read_text().split("\n")[:-1]

    async def has(self, count: int) -> list[str]:
        """Wait until there are so many lines."""
        await wait_until(
            lambda: len(self.lines) >= count, f"{self._path.name} has {count} lines", SECONDS
        )
        return self.lines

    def touch(self, suffix: str = "") -> None:
        """Open the gate of this name, for all or for one process."""
        Path(f"{self._path}{suffix}").touch()


def task(id: str, *commands: Json, **fields: Any) -> Json:
    """A task of the stream of `commands.py`."""
    return {"id": id, "app_name": APP, "commands": list(commands), **fields}


def command(method: str, max_timeout: float | None = None, **params: Any) -> Json:
    """A command; traces among the params become their paths."""
    plain = {name: str(v) if isinstance(v, Trace) else v for name, v in params.items()}
    timeout = {} if max_timeout is None else {"max_timeout": max_timeout}
    return {"method": method, "params": plain, **timeout}


async def ended(client: Client, id: str, seconds: float = SECONDS) -> Json:
    """The task when its run has ended."""
    found = await client.tasks.wait(id, seconds)
    assert found["status"] in ("FINISHED", "FAILED"), await explained(client, id)
    return found


async def explained(client: Client, id: str) -> str:
    """The task, its history and the executors, to explain why a task stands where it stands."""
    found = await client.tasks.get(id)
    return f"{found}\n{await history(client, found)}\n{await client.executors.list()}"


async def has_status(client: Client, id: str, status: str) -> Json:
    """Wait until a task has a status."""
    return await _has(client, id, "status", status)


async def has_reason(client: Client, id: str, reason: str) -> Json:
    """Wait until a task stands where it stands for a reason."""
    return await _has(client, id, "status_reason", reason)


async def _has(client: Client, id: str, field: str, value: str) -> Json:
    async def there() -> Json:
        found: Json = await client.tasks.get(id)
        return found if found[field] == value else {}

    return await wait_until(there, f"{field} of {id} is {value}", SECONDS)


async def history(client: Client, of: Json) -> list[Json]:
    """All attempts of the task's run, in order."""
    records: list[Json] = await client.tasks.stages(of["job_id"])
    return sorted(records, key=lambda r: (r["cycle"], r["stage"], r["attempt"]))


def outcomes(records: Iterable[Json], stage: int | None = None) -> list[str]:
    """The outcomes of attempts, of one stage or of all."""
    return [r["outcome"] for r in records if stage in (None, r["stage"])]


async def call_all(client: Client, calls: list[tuple[str, Json]]) -> list[Any]:
    """Many calls in batches; errors are raised."""
    answers: list[Any] = []
    for start in range(0, len(calls), 100):
        for answer in await client.batch(calls[start : start + 100]):
            if isinstance(answer, KaijuError):
                raise answer
            answers.append(answer)
    return answers


def _environ(settings: Mapping[str, Any]) -> dict[str, str]:
    return {f"KAIJU_{name.upper()}": str(value) for name, value in settings.items()}
