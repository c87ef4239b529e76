"""What the benchmark stores before it measures is what a manager could have stored."""

from typing import get_args

import pytest

from kaiju_tasks.bench.jobs import Job
from kaiju_tasks.bench.place import fresh_place
from kaiju_tasks.bench.stored import Kind
from kaiju_tasks.settings import Settings
from tests.manager.conftest import a_manager
from tests.manager.hand import Calls

COUNT = 30
STATUS = {"backlog": "QUEUED", "history": "FINISHED", "future": "IDLE"}


@pytest.mark.parametrize("kind", get_args(Kind))
async def test_a_manager_reads_what_was_stored(store_url: str, kind: Kind) -> None:
    async with fresh_place(store_url) as place:
        await place.store(kind, COUNT)
        async with a_manager(Settings(db=place.url)) as manager:
            call = Calls(manager)
            counted = await call("tasks.count", conditions={"status": STATUS[kind]})
            assert counted == {"count": COUNT}
            (found,) = (await call("tasks.list", limit=1))["data"]
            task = await call("tasks.get", id=found["id"])
            assert task["commands"] == Job("stored", 1).commands
            runs = await call("tasks.runs", id=task["id"])
            finished = [run["stage"] for run in runs if run["status"] == "FINISHED"]
            ended = [1] if kind == "history" else []
            assert (task["stage"], finished) == (len(ended), ended)
            assert task["result"] == [{"n": 1}] * len(ended)
