"""Clients: they create tasks of every kind and do to them what operators do."""

import asyncio
from random import Random
from typing import Any

import msgspec

from kaiju_tasks.lifecycle import Row
from kaiju_tasks.types import MESSAGE, TIMER, TaskStatus
from tests.simulation.invariants import Invariant
from tests.simulation.loop import Process
from tests.simulation.manager import SimManager
from tests.simulation.network import Network
from tests.simulation.oracle import Oracle
from tests.simulation.tied import Tied
from tests.simulation.trace import Trace

PATIENCE_SECONDS = 20.0
LINE_PAUSE_SECONDS = 0.5
REPEAT_SECONDS = 4.0
FAR_SECONDS = 600.0
"""How long clients wait on average before they repeat a call: some runs of a schedule."""
DOMAIN_ERRORS = frozenset({404, 409, -32602})
AGAIN = 503
RINGS = 0.25
SKIPPED_WAIT = {
    "method": TIMER,
    "params": {"timer": 3600},
    "condition": {"kws.wait:false": {"eq": True}},
}


class Fault(Exception):
    """The manager answered with an error."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code} {message}")
        self.code = code


class Client:
    """Calls whichever manager is up, again and again until it has an answer."""

    def __init__(
        self, managers: list[SimManager], network: Network, random: Random, trace: Trace
    ) -> None:
        self.process = Process("client")
        self._managers = managers
        self._network = network
        self._random = random
        self._trace = trace

    async def call(self, method: str, /, **params: Any) -> Any:
        """:raises Fault: an error that is an answer"""
        while True:
            await asyncio.sleep(self._network.delay())
            up = [manager for manager in self._managers if manager.ready]
            if not up:
                await asyncio.sleep(0.3)
                continue
            try:
                answer = await self._post(self._random.choice(up), method, params)
            except TimeoutError:
                continue
            error = answer.get("error")
            if error is None:
                return answer["result"]
            if error["code"] == AGAIN:
                await asyncio.sleep(self._random.random())
                continue
            if error["code"] not in DOMAIN_ERRORS:
                self._trace.violated(
                    Invariant.CALLS_ARE_ANSWERED, f"{method} {params} is answered {error}"
                )
            raise Fault(error["code"], error["message"])

    async def _post(self, manager: SimManager, method: str, params: Any) -> Any:
        done: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def arrived(answer: bytes) -> None:
            if not done.done():
                done.set_result(answer)

        def answered(answer: bytes) -> None:
            self.process.call_later(self._network.delay(), arrived, answer)

        manager.process.call_later(0.0, manager.asked, method, params, answered)
        async with asyncio.timeout(PATIENCE_SECONDS):
            return msgspec.json.decode(await done)

    async def attempt(self, method: str, /, **params: Any) -> Any:
        """Call; None when the manager refuses."""
        try:
            answer = await self.call(method, **params)
        except Fault as fault:
            self._trace("client", f"{method} {params.get('id')}: {fault}")
            return None
        return answer


class Workload:
    """One seed's tasks and what is done to them."""

    def __init__(
        self,
        client: Client,
        oracle: Oracle,
        random: Random,
        trace: Trace,
        app_names: list[str],
        *,
        lethal: bool,
    ) -> None:
        self._client = client
        self._oracle = oracle
        self._random = random
        self._trace = trace
        self._app_names = app_names
        self._lethal = lethal
        self._messages = 0
        self._tied = Tied(random, app_names)
        self._paused = 0
        self._ending = self._schedules_over = False
        self.created: list[str] = []

    async def create_tasks(self, count: int, seconds: float) -> None:
        if self._random.random() < RINGS:
            self._client.process.spawn(self._create_ring(self._random.choice([1, 2, 3, 5])))
        for index in range(count):
            await asyncio.sleep(self._random.expovariate(count / seconds))
            self._client.process.spawn(self._create(self._definition(index)))

    async def _create(self, data: dict[str, Any]) -> None:
        self._trace("client", f"creates {msgspec.json.encode(data).decode()}")
        task = await self._client.attempt("tasks.create", data=data, on_conflict="ignore")
        if task is None:
            return
        task_id = task["id"]
        if task_id not in self._oracle.rows and task_id not in self._oracle.deleted:
            self._trace.violated(
                Invariant.CREATED_IS_THERE, f"task {task_id} was created, and is not there"
            )
        self.created.append(task_id)
        if task_id == data["id"] and self._random.random() < 0.3:
            self._client.process.spawn(self._create_again(data))

    async def _create_again(self, data: dict[str, Any]) -> None:
        """A client that was answered, and asks again."""
        await asyncio.sleep(self._random.expovariate(1 / REPEAT_SECONDS))
        if self._ending:
            return
        task = await self._client.attempt("tasks.create", data=data, on_conflict="ignore")
        if task is not None and task["created"] and data["id"] not in self._oracle.deleted:
            self._trace.violated(
                Invariant.REPEATS_ARE_KNOWN, f"task {data['id']} is created a second time"
            )

    async def _create_ring(self, size: int) -> None:
        """A circle of next tasks that could wait, but does not."""
        ids = [f"ring{index}" for index in range(size)]
        app_name = self._random.choice(self._app_names)
        made = [
            {
                "id": id,
                "app_name": app_name,
                "commands": [{"method": "echo", "params": {"data": 1}}, SKIPPED_WAIT],
                "next_task": next_id,
                "delay": self._random.choice([0.0, 5.0]),
            }
            for id, next_id in zip(ids, [*ids[1:], ids[0]], strict=True)
        ]
        if await self._client.attempt("tasks.m_create", data=made) is not None:
            self.created += ids
            self._oracle.count("ring")

    # -- definitions -------------------------------------------------------------------------

    def _definition(self, index: int) -> dict[str, Any]:
        random = self._random
        data: dict[str, Any] = {
            "id": f"t{index:02}",
            "app_name": random.choice(self._app_names),
            "commands": [self._command(stage) for stage in range(random.choice([1, 1, 2, 3, 5]))],
            "max_exec_timeout": random.choice([10.0, 20.0, 60.0]),
            "max_retries": random.choice([0, 0, 1, 3]),
            "restart_policy": random.choice(["CURRENT", "FIRST"]),
            "priority": random.choice([0, 0, 0, 5, -5]),
            "notify": random.random() < 0.3,
        }
        self._add_odds(data, index)
        self._tied.add_to(data)
        self._tied.add_waits(data, self.created)
        return data

    def _add_odds(self, data: dict[str, Any], index: int) -> None:
        random = self._random
        if random.random() < 0.3:
            data["retry_delay"] = random.choice([0.5, 2.0])
            data["retry_backoff"] = random.choice([1.0, 2.0])
        if random.random() < 0.2:
            data["delay"] = random.uniform(0.0, 8.0)
        if random.random() < 0.1:
            data["max_queue_time"] = random.uniform(0.5, 10.0)
        if random.random() < 0.15:
            data["every"] = random.choice([0.7, 2.0, 5.0])
            data["misfire"] = random.choice(["skip", "last", "all"])
        elif random.random() < 0.1:
            data["cron"] = "* * * * * */3"
        if ("every" in data or "cron" in data) and random.random() < 0.4:
            self._add_first_run(data)
        if self.created and random.random() < 0.25:
            data["next_task"] = random.choice(self.created)

    def _add_first_run(self, data: dict[str, Any]) -> None:
        """A date, which does not move with the clock as a delay does."""
        data.pop("delay", None)
        now = self._oracle.epoch + self._oracle.now
        data["next_run"] = now + self._random.choice([-30.0, 2.0, 8.0, 20.0, 600.0])

    def _command(self, stage: int) -> dict[str, Any]:
        random = self._random
        dice = random.random()
        if dice < 0.35:
            data: Any = "[0.n:0]" if stage else {"k": "[id]"}
            return {"method": "echo", "params": {"data": data}}
        if dice < 0.5:
            return {
                "method": "nap",
                "params": {"seconds": random.choice([0.1, 2.0, 2.0, 6.0, 25.0])},
                "max_timeout": random.choice([None, 1.0, 5.0]),
            }
        if dice < 0.62:
            return {"method": "flaky", "params": {"chance": random.choice([0.3, 0.7, 1.0])}}
        if dice < 0.72:
            return {"method": TIMER, "params": {"timer": random.choice([0, 0.01, 1.5, 6.0])}}
        if dice < 0.84:
            return self._message_hook()
        return self._rare_command()

    def _message_hook(self) -> dict[str, Any]:
        random = self._random
        hook: dict[str, Any] = {"method": MESSAGE, "params": {}}
        if random.random() < 0.4:
            hook["params"]["name"] = random.choice(["a", "b"])
        if random.random() < 0.5:
            hook["max_timeout"] = random.uniform(0.5, 8.0)
            if random.random() < 0.7:
                hook["params"]["default"] = "nobody wrote"
        return hook

    def _rare_command(self) -> dict[str, Any]:
        random = self._random
        kinds = ["give_up", "hang", "stretch", "stubborn", "skipped", "missing"]
        kind = random.choice([*kinds, "lethal", "lethal"] if self._lethal else kinds)
        if kind in ("hang", "stubborn"):
            return {"method": kind, "max_timeout": random.choice([0.5, 3.0])}
        if kind == "lethal":
            return {"method": "lethal", "params": {"chance": random.choice([0.4, 1.0])}}
        if kind == "skipped":
            return {"method": "echo", "condition": {"kws.no": {"eq": 1}}}
        if kind == "missing":
            return {"method": "echo", "params": {"data": "[kws.nothing]"}}
        return {"method": kind}

    # -- operators ---------------------------------------------------------------------------

    async def disturb(self, seconds: float) -> None:
        """Do something to some task, again and again."""
        pause = self._random.choice([0.3, 1.0, 4.0])
        while True:
            await asyncio.sleep(self._random.expovariate(1 / pause))
            if self._tied.pauses and self._random.random() < 0.15:
                self._client.process.spawn(self._disturb_pauses())
            elif self.created:
                self._client.process.spawn(self._disturb_one(self._some_task()))

    def _some_task(self) -> str:
        children = self._oracle.children
        if children and self._random.random() < 0.3:
            return self._random.choice(children)
        return self._random.choice(self.created)

    async def disturb_lines(self) -> None:
        """Take away tasks that are about to take the slots for which others wait."""
        while self._tied.slots:
            await asyncio.sleep(self._random.expovariate(1 / LINE_PAUSE_SECONDS))
            verb = self._random.choice(["cancel", "cancel", "suspend", "delete"])
            for task_id in self._first_in_line():
                self._oracle.count("taken away")
                self._client.process.spawn(self._client.attempt(f"tasks.{verb}", id=task_id))

    def _first_in_line(self) -> list[str]:
        """All that may be acquired of some key for which others wait."""
        rows, definitions = self._oracle.rows, self._oracle.definitions
        gates = {row.gate for row in rows.values()}
        ready = [(id, definitions[id].slot_key) for id, row in rows.items() if row.ready]
        keys = sorted({key for _, key in ready if key is not None and f"c:{key}" in gates})
        chosen = self._random.choice(keys) if keys else None
        return [id for id, key in ready if chosen is not None and key == chosen]

    async def _disturb_pauses(self) -> None:
        if self._paused and self._random.random() < 0.5:
            number = self._random.randint(1, self._paused)
            await self._client.attempt("pauses.remove", id=f"pause{number}")
            return
        self._paused += 1
        pause = self._tied.pause(self._paused, self._oracle.epoch + self._oracle.now)
        await self._client.attempt("pauses.add", **pause)

    async def _disturb_one(self, task_id: str) -> None:
        random = self._random
        dice = random.random()
        attempt = self._client.attempt
        if dice < 0.45:
            await self._send_message(task_id)
        elif dice < 0.55:
            await attempt("tasks.suspend", id=task_id, wait_stage=random.random() < 0.5)
        elif dice < 0.65:
            await attempt("tasks.resume", id=task_id)
        elif dice < 0.70:
            await attempt("tasks.cancel", id=task_id)
        elif dice < 0.77:
            await attempt("tasks.reset", id=task_id)
        elif dice < 0.84:
            await attempt("tasks.run_now", id=task_id)
        elif dice < 0.90:
            await attempt("tasks.update", id=task_id, data={"enabled": random.random() < 0.6})
        elif dice < 0.93:
            await attempt("tasks.restart_from", id=task_id, stage=random.choice([0, 0, 1, 2]))
        elif dice < 0.95:
            await attempt("tasks.delete", id=task_id)
            if task_id in self.created:
                self.created.remove(task_id)
        elif dice < 0.97:
            await attempt("tasks.wait", id=task_id, timeout=5.0)
        else:
            await self._disturb_executor()

    async def _disturb_executor(self) -> None:
        listed = await self._client.attempt("executors.list")
        if listed:
            executor = self._random.choice(listed)["id"]
            verb = self._random.choice(["suspend", "drain", "resume"])
            await self._client.attempt(f"executors.{verb}", id=executor)

    async def _send_message(self, task_id: str) -> None:
        random = self._random
        self._messages += 1
        if self._messages > 1 and random.random() < 0.2:
            number = random.randrange(1, self._messages)
        else:
            number = self._messages
        params: dict[str, Any] = {"data": {"m": number}, "message_id": f"m{number}"}
        if random.random() < 0.5:
            params["name"] = random.choice(["a", "b"])
        accepted = await self._send(task_id, params)
        while accepted and random.random() < 0.5:
            await asyncio.sleep(random.expovariate(1 / REPEAT_SECONDS))
            await self._send(task_id, params, accepted=True)

    async def _send(self, task_id: str, params: dict[str, Any], *, accepted: bool = False) -> bool:
        """:param accepted: the message was accepted before
        :returns: whether it was accepted
        """
        receipt = await self._client.attempt("tasks.message", id=task_id, **params)
        if receipt is None:
            return False
        self._oracle.count(f"message {receipt['state']}")
        key = (task_id, params["message_id"])
        if receipt["accepted"] and key not in self._oracle.stored_messages:
            self._trace.violated(
                Invariant.ACCEPTED_IS_STORED, f"message {key} was accepted and is not stored"
            )
        if accepted and receipt["state"] != "duplicate" and task_id not in self._oracle.deleted:
            self._trace.violated(
                Invariant.REPEATS_ARE_KNOWN,
                f"message {key}, which was accepted, is answered {receipt}",
            )
        return bool(receipt["accepted"])

    # -- the end -------------------------------------------------------------------------------

    async def end_schedules(self) -> None:
        """Tasks that never end, and pauses, would keep others from ending."""
        self._schedules_over = True
        await self._end_what_never_ends()

    async def _end_what_never_ends(self) -> None:
        for pause in await self._client.call("pauses.list"):
            await self._client.attempt("pauses.remove", id=pause["id"])
        for task_id, definition in sorted(self._oracle.definitions.items()):
            if definition.scheduled and task_id in self._oracle.rows:
                await self._client.attempt("tasks.delete", id=task_id)

    async def help_along(self) -> None:
        """Lift every hold and write every message that is waited for."""
        self._ending = True
        while True:
            if self._schedules_over:  # a call whose answer was lost is repeated later
                await self._end_what_never_ends()
            for task_id, row in sorted(self._oracle.rows.items()):
                if row.status is TaskStatus.SUSPENDED:
                    await self._client.attempt("tasks.resume", id=task_id)
                elif not row.enabled:
                    await self._client.attempt("tasks.update", id=task_id, data={"enabled": True})
                elif row.status is TaskStatus.WAITING and row.wait_deadline is None:
                    await self._answer(task_id)
                elif self._waits_for_a_date(row):
                    await self._client.attempt("tasks.run_now", id=task_id)
            for executor in await self._client.call("executors.list"):
                if executor["status"] in ("SUSPENDED", "DRAINING"):
                    await self._client.attempt("executors.resume", id=executor["id"])
            await asyncio.sleep(1.0)

    def _waits_for_a_date(self, row: Row) -> bool:
        """Whether a one-off waits for a date that is far away since the clock was set back."""
        if row.status is not TaskStatus.IDLE or self._oracle.definitions[row.id].scheduled:
            return False
        return (row.next_run or 0.0) > self._oracle.epoch + self._oracle.now + FAR_SECONDS

    async def _answer(self, task_id: str) -> None:
        row = self._oracle.rows.get(task_id)
        if row is None or row.status is not TaskStatus.WAITING:
            return
        command = self._oracle.definitions[task_id].commands[row.stage]
        if command.method != MESSAGE:
            return
        name = msgspec.json.decode(command.params).get("name")
        self._messages += 1
        data = {"m": self._messages}
        params = {"data": data, "name": name, "message_id": f"m{self._messages}"}
        await self._client.attempt("tasks.message", id=task_id, **params)
