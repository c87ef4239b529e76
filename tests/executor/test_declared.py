"""`Executor.schedule`: schedules beside the code."""

import logging
from typing import Any

import pytest

from kaiju_tasks.executor import Executor
from kaiju_tasks.protocol import DEFAULT_FRAME_BYTES, Declaration
from kaiju_tasks.types import TaskCommand
from kaiju_tasks.version import __version__
from tests.executor.fakes import Rig

Json = dict[str, Any]
COMMANDS = ["report.write"]


def rig(*names: str) -> Rig:
    executor = Executor("app", version="1.2")
    for name in names:
        executor.schedule(name, cron="@daily", commands=COMMANDS)
    return Rig(executor)


def declared(rig: Rig) -> list[list[str]]:
    """The names of the schedules in each call."""
    calls = rig.manager.methods("manager.declare")
    return [[one["task"]["id"] for one in call["schedules"]] for call in calls]


def answering(rig: Rig, *states: str) -> None:
    outcomes = [{"state": state, "message": f"because {state}"} for state in states]
    rig.manager.declared = {"schedules": outcomes}


def test_a_schedule_is_a_task_of_the_executors_stream() -> None:
    executor = Executor("app", version="1.2")
    commands: list[Any] = ["a", {"method": "b", "params": {"x": 1}}, TaskCommand("c")]
    executor.schedule("nightly", cron="@daily", commands=commands, timezone="Europe/Rome")
    executor.schedule("often", every=60, commands=["a"], version=7, app_name="other")
    first, second = executor.schedules
    assert isinstance(first, Declaration)
    assert first.version == "1.2"
    assert first.task["id"] == "nightly"
    assert (first.task["app_name"], first.task["timezone"]) == ("app", "Europe/Rome")
    assert [one["method"] for one in first.task["commands"]] == ["a", "b", "c"]
    assert first.task["commands"][1]["params"] == {"x": 1}
    assert (second.version, second.task["every"], second.task["app_name"]) == ("7", 60, "other")


@pytest.mark.parametrize(
    "options",
    [
        {"commands": ["a"]},
        {"commands": ["a"], "cron": "@daily", "every": 5},
        {"commands": ["a"], "cron": "@daily", "invented": 1},
        {"commands": ["a"], "cron": "@daily", "max_retries": "many"},
        {"commands": [7], "cron": "@daily"},
        {"commands": ["a"], "cron": "@daily", "kws": {"x": object()}},
    ],
    ids=lambda options: ",".join(options),
)
def test_a_wrong_schedule_is_refused_when_it_is_declared(options: Json) -> None:
    with pytest.raises(ValueError, match="nightly"):
        Executor("app").schedule("nightly", **options)


@pytest.mark.parametrize(
    ("name", "field", "options"),
    [
        ("nightly", "kws", {"kws": {"x": "\ud800"}}),
        ("nightly", "description", {"description": "\udfff"}),
        ("nightly", "version", {"version": "1.\ud800"}),
        ("\ud800", "id", {}),
    ],
    ids=["kws", "text", "version", "id"],
)
def test_a_schedule_that_cannot_be_sent_is_refused(name: str, field: str, options: Json) -> None:
    executor = Executor("app")
    with pytest.raises(ValueError, match=f"`{field}` cannot be written as JSON"):
        executor.schedule(name, cron="@daily", commands=COMMANDS, **options)
    assert executor.schedules == []


async def test_a_schedule_that_is_too_large_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    executor = Executor("app")
    for n in range(5):
        text = "x" * (2 * DEFAULT_FRAME_BYTES if n == 2 else DEFAULT_FRAME_BYTES // 3)
        executor.schedule(f"s{n}", cron="@daily", commands=COMMANDS, kws={"text": text})
    async with Rig(executor) as one:
        assert one.link.connected
        assert declared(one) == [["s0", "s1"], ["s3", "s4"]]
        one.wire.cut()
        await one.clock.advance(10)
        assert one.link.connected
    (record,) = [r for r in caplog.records if "not declared" in r.message]
    assert record.levelname == "ERROR"
    assert "the schedule s2 is not declared" in record.message


def test_a_schedule_is_declared_once() -> None:
    executor = Executor("app")
    executor.schedule("nightly", cron="@daily", commands=COMMANDS)
    with pytest.raises(ValueError, match="twice"):
        executor.schedule("nightly", cron="@hourly", commands=COMMANDS)


async def test_each_connection_declares_the_schedules() -> None:
    async with rig("a", "b") as one:
        assert declared(one) == [["a", "b"]]
        one.wire.cut()
        await one.clock.advance(10)
        assert declared(one) == [["a", "b"]] * 2


async def test_an_executor_without_schedules_declares_nothing() -> None:
    async with rig() as one:
        assert declared(one) == []


async def test_many_schedules_are_declared_in_parts() -> None:
    async with rig(*(f"s{n}" for n in range(250))) as one:
        assert [len(part) for part in declared(one)] == [100, 100, 50]


async def test_what_has_become_of_them_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "kaiju_tasks.executor")
    one = rig("a", "b", "c")
    answering(one, "created", "differs", "refused")
    async with one:
        one.wire.cut()
        await one.clock.advance(10)
        assert len(declared(one)) == 2
    lines = [(r.levelname, r.message) for r in caplog.records if "schedule" in r.message]
    assert lines == [
        ("INFO", "schedule a: created: because created"),
        ("WARNING", "schedule b: differs: because differs"),
        ("ERROR", "schedule c: refused: because refused"),
    ]


async def test_a_busy_schedule_is_declared_again() -> None:
    one = rig(*(f"s{n}" for n in range(150)))
    answering(one, *["busy"] * 100)
    async with one:
        assert len(declared(one)) == 2
        await one.clock.advance(31)
        assert len(declared(one)) == 4
        answering(one, *["replaced"] * 100)
        await one.clock.advance(31)
        assert len(declared(one)) == 6
        await one.clock.advance(300)
        assert len(declared(one)) == 6


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (403, "not allowed"),
        (-32601, f"kaiju_tasks {__version__} or later"),
        (-32602, "not allowed"),
    ],
)
async def test_a_refusal_is_logged_and_the_executor_goes_on(
    caplog: pytest.LogCaptureFixture, code: int, said: str
) -> None:
    one = rig("a")
    one.manager.errors["manager.declare"] = code, "not allowed"
    async with one:
        await one.clock.advance(300)
        assert len(declared(one)) == 1
        assert one.link.connected
    (record,) = [r for r in caplog.records if "not declared" in r.message]
    assert record.levelname == "ERROR"
    assert said in record.message


async def test_schedules_are_declared_again_when_the_database_is_back() -> None:
    one = rig("a")
    one.manager.errors["manager.declare"] = 503, "no database"
    async with one:
        await one.clock.advance(31)
        one.manager.errors.clear()
        await one.clock.advance(31)
        assert len(declared(one)) == 3
        await one.clock.advance(300)
        assert len(declared(one)) == 3
