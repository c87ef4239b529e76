"""`kaiju_tasks.testing`: tasks in a test."""

import pytest

from kaiju_tasks import Context, Executor, Message, NewTask, TaskCommand, Timer
from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.samples import executor
from kaiju_tasks.testing import running

HOUR = 3600.0
DAY = 24 * HOUR


async def test_a_task_runs_to_its_end() -> None:
    async with running(executor) as kaiju:
        task = await kaiju.run({"commands": [{"method": "do.echo", "params": {"data": [1]}}]})
        assert (task["status"], task["exit_code"], task["result"]) == ("FINISHED", 0, [[1]])


async def test_a_failure_is_told() -> None:
    async with running(executor) as kaiju:
        task = await kaiju.run({"commands": [{"method": "do.fail", "params": {"message": "oh"}}]})
        assert task["exit_code"] == 1
        assert task["error"]["message"] == "oh"


async def test_own_executors_and_types_can_be_used() -> None:
    billing = Executor("billing")

    @billing.command("invoice.render")
    async def render(customer: int) -> dict[str, int]:
        return {"customer": customer}

    async with running(billing, executor) as kaiju:
        commands = [TaskCommand("invoice.render", {"customer": 5})]
        task = await kaiju.run(NewTask(app_name="billing", commands=commands))
        assert task["result"] == [{"customer": 5}]


async def test_errors_are_raised_as_a_client_gets_them() -> None:
    async with running() as kaiju:
        with pytest.raises(InvalidParams) as wrong:
            await kaiju.create({"commands": []})
        assert wrong.value.field == "data.commands"


async def test_moving_time_ends_a_timer() -> None:
    async with running(executor) as kaiju:
        created = await kaiju.create(NewTask(commands=[Timer(30 * DAY)]))
        await kaiju.wait_for(created["id"], "WAITING")
        await kaiju.move(30 * DAY - 1)
        assert (await kaiju.get(created["id"]))["status"] == "WAITING"
        await kaiju.move(1)
        assert (await kaiju.get(created["id"]))["status"] == "FINISHED"


async def test_moving_time_stops_at_every_fire() -> None:
    async with running(executor) as kaiju:
        before = kaiju.now
        command = {"method": "do.echo", "params": {"data": "[scheduled_at]"}}
        await kaiju.create({"id": "c", "every": HOUR, "commands": [command]})
        await kaiju.move(5 * HOUR + 60)
        runs = await kaiju.call("tasks.runs", id="c")
        assert [run["status"] for run in runs] == ["FINISHED"] * 5
        assert 0 <= kaiju.now - before - 5 * HOUR - 60 < 30


async def test_executors_stay_connected_over_a_move() -> None:
    async with running(executor) as kaiju:
        await kaiju.move(400 * DAY)
        assert [e["status"] for e in await kaiju.call("executors.list")] == ["ACTIVE"]
        task = await kaiju.run({"commands": [{"method": "do.echo"}]})
        assert task["exit_code"] == 0


async def test_a_message_is_delivered() -> None:
    async with running(executor) as kaiju:
        created = await kaiju.create(NewTask(commands=[Message("go", 10)]))
        await kaiju.wait_for(created["id"], "WAITING")
        await kaiju.call("tasks.message", id=created["id"], name="go", data={"by": "me"})
        assert (await kaiju.wait(created["id"]))["result"] == [{"by": "me"}]


async def test_waiting_for_what_does_not_end_says_where_it_stands() -> None:
    async with running() as kaiju:
        with pytest.raises(TimeoutError, match="is QUEUED"):
            await kaiju.run({"commands": [{"method": "do.echo"}]}, timeout=0.05)


async def test_time_goes_forward_only() -> None:
    async with running() as kaiju:
        with pytest.raises(ValueError, match="must be 0 or more"):
            await kaiju.move(-1)


async def test_what_happens_is_told() -> None:
    async with running(executor) as kaiju:
        with kaiju.events({"event": {"like": "task.%ed"}}) as events:
            await kaiju.run({"id": "a", "commands": [{"method": "do.echo"}]})
            assert (await anext(events)).event == "task.queued"
            assert [event.event for event in events.read()] == ["task.started", "task.finished"]
        assert not kaiju.manager.events.listened
        with pytest.raises(InvalidParams), kaiju.events({"nope": 1}):
            pass


async def test_commands_call_the_manager_in_a_test() -> None:
    family = Executor("family")

    @family.command("parent")
    async def parent(ctx: Context) -> list[str]:
        created = await ctx.tasks.create({"app_name": "family", "commands": [{"method": "child"}]})
        child = await ctx.tasks.wait(created["id"])
        return [child["parent_id"], child["status"]]

    @family.command("child")
    def child(ctx: Context) -> int:
        return int(ctx.tasks.count({"app_name": "family"})["count"])

    async with running(family) as kaiju:
        task = await kaiju.run({"app_name": "family", "commands": [{"method": "parent"}]})
        assert task["result"] == [[task["id"], "FINISHED"]]
