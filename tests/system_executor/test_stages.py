"""Public methods as stages of the stream `manager`."""

import asyncio
import contextlib
from typing import Any

import pytest

from kaiju_tasks import Executor
from kaiju_tasks.api import Caller
from kaiju_tasks.embedded import Embedded, embedded, link_executors
from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.executor.process import EXIT_REFUSED, run_executor
from kaiju_tasks.inprocess import IN_PROCESS, InProcessTransport
from kaiju_tasks.manager import Manager
from kaiju_tasks.rights import Principal
from kaiju_tasks.rpc import Limits, Registry, dispatch
from kaiju_tasks.settings import Settings
from kaiju_tasks.store.open import make_store
from kaiju_tasks.testing import running
from tests.manager.hand import Calls
from tests.support.wait import wait_until
from tests.system_executor.inprocess import SECONDS, Inside, command

WORK = {"commands": [{"method": "work"}]}


async def test_a_public_method_runs_as_a_stage(inside: Inside) -> None:
    task = await inside.run(command("cron.preview", cron="0 0 * * *", n=2, after=0))
    assert (task["status"], task["result"]) == ("FINISHED", [[86_400.0, 172_800.0]])


async def test_a_pipeline_creates_and_messages_tasks(inside: Inside) -> None:
    parked = {"id": "parked", "commands": [{"method": "_MESSAGE_", "params": {"name": "go"}}]}
    task = await inside.run(
        {"name": "made", **command("tasks.create", data=parked)},
        command("tasks.message", id="[made.id]", name="go", data={"from": "[id]"}),
        id="pipeline",
    )
    assert task["status"] == "FINISHED", task["error"]
    assert (task["result"][0]["created"], task["result"][1]["accepted"]) == (True, True)
    assert (await inside.ended("parked"))["result"] == [{"from": "pipeline"}]


async def test_what_a_stage_creates_is_its_creators(inside: Inside) -> None:
    call = Calls(inside.manager, Caller(Principal("ann", kind=None)))
    await call.create(
        command("tasks.create", data={"id": "child", **WORK}), app_name="manager", id="parent"
    )
    assert (await inside.ended("parent"))["status"] == "FINISHED"
    assert (await inside.get("child"))["user_id"] == "ann"


async def test_templates_of_a_created_task_are_passed_on_unfilled(inside: Inside) -> None:
    echo = {"method": "_MESSAGE_", "params": {"default": "[kws.word]"}, "max_timeout": 0.01}
    data = {"id": "child", "commands": {"$raw": [echo]}, "kws": {"word": "[kws.said]"}}
    await inside.run(command("tasks.create", data=data), kws={"said": "hello"})
    assert (await inside.ended("child"))["result"] == ["hello"]


async def test_a_stage_that_runs_again_creates_and_sends_no_second_time(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: asyncio.Queue[bytes] = asyncio.Queue()

    async def hang_once(registry: Registry, body: bytes, caller: Any, limits: Limits) -> Any:
        """The first answer to each call is lost."""
        answer = await dispatch(registry, body, caller, limits)
        if body not in asked:
            asked.add(body)
            done.put_nowait(body)
            await asyncio.Event().wait()
        return answer

    asked: set[bytes] = set()
    monkeypatch.setattr("kaiju_tasks.api.run_calls.dispatch", hang_once)
    await inside.create({"method": "_MESSAGE_"}, {"method": "_MESSAGE_"}, id="parked")
    await inside.create(
        command("tasks.create", data=WORK),
        command("tasks.m_create", data=[WORK, {"id": "named", **WORK}]),
        command("tasks.message", id="parked", data=1),
        id="twice",
    )
    own = f"manager-{inside.manager.id}"
    for _ in range(5):  # the second m_create looks whether the first was made
        async with asyncio.timeout(SECONDS):
            await done.get()
        await inside.call("executors.suspend", id=own)
        await inside.call("executors.resume", id=own)
    task = await inside.ended("twice")
    assert task["status"] == "FINISHED", task["error"]
    one, many, receipt = task["result"]
    key = task["job_id"]
    assert [(t["id"], t["created"]) for t in [one, *many]] == [
        (f"{key}/0", False),
        (f"{key}/1/0", False),
        ("named", False),
    ]
    assert receipt["state"] == "duplicate"
    assert (await inside.call("tasks.count"))["count"] == 5


async def test_an_error_of_the_method_is_the_stages_error(inside: Inside) -> None:
    task = await inside.run(command("tasks.cancel", id="nobody"))
    assert (task["status"], task["exit_code"]) == ("FAILED", 1)
    error = task["error"]
    assert (error["type"], error["data"]["code"]) == ("execution_error", 404)
    assert error["data"]["data"]["id"] == "nobody"


async def test_params_that_a_template_fills_are_checked_when_the_stage_runs(
    inside: Inside,
) -> None:
    task = await inside.run(command("tasks.get", id="[kws.id]"), kws={"id": 5}, max_retries=1)
    assert (task["error"]["type"], task["error"]["data"]["field"]) == ("invalid_params", "id")
    assert task["retries"] == 1


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (command("tasks.creat"), "commands.0.method"),
        (command("tasks.wait", id="x"), "commands.0.method"),
        (command("manager.ping", id="x"), "commands.0.method"),
        (command("rpc.discover"), "commands.0.method"),
        (command("webhook.deliver"), "commands.0.method"),
        (command("tasks.get"), "commands.0.params.id"),
        (command("tasks.get", id=1), "commands.0.params.id"),
        (command("tasks.get", id="[kws.x]", foo=1), "commands.0.params.foo"),
        (command("tasks.message", data=1, name="[kws.x]"), "commands.0.params.id"),
        (
            command("tasks.create", data={"commands": [], "next_run": 1}),
            "commands.0.params.data.commands",
        ),
        (command("tasks.delete_old_tasks", interval_days=-1), "commands.0.params.interval_days"),
    ],
)
async def test_what_cannot_work_is_refused_at_create(
    wrong: dict[str, Any], field: str, inside: Inside
) -> None:
    with pytest.raises(InvalidParams) as refused:
        await inside.create(wrong)
    assert refused.value.field == f"data.{field}"
    validation = await inside.call(
        "tasks.validate", data={"app_name": "manager", "commands": [wrong]}
    )
    assert [problem["field"] for problem in validation["errors"]] == [f"data.{field}"]
    good = await inside.create({"method": "system.info"}, delay=1000)
    with pytest.raises(InvalidParams) as refused:
        await inside.call("tasks.update", id=good["id"], data={"commands": [wrong]})
    assert refused.value.field == f"data.{field}"


