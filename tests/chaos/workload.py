"""Pipelines of every shape, created all the time, and what must be true of each at the end."""

import asyncio
import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from random import Random
from typing import Any

from kaiju_tasks import Client
from kaiju_tasks.errors import Conflict
from tests.chaos.world import APP, World

Json = dict[str, Any]
BATCH = 50
LONG_STAGES = 40
SLOTS = 2
"""The limit of every concurrency key."""
OPEN = ("IDLE", "QUEUED", "EXECUTED", "WAITING", "SUSPENDED")


def _work(**params: Any) -> Json:
    return {"method": "work", "params": params}


def plain(random: Random) -> Json:
    return {"commands": [_work()]}


def chain(random: Random) -> Json:
    return {"commands": [_work(), _work(seconds=random.choice([0, 0.01, 0.2])), _work()]}


def threads(random: Random) -> Json:
    return {"commands": [{"method": "thread", "params": {"seconds": 0.01}}, _work()]}


def hooks(random: Random) -> Json:
    timer = {"method": "_TIMER_", "params": {"timer": random.choice([0.05, 0.5])}}
    return {"commands": [_work(), timer, _work()]}


def message(random: Random) -> Json:
    return {"commands": [_work(), {"method": "_MESSAGE_", "params": {"name": "go"}}, _work()]}


def retries(random: Random) -> Json:
    flaky = {"method": "flaky", "params": {"times": 1}}
    return {"commands": [_work(), flaky, _work()], "max_retries": 3}


def slots(random: Random) -> Json:
    key = f"key-{random.randrange(3)}"
    return {
        "commands": [_work(seconds=0.03, key=key), _work(key=key)],
        "concurrency": {"key": key, "limit": SLOTS},
    }


def children(random: Random) -> Json:
    child = {"app_name": APP, "commands": [_work(), _work()]}
    return {"commands": [_work(), {"method": "_TASKS_", "params": {"create": [child, child]}}]}


def notified(random: Random) -> Json:
    return {"commands": [_work()], "notify": True}


def together(random: Random) -> Json:
    return {"commands": [_work(), {"method": "together"}, _work()]}


def long(random: Random) -> Json:
    """Many short stages: most of the work of a manager is to write down what they returned."""
    return {"commands": [_work() for _ in range(LONG_STAGES)]}


def slow(random: Random) -> Json:
    """Stages that run when something is done to their executor."""
    return {"commands": [_work(seconds=0.5) for _ in range(3)]}


Shape = Callable[[Random], Json]
SHAPES: Sequence[Shape] = (
    plain,
    chain,
    threads,
    hooks,
    message,
    retries,
    slots,
    children,
    notified,
    together,
)
MANY_STAGES: Sequence[Shape] = (*SHAPES, long, long, long)
"""For long runs."""
SLOW_STAGES: Sequence[Shape] = (*SHAPES, long, *(10 * [slow]))
"""For runs that measure how long it takes until stages run elsewhere."""


class Workload:
    """Creates tasks, a bounded number at a time, and sends the messages that they wait for.

    :param prefix: begins the id of every task
    :param shapes: of the tasks, in turn
    :ivar acknowledged: tasks that a manager has accepted, by id
    :ivar sent: the id of the task by the id of the message
    """

    def __init__(
        self, world: World, random: Random, prefix: str, shapes: Sequence[Shape] = SHAPES
    ) -> None:
        self._world = world
        self._random = random
        self._numbers = itertools.count()
        self._prefix = prefix
        self._shapes = itertools.cycle(shapes)
        self._awaiting: list[str] = []
        self.acknowledged: dict[str, Json] = {}
        self.sent: dict[str, str] = {}

    async def create(self, count: int, most_open: int) -> None:
        """Create tasks, at most `most_open` at a time that have not ended."""
        sending = asyncio.create_task(self._send_messages())
        try:
            while (left := count - len(self.acknowledged)) > 0:
                if await self.open() < most_open:
                    await self._create_batch(min(left, BATCH))
                else:
                    await asyncio.sleep(0.05)
            while await self.open():
                await asyncio.sleep(0.1)
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def open(self) -> int:
        """The number of tasks that have not ended."""
        conditions = {"app_name": APP, "status": list(OPEN)}
        answer = await self._world.ask(lambda c: c.tasks.count(conditions))
        return int(answer["count"])

    async def _create_batch(self, count: int) -> None:
        made = [self._next() for _ in range(count)]
        try:
            await self._world.ask(lambda c: c.tasks.m_create(made))
        except Conflict:
            pass  # an earlier try has created them, and its answer was lost
        for task in made:
            self.acknowledged[task["id"]] = task
        self._awaiting += [task["id"] for task in made if task["id"].endswith("-message")]

    def _next(self) -> Json:
        shape = next(self._shapes)
        id = f"{self._prefix}-{next(self._numbers):06}-{shape.__name__}"
        return {"id": id, "app_name": APP, **shape(self._random)}

    async def _send_messages(self) -> None:
        """Send each message twice, at any time before or after its task waits for it."""
        while True:
            while self._awaiting:
                id = self._awaiting.pop(0)
                message_id = f"m-{id}"
                self.sent[message_id] = id
                for _ in range(2):
                    await self._world.ask(partial(_send, id=id, message_id=message_id))
            await asyncio.sleep(0.05)


async def _send(client: Client, id: str, message_id: str) -> Any:
    data = {"message": message_id}
    return await client.tasks.message(id, data, name="go", message_id=message_id)


def ends_well(task: Json, history: list[Json]) -> Iterator[str]:
    """Why a task did not end as its shape does.

    A run whose stage three executors have lost may fail.

    :param task: as `tasks.get` returns it
    """
    if task["status"] == "FINISHED":
        if not task["stage"] == task["stages"] == len(task["result"]):
            yield f"{task['id']} is finished without all its results: {task}"
        return
    kind = (task["error"] or {}).get("type")
    lost = sum(record["outcome"] == "LOST" for record in history)
    if kind == "executor_lost" and lost >= 3:
        return
    if kind == "child_failed":
        return
    yield f"{task['id']} is {task['status']}: {task['error']}, attempts {history}"
