"""A connect that a manager carries out after the executor has connected again changes nothing."""

from typing import Any

import pytest

from kaiju_tasks.errors import Conflict
from kaiju_tasks.manager import Manager
from tests.manager.hand import Calls, HandExecutor, pinging


async def test_a_late_connect_takes_no_tasks_from_a_newer_one(
    manager: Manager, other_manager: Manager, call: Calls
) -> None:
    slow, quick = HandExecutor(manager, "e"), HandExecutor(other_manager, "e")
    await quick.connect(instance="p", attempt=2)
    async with pinging(quick):
        await call.create("work", id="t")
        task = await quick.take()
        with pytest.raises(Conflict, match="connected again"):
            await slow.connect(instance="p", attempt=1)
        assert (await quick.finish(task)).state == "released"
        assert (await call.get("t"))["status"] == "FINISHED"


@pytest.mark.parametrize(
    "again",
    [
        pytest.param({"instance": "p", "attempt": 3}, id="the next attempt"),
        pytest.param({"instance": "p", "attempt": 2}, id="the same one, repeated"),
        pytest.param({}, id="a process that sends neither"),
    ],
)
async def test_other_connects_replace_the_session(
    manager: Manager, other_manager: Manager, again: dict[str, Any]
) -> None:
    first, second = HandExecutor(manager, "e"), HandExecutor(other_manager, "e")
    await first.connect(instance="p", attempt=2)
    answer = await second.connect(**again)
    assert answer["status"] == "ACTIVE"