async def test_nobody_is_warned_that_the_stream_has_no_executor(inside: Inside) -> None:
    assert (await inside.create({"method": "system.info"}, delay=1000))["warnings"] == []


async def test_cleaning_is_a_cron_task() -> None:
    async with running() as kaiju:
        await kaiju.create(
            {"id": "old", "commands": [{"method": "_TIMER_", "params": {"timer": 0}}]}
        )
        await kaiju.create({"id": "fresh", "commands": [{"method": "work"}]})
        await kaiju.create(
            {
                "id": "clean",
                "app_name": "manager",
                "cron": "0 3 * * *",
                "commands": [command("tasks.delete_old_tasks", interval_days=7)],
            }
        )
        await kaiju.move(6 * 86_400)
        assert await kaiju.call("tasks.exists", id="old")
        await kaiju.move(3 * 86_400)
        assert not await kaiju.call("tasks.exists", id="old")
        assert await kaiju.call("tasks.exists", id="fresh")
        runs = await kaiju.call("tasks.runs", id="clean")
        assert {run["status"] for run in runs} == {"FINISHED"}
        assert len(runs) == 9


async def test_an_idle_manager_has_no_executor(inside: Inside) -> None:
    assert await inside.call("executors.list") == []
    assert (await inside.call("system.info"))["executors"] == {}


async def test_the_own_executor_is_there_while_it_works_and_leaves_when_idle(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kaiju_tasks.system_executor.on_call.IDLE_SECONDS", 0.3)
    task = await inside.run({"method": "executors.list"})
    (working,) = task["result"][0]
    assert (working["id"], working["app_names"]) == (f"manager-{inside.manager.id}", ["manager"])

    async def nobody() -> bool:
        return not len(inside.manager.sessions) and await inside.call("executors.list") == []

    await wait_until(nobody, "the own executor has left")
    assert (await inside.run({"method": "executors.list"}))["status"] == "FINISHED"


@pytest.mark.parametrize("app_names", [["manager"], ["default", "manager"]])
async def test_no_other_executor_serves_the_managers_stream(
    embedded_manager: Embedded, app_names: list[str]
) -> None:
    inside = InProcessTransport(embedded_manager.manager, embedded_manager.frames)
    executors = [Executor(name) for name in app_names]
    code = await run_executor(executors, [IN_PROCESS], transport=inside, handle_signals=False)
    assert code == EXIT_REFUSED
    assert await embedded_manager.call("executors.list") == []


async def test_other_executors_work_beside_it(embedded_manager: Embedded) -> None:
    shop = Executor("shop")

    @shop.command("sell")
    async def sell() -> str:
        return "sold"

    inside = Inside(embedded_manager)
    first = await inside.run({"method": "system.info"})
    assert first["status"] == "FINISHED"
    async with link_executors(embedded_manager, [shop]):
        sold = await inside.run({"method": "sell"}, app_name="shop")
        assert sold["result"] == ["sold"]


async def test_work_from_before_a_start_is_found(settings: Settings, store_url: str) -> None:
    store = make_store(store_url)
    await store.open()
    async with Manager(store, settings).running() as alone:
        await Calls(alone).create("system.info", app_name="manager", id="early")
    await store.close()
    async with embedded(settings) as made:
        assert (await Inside(made).ended("early"))["status"] == "FINISHED"


async def test_a_running_stage_may_end_when_the_manager_stops(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, gate = asyncio.Event(), asyncio.Event()

    async def held(registry: Registry, body: bytes, caller: Any, limits: Limits) -> Any:
        begun.set()
        await gate.wait()
        return await dispatch(registry, body, caller, limits)

    monkeypatch.setattr("kaiju_tasks.api.run_calls.dispatch", held)
    async with contextlib.AsyncExitStack() as stack:
        inside = Inside(await stack.enter_async_context(embedded(settings)))
        await inside.create(command("system.info"), command("system.info"), id="runs")
        async with asyncio.timeout(SECONDS):
            await begun.wait()
        stopping = asyncio.create_task(stack.pop_all().aclose())
        await wait_until(
            lambda: all(s.capacity == 0 for s in inside.manager.sessions), "it takes no more work"
        )
        gate.set()
        await stopping
    async with embedded(settings) as again:
        inside = Inside(again)
        task = await inside.ended("runs")
        assert [
            (record["stage"], record["outcome"])
            for record in await inside.call("tasks.stages", job_id=task["job_id"])
        ] == [(0, "FINISHED"), (1, "RELEASED"), (1, "FINISHED")]
