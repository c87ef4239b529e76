"""Stages on the stream `manager` have the rights of the owner of the task, and no more."""

from typing import Any

import pytest

from kaiju_tasks.api import Caller
from kaiju_tasks.embedded import Embedded
from kaiju_tasks.manager.auth import PrincipalChanges, TokenOrder, database_issuer
from kaiju_tasks.rights import Kind, Scope
from kaiju_tasks.types import AuditRecord
from tests.manager.hand import Calls
from tests.support.wait import wait_until

STAGES = ("tasks.*", "pauses.*")


class People:
    """Makes callers with tokens."""

    def __init__(self, inside: Embedded) -> None:
        self.manager = inside.manager
        self.issuer = database_issuer(inside.manager.store)
        self.tokens: dict[str, str] = {}

    async def __call__(self, name: str, kind: Kind, **scope: Any) -> Calls:
        order = TokenOrder(principal=name, kind=kind, scope=Scope(**scope))
        issued = await self.issuer.create(order)
        self.manager.auth.changed()
        self.tokens[name] = issued.id
        admission = await self.manager.auth.admit(issued.token)
        return Calls(self.manager, Caller(admission.principal))


@pytest.fixture
def people(inside: Embedded) -> People:
    return People(inside)


def stage(method: str, /, **params: Any) -> dict[str, Any]:
    return {"method": method, "params": params}


async def ended(call: Calls, *commands: dict[str, Any]) -> dict[str, Any]:
    task = await call.create(*commands, app_name="manager")
    done: dict[str, Any] = await call("tasks.wait", id=task["id"], timeout=60)
    return done


async def test_a_stage_sees_and_changes_only_what_its_owner_may(people: People) -> None:
    bob, ann = await people("bob", Kind.USER), await people("ann", Kind.USER)
    await bob.create("work", id="t", app_name="billing")
    own = await ended(ann, stage("tasks.count"))
    assert own["result"] == [{"count": 1}]
    for method in ("tasks.get", "tasks.cancel"):
        failed = await ended(ann, stage(method, id="t"))
        assert failed["status"] == "FAILED"
        assert "there is no task 't'" in failed["error"]["message"]
    assert (await bob.get("t"))["status"] == "QUEUED"


async def test_a_stage_beyond_the_kind_of_its_owner_fails(people: People) -> None:
    ann = await people("ann", Kind.USER, stages=STAGES)
    failed = await ended(ann, stage("pauses.add", reason="r", method="*"))
    assert failed["status"] == "FAILED"
    assert "does not allow to call `pauses.add`" in failed["error"]["message"]


async def test_the_end_of_a_token_does_not_stop_its_tasks_but_that_of_the_owner_holds_them(
    people: People,
) -> None:
    ann = await people("ann", Kind.USER)
    root = await people("root", Kind.ADMIN)
    first = await ended(ann, stage("tasks.count"))
    await people.issuer.revoke(people.tokens["ann"])
    await root("tasks.reset", id=first["id"])
    again = await root("tasks.wait", id=first["id"], timeout=60)
    assert again["status"] == "FINISHED"
    await people.issuer.update("ann", PrincipalChanges(disabled=True))
    await root("tasks.reset", id=first["id"])

    async def held() -> bool:
        task = await root.get(first["id"])
        return (task["status"], task["status_reason"]) == ("QUEUED", "paused")

    await wait_until(held, "the task is held")
    await root("principals.update", id="ann", data={"disabled": False})
    assert (await root("tasks.wait", id=first["id"], timeout=60))["status"] == "FINISHED"


async def test_what_a_stage_creates_belongs_to_its_owner_and_stays_within_its_token(
    people: People,
) -> None:
    ann = await people("ann", Kind.USER, streams=("manager", "billing"))
    made = {"id": "child", "app_name": "billing", "commands": [{"method": "work"}]}
    assert (await ended(ann, stage("tasks.create", data=made)))["status"] == "FINISHED"
    child = await ann.get("child")
    assert (child["user_id"], child["parent_id"] is not None) == ("ann", True)
    other = {**made, "id": "other", "app_name": "orders"}
    failed = await ended(ann, stage("tasks.create", data=other))
    assert failed["status"] == "FAILED"
    assert "tasks on the stream 'orders'" in failed["error"]["message"]


async def test_a_stranger_s_task_cannot_be_waited_for(people: People) -> None:
    bob, ann = await people("bob", Kind.USER), await people("ann", Kind.USER)
    await bob.create("work", id="t", app_name="billing")
    failed = await ended(ann, stage("_TASKS_", ids=["t"]))
    assert failed["status"] == "FAILED"
    assert "there is no task 't'" in failed["error"]["message"]


async def test_the_audit_names_task_run_and_stage(people: People) -> None:
    ann = await people("ann", Kind.USER)
    root = await people("root", Kind.ADMIN)
    await ann.create("work", id="t", app_name="billing")
    task = await ended(ann, stage("tasks.suspend", id="t"))
    page = await root("audit.list", conditions={"action": "tasks.suspend"})
    (record,) = [AuditRecord(**one) for one in page["data"]]
    assert (record.user_id, record.remote) == ("ann", f"task:{task['id']}/{task['job_id']}/0")


async def test_a_pause_names_its_author_or_the_stage_that_has_added_it(
    inside: Embedded, people: People
) -> None:
    anonymous = Calls(inside.manager)
    added = stage("pauses.add", id="by-stage", reason="backup", group="g")
    task = await ended(anonymous, added)
    pauses = {one["id"]: one["author"] for one in await anonymous("pauses.list")}
    assert pauses == {"by-stage": f"task:{task['id']}/{task['job_id']}/0"}
    olga = await people("olga", Kind.OPERATOR, stages=STAGES)
    await ended(olga, {**added, "params": {**added["params"], "id": "hers", "author": "bob"}})
    pauses = {one["id"]: one["author"] for one in await olga("pauses.list")}
    assert pauses["hers"] == "olga"
