"""What the methods answer, name by name."""

import asyncio
from datetime import UTC, datetime

import pytest

from kaiju_tasks.errors import Conflict, InvalidParams
from kaiju_tasks.manager import Manager
from kaiju_tasks.rights import ALL_SIGHT
from kaiju_tasks.store import PageQuery
from kaiju_tasks.types import Task
from tests.manager.hand import Calls, HandExecutor
from tests.support.wait import PATIENCE_SECONDS

SOON = {"method": "_TIMER_", "params": {"timer": 0}}


async def test_commands_are_read_as_they_were_sent(call: Calls) -> None:
    commands = [
        {"method": "a", "params": {"x": "[kws.y:1]"}},
        {"method": "b", "params": {}, "max_timeout": 5.0, "name": "bee"},
        {"method": "c", "params": {}, "condition": {"bee": {"gt": 1}}},
    ]
    made = await call.create(*commands, id="c", delay=3600)
    assert made["commands"] == (await call.get("c"))["commands"] == commands
    (listed,) = (await call("tasks.list", columns=["commands"]))["data"]
    assert listed == {"commands": commands}


async def test_every_field_is_there_and_lists_leave_out_the_long_ones(call: Calls) -> None:
    made = await call.create("a", id="f", delay=3600)
    assert set(made) == {*Task.__struct_fields__, "warnings"}
    assert made["created"] is True
    stored = await call.get("f")
    assert set(stored) == set(Task.__struct_fields__)
    assert datetime.fromisoformat(stored["created"]).utcoffset() == UTC.utcoffset(None)
    (listed,) = (await call("tasks.list"))["data"]
    assert set(stored) - set(listed) == {"commands", "kws", "progress", "result"}


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        ({"commands": []}, "data.1.commands"),
        ({"commands": [{"method": "a"}], "zz": 1}, "data.1.zz"),
        ({"commands": [{"method": "a"}], "status": "IDLE"}, "data.1.status"),
        ({"commands": [{"method": "a"}], "cron": "x"}, "data.1.cron"),
        ({"commands": [{"method": "a"}], "next_task": "nobody"}, "data.1.next_task"),
        ({"commands": [{"method": "a"}], "id": "first"}, "data.1.id"),
        (5, "data.1"),
    ],
)
async def test_the_wrong_item_of_many_is_named_and_nothing_is_made(
    call: Calls, bad: object, field: str
) -> None:
    first = {"id": "first", "commands": [{"method": "a"}]}
    with pytest.raises(InvalidParams) as error:
        await call("tasks.m_create", data=[first, bad])
    assert (error.value.data["index"], error.value.data["field"]) == (1, field)
    assert (await call("tasks.count"))["count"] == 0


async def test_a_taken_id_among_many_is_a_conflict_that_names_it(call: Calls) -> None:
    await call.create("a", id="taken", delay=3600)
    data = [{"commands": [{"method": "a"}]}, {"id": "taken", "commands": [{"method": "a"}]}]
    with pytest.raises(Conflict) as error:
        await call("tasks.m_create", data=data)
    assert error.value.data == {
        "type": "conflict",
        "status": "IDLE",
        "field": "data.1.id",
        "index": 1,
        "id": "taken",
    }
    assert (await call("tasks.count"))["count"] == 1


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 256])
async def test_a_message_name_that_no_message_can_have_is_refused(call: Calls, name: str) -> None:
    with pytest.raises(InvalidParams) as error:
        await call.create({"method": "_MESSAGE_", "params": {"name": name}})
    assert error.value.data["field"] == "data.commands.0.params.name"


async def test_local_iso_times_are_read_in_the_zone(call: Calls) -> None:
    noon = datetime(2030, 7, 1, 12, tzinfo=UTC).timestamp()
    local = {"next_run": "2030-07-01T12:00:00", "timezone": "Europe/Berlin"}
    assert (await call.create("a", **local))["next_run"] == noon - 7200
    utc = {"next_run": "2030-07-01T12:00:00Z", "timezone": "Europe/Berlin"}
    assert (await call.create("a", **utc))["next_run"] == noon
    assert (await call.create("a", next_run=5))["status"] == "QUEUED"


@pytest.mark.parametrize(
    "sort",
    [[], ["-priority"], ["group"], ["-group"], [{"desc": "next_run"}], ["exit_code", "-id"]],
    ids=str,
)
async def test_pages_by_cursor_are_the_whole_list(call: Calls, sort: list) -> None:
    await call(
        "tasks.m_create",
        data=[
            {
                "id": f"p{index:02}",
                "commands": [{"method": "a"}],
                "delay": 1000 + index % 3,
                "priority": index % 4,
                "group": "g" if index % 2 else None,
            }
            for index in range(11)
        ],
    )
    whole = [t["id"] for t in (await call("tasks.list", sort=sort))["data"]]
    paged: list[str] = []
    more: dict = {}
    for _ in range(4):
        page = await call("tasks.list", sort=sort, limit=3, **more)
        assert page["count"] == 11
        paged += [t["id"] for t in page["data"]]
        more = {"cursor": page["cursor"]}
    assert page["cursor"] is None
    assert paged == whole
    assert len(set(paged)) == 11


async def test_waiting_for_a_schedule_ends_with_each_run(call: Calls) -> None:
    await call.create({"method": "_TIMER_", "params": {"timer": 0.03}}, id="w", every=0.15)
    runs: set[str] = set()
    for _ in range(3):
        async with asyncio.timeout(PATIENCE_SECONDS):
            task = await call("tasks.wait", id="w", timeout=60)
        assert task["exit_code"] == 0
        runs.add(task["job_id"])
    assert len(runs) >= 2


async def test_a_task_that_is_replaced_keeps_what_no_client_sets(call: Calls) -> None:
    made = await call.create("a", id="r", delay=3600, kws={"x": 1, "y": 2})
    created = (await call.get("r"))["created"]
    data = {"id": "r", "commands": [{"method": "a"}], "delay": 3600, "kws": {"y": 2, "x": 1}}
    again = await call("tasks.create", data=data, on_conflict="replace")
    assert (again["created"], again["job_id"]) == (False, made["job_id"])
    assert (await call.get("r"))["created"] == created


async def test_every_final_outcome_writes_a_notification(
    call: Calls, manager: Manager, executor: HandExecutor
) -> None:
    await call.create("a", id="ok", notify=True, kws={"x": "\0"})
    await executor.finish(await executor.take(), {"r": 1})
    await call.create("a", id="bad", notify=True)
    await executor.fail(await executor.take(), message="no")
    await call.create(SOON, id="hook", notify=True)
    await call.create("a", id="stopped", notify=True, delay=3600)
    await call("tasks.cancel", id="stopped")
    await call.create("a", id="cron", notify=True, cron="0 0 1 1 *")
    await call("tasks.run_now", id="cron")
    await executor.finish(await executor.take())
    notes, total, _ = await manager.store.notifications(PageQuery(), ALL_SIGHT)
    assert total == 5
    outcomes = {n.task_id: (n.status, n.exit_code) for n in notes}
    assert outcomes == {
        "ok": ("FINISHED", 0),
        "bad": ("FAILED", 1),
        "hook": ("FINISHED", 0),
        "stopped": ("FAILED", 130),
        "cron": ("FINISHED", 0),
    }
    note = next(n for n in notes if n.task_id == "ok")
    assert (bytes(note.result), bytes(note.kws)) == (b'[{"r":1}]', b'{"x":"\\u0000"}')
