"""Stages of the stream `manager` that create tasks are within the quotas of their owner."""

from typing import Any

import pytest

from kaiju_tasks.embedded import Embedded
from kaiju_tasks.manager.auth import PrincipalChanges, QuotaChanges
from kaiju_tasks.rights import Kind
from tests.manager.hand import Calls
from tests.support.standing import Standing, stand_still
from tests.support.wait import wait_until
from tests.system_executor.test_rights import People, ended, stage

LATER: dict[str, Any] = {"commands": [{"method": "later"}], "app_name": "elsewhere"}


@pytest.fixture
def standing(monkeypatch: pytest.MonkeyPatch) -> Standing:
    return stand_still(monkeypatch)


async def limited(embedded_manager: Embedded, **quotas: float) -> Calls:
    """A user with quotas."""
    people = People(embedded_manager)
    ann = await people("ann", Kind.USER)
    changes = PrincipalChanges(quotas=QuotaChanges(**quotas))  # type: ignore[arg-type]
    await people.issuer.update("ann", changes)
    embedded_manager.manager.committer.accounts.changed()
    return ann


async def test_a_stage_fails_that_finds_no_room(embedded_manager: Embedded) -> None:
    ann = await limited(embedded_manager, open_tasks=1)
    task = await ended(ann, stage("tasks.create", data=LATER))
    assert (task["status"], task["error"]["type"]) == ("FAILED", "too_many_requests")
    assert task["error"]["data"]["quota"] == "open_tasks"
    assert (await ann("tasks.count"))["count"] == 1


async def test_a_stage_that_creates_too_fast_waits(
    standing: Standing, embedded_manager: Embedded
) -> None:
    ann = await limited(embedded_manager, creates_per_second=1.0)
    await ann("tasks.m_create", data=[LATER] * 9)
    task = await ann.create(stage("tasks.create", data=LATER), app_name="manager")

    async def attempts() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await ann("tasks.stages", job_id=task["job_id"])
        return found

    (first, *_) = await wait_until(attempts, "the stage was refused")
    assert (first["outcome"], first["error"]["type"]) == ("FAILED", "retry_after")
    standing.now += 100
    assert (await ann.until(task["id"], "FINISHED"))["retries"] == 0
    assert (await ann("tasks.count"))["count"] == 11
