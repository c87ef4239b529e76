"""Pauses, bulk calls, notifications, credentials and records that cannot be read or applied: they
are shown as far as possible, and everything else goes on."""

import logging

import pytest

from kaiju_tasks.manager import Manager
from kaiju_tasks.settings import Settings
from tests.manager.conftest import a_manager
from tests.manager.damage import Sql, run_sql
from tests.manager.hand import Calls, HandExecutor, pinging

ALWAYS = {"cron": "* * * * *", "duration": 3600, "timezone": "Europe/Berlin"}
"""A window that is always open."""
DAMAGED_PAUSES = {
    "a zone that is gone": ("Europe/Berlin", "Europe/Atlantis", "Europe/Atlantis"),
    "a schedule of a later version": ("* * * * *", "@fortnightly", "cron"),
    "a condition of a later version": ('{"kws.a":1}', '{"kws.a":{"later":1}}', "later"),
}


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.message for one in caplog.records if one.levelno >= logging.ERROR]


@pytest.mark.parametrize("damage", DAMAGED_PAUSES)
async def test_a_pause_that_cannot_be_applied_holds_nothing_and_is_shown(
    damage: str,
    manager: Manager,
    call: Calls,
    executor: HandExecutor,
    sql: Sql,
    caplog: pytest.LogCaptureFixture,
) -> None:
    old, new, named = DAMAGED_PAUSES[damage]
    hold = {"condition": {"kws.a": 1}, "reason": "new disks", **ALWAYS}
    await call("pauses.add", id="bad", app_name="default", **hold)
    await call("pauses.add", id="good", app_name="other", reason="maintenance")
    held = await call.create("work", id="held", kws={"a": 1})
    assert held["status_reason"] == "paused"
    await sql(f"UPDATE pauses SET body = replace(body, '{old}', '{new}') WHERE id = 'bad'")
    manager.pauses.changed()
    assert (await executor.take()).id == "held"
    await call.create("work", id="due", kws={"a": 1}, delay=0.01)
    assert (await executor.take()).id == "due"
    pauses = {one["id"]: one for one in await call("pauses.list")}
    assert (pauses["bad"]["active"], pauses["bad"]["next_change"]) == (False, None)
    assert named in pauses["bad"]["problem"]
    assert pauses["bad"]["reason"] == "new disks"
    assert (pauses["good"]["active"], pauses["good"]["problem"]) == (True, None)
    manager.pauses.changed()
    await call.create("work", id="also", app_name="other")
    assert await call("tasks.explain", id="also")
    (line,) = errors(caplog)
    assert line.startswith("the pause bad cannot be applied and holds nothing: ")
    await call("pauses.remove", id="bad")


async def test_a_manager_starts_beside_a_pause_that_cannot_be_applied(settings: Settings) -> None:
    async with a_manager(settings) as first:
        await Calls(first)("pauses.add", id="bad", app_name="default", reason="x", **ALWAYS)
    await run_sql(settings.db, "UPDATE pauses SET body = replace(body, 'Berlin', 'Atlantis')")
    async with a_manager(settings) as second:
        executor = HandExecutor(second, "hand")
        await executor.connect()
        async with pinging(executor):
            await Calls(second).create("work", id="good")
            assert (await executor.take()).id == "good"
