"""Executors of the library and for Node on one stream, while they and managers are killed.

100,000 stages, with figures of what has become of them: `TEST_SECONDS=7200 TASKS=25000 KILLS=120
pytest -s -n 0 -o faulthandler_timeout=0 tests/system/test_mixed.py`
"""

import os
from collections import Counter
from random import Random

from tests.support.node import FETCHER, find_node
from tests.support.processes import ROOT, Processes, RunningProcess
from tests.support.wait import wait_until
from tests.system.churn import fill
from tests.system.fleet import PATIENT, Fleet, Json, ManagerProcess, Trace, call_all, command

PYTHON = "tests.system.noting:executor"
NODE = ROOT / "tests" / "system" / "noting.mjs"
TASKS, KILLS = (int(os.environ.get(name, few)) for name, few in (("TASKS", 150), ("KILLS", 9)))
STAGES = 4
PATIENCE_SECONDS = 120.0
SECONDS_OF_A_TASK = 0.05
OVER = frozenset({"FINISHED", "SKIPPED"})
AGAIN = frozenset({"LOST", "RELEASED"})
OPEN = {"status": ["IDLE", "QUEUED", "EXECUTED", "WAITING", "SUSPENDED"]}


class Mixed:
    """Two managers and two executors of each kind.

    :ivar kills: how often each kind of process was killed
    """

    def __init__(self, fleet: Fleet, processes: Processes) -> None:
        self._fleet = fleet
        self._processes = processes
        self._dice = Random(3)
        self.managers: list[ManagerProcess] = []
        self._executors: dict[str, list[RunningProcess]] = {"python": [], "node": []}
        self.kills: Counter[str] = Counter()

    async def begin(self) -> None:
        self._fleet.commands = PYTHON
        self._fleet.settings = PATIENT
        self.managers = [await self._fleet.manager() for _ in range(2)]
        for kind in ("python", "node") * 2:
            await self._start(kind)

    async def kill(self) -> None:
        """Kill one process, of each kind in turn, and wait until another one serves."""
        kind = ("manager", "python", "node")[self.kills.total() % 3]
        self.kills[kind] += 1
        if kind == "manager":
            number = self._dice.randrange(len(self.managers))
            self.managers[number].process.kill()
            await self.managers[number].process.ended(PATIENCE_SECONDS)
            self.managers[number] = await self._fleet.again(self.managers[number])
        else:
            executors = self._executors[kind]
            executors.pop(self._dice.randrange(len(executors))).kill()
            await self._start(kind)

    async def _start(self, kind: str) -> None:
        process = self._started(kind)
        self._executors[kind].append(process)
        client = self._fleet.client(self.managers[0], retry_seconds=PATIENCE_SECONDS)

        async def connected() -> bool:
            found = await client.executors.list()
            return any(one["pid"] == process.pid and one["status"] == "ACTIVE" for one in found)

        await wait_until(connected, f"an executor ({kind}) is connected", PATIENCE_SECONDS)

    def _started(self, kind: str) -> RunningProcess:
        managers = self._dice.sample(self.managers, len(self.managers))
        if kind == "python":
            return self._fleet.start_executor(*managers).process
        with FETCHER.alone():
            node = find_node()
        urls = ",".join(manager.url for manager in managers)
        return self._processes.start([*node.with_websocket, str(NODE)], "node", {"KAIJU_URL": urls})


def task(number: int, trace: Trace) -> Json:
    """Its last stage is skipped if the number is odd."""
    follows = {"0": -1} if number % 2 else {"0": number}
    return {
        "id": f"t{number}",
        "commands": [
            command("note.echo", file=trace, data=number),
            command("note.sleep", file=trace, seconds=SECONDS_OF_A_TASK),
            command("note.echo", file=trace, data=["[0]", "[id]"]),
            {**command("note.echo", file=trace, data="[2]"), "condition": follows},
        ],
    }


def expected(number: int) -> list[object]:
    read = [number, f"t{number}"]
    return [number, SECONDS_OF_A_TASK, read, None if number % 2 else read]


async def test_no_result_is_lost_or_wrong_and_each_extra_start_is_accounted_for(
    team: Fleet, processes: Processes
) -> None:
    """Each start of a stage left a line. A stage has no more of them than attempts in its history:
    the one that counts, and those that were lost or given back."""
    mixed = Mixed(team, processes)
    await mixed.begin()
    trace = team.file("starts")
    tasks = [task(number, trace) for number in range(TASKS)]
    clients = [team.client(manager) for manager in mixed.managers]
    for kill in range(KILLS):
        part = tasks[kill * TASKS // KILLS : (kill + 1) * TASKS // KILLS]
        await fill(clients, part, 0)
        await mixed.kill()
    client = team.client(mixed.managers[0], retry_seconds=PATIENCE_SECONDS)

    async def all_over() -> bool:
        return bool((await client.tasks.count(OPEN))["count"] == 0)

    await wait_until(all_over, "all tasks are over", PATIENCE_SECONDS + TASKS / 20)
    starts = Counter(trace.lines)
    found = Counter[str]()
    problems: list[object] = []
    for begin in range(0, TASKS, 100):
        numbers = range(begin, min(TASKS, begin + 100))
        calls = [("tasks.get", {"id": f"t{number}"}) for number in numbers]
        done = await call_all(client, calls)
        calls = [("tasks.stages", {"job_id": one["job_id"]}) for one in done]
        for number, one, records in zip(numbers, done, await call_all(client, calls), strict=True):
            right = one["status"] == "FINISHED" and one["result"] == expected(number)
            counts, odd = account(one["job_id"], records, starts)
            found += counts
            problems += [] if right and not odd else [(one, records, odd)]
    found["starts that are in no history"] = starts.total()
    show(found, len(problems), mixed.kills)
    assert not problems, problems[:3]
    assert not starts
    assert found["stages finished"] + found["stages skipped"] == TASKS * STAGES


def show(found: Counter[str], problems: int, kills: Counter[str]) -> None:
    figures = {
        "tasks": TASKS,
        "tasks that are lost or wrong": problems,
        "stages": TASKS * STAGES,
        **found,
        **{f"kills of {kind}": count for kind, count in kills.items()},
    }
    print("\n" + "\n".join(f"{name:40} {figure:>9,}" for name, figure in figures.items()))


def account(
    job_id: str, records: list[Json], starts: Counter[str]
) -> tuple[Counter[str], list[str]]:
    """Compare the starts of a run with its history, and take them out.

    :returns: figures, and what is wrong
    """
    found, odd = Counter[str](), list[str]()
    for stage in range(STAGES):
        attempts = sorted((r for r in records if r["stage"] == stage), key=lambda r: r["attempt"])
        outcomes = [record["outcome"] for record in attempts]
        last, others = outcomes[-1:], outcomes[:-1]
        if not {*last} <= OVER or not {*others} <= AGAIN:
            odd.append(f"stage {stage}: {outcomes}")
        begun = starts.pop(f"{job_id}/{stage}", 0)
        counts = last.count("FINISHED")
        if not counts <= begun <= counts + len(others):
            odd.append(f"stage {stage} has begun {begun} times: {outcomes}")
        found["stages finished"] += counts
        found["stages skipped"] += last.count("SKIPPED")
        found["attempts lost or given back"] += len(others)
        found["extra starts"] += begun - counts
    return found, odd
