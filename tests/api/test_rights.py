"""Two users, an operator and a viewer on one manager: what they see, and what they may do."""

from typing import Any

import pytest

from kaiju_tasks.api import Caller
from kaiju_tasks.errors import Conflict, Forbidden, InvalidParams, KaijuError, NotFound
from kaiju_tasks.manager import Manager
from kaiju_tasks.manager.auth import TokenOrder, database_issuer
from kaiju_tasks.rights import ALL_SIGHT, Kind, Scope, Verb
from kaiju_tasks.store.base import StoreUnavailable
from tests.manager.hand import Calls, HandExecutor

READS: list[tuple[str, dict[str, Any]]] = [
    ("tasks.get", {"id": "t"}),
    ("tasks.runs", {"id": "t"}),
    ("tasks.explain", {"id": "t"}),
    ("tasks.wait", {"id": "t", "timeout": 0}),
]
CREATE_RM = {"method": "_TASKS_", "params": {"create": [{"commands": [{"method": "rm"}]}]}}
SECRET = "the password is 1234"
PAUSES = {"method": "pauses.list"}
CHANGES: list[tuple[str, dict[str, Any]]] = [
    ("tasks.update", {"id": "t", "data": {"description": "x"}}),
    ("tasks.reset", {"id": "t"}),
    ("tasks.restart_from", {"id": "t", "stage": 0}),
    ("tasks.message", {"id": "t", "data": 1}),
    ("tasks.suspend", {"id": "t"}),
    ("tasks.resume", {"id": "t"}),
    ("tasks.cancel", {"id": "t"}),
    ("tasks.run_now", {"id": "t"}),
]


async def as_(call: Calls, name: str, kind: Kind, **scope: Any) -> Calls:
    """Calls with a new token."""
    auth = call.manager.auth
    order = TokenOrder(principal=name, kind=kind, scope=Scope(**scope))
    issued = await database_issuer(call.manager.store).create(order)
    auth.changed()
    admission = await auth.admit(issued.token)
    return call.by(Caller(admission.principal, remote="10.0.0.1"))


@pytest.fixture
async def bob(call: Calls) -> Calls:
    """A user who owns the task `t` on the stream `billing`."""
    bob = await as_(call, "bob", Kind.USER)
    await bob.create("work", id="t", app_name="billing", kws={"secret": 1})
    return bob


async def failure(call: Calls, method: str, params: dict[str, Any]) -> KaijuError:
    with pytest.raises(KaijuError) as refused:
        await call(method, **params)
    return refused.value


@pytest.mark.parametrize(("method", "params"), READS + CHANGES, ids=lambda item: str(item)[:30])
async def test_a_strangers_task_does_not_exist(
    call: Calls, bob: Calls, method: str, params: dict[str, Any]
) -> None:
    ann = await as_(call, "ann", Kind.USER)
    elsewhere = await as_(call, "op", Kind.OPERATOR, streams=("orders",))
    for caller in (ann, elsewhere):
        there = await failure(caller, method, params)
        missing = await failure(caller, method, {**params, "id": "u"})
        assert isinstance(there, NotFound)
        assert str(there).replace("'t'", "'u'") == str(missing)
        assert there.data == {**missing.data, "id": "t"}
    before = await bob.get("t")
    assert (before["status"], before["description"]) == ("QUEUED", None)


async def test_lists_and_counts_leave_out_what_is_not_seen(call: Calls, bob: Calls) -> None:
    ann = await as_(call, "ann", Kind.USER)
    own = await ann.create("work", id="mine", app_name="orders")
    viewer = await as_(call, "vic", Kind.VIEWER, streams=("bill*",))
    admin = await as_(call, "root", Kind.ADMIN)
    for caller, seen in ((ann, ["mine"]), (bob, ["t"]), (viewer, ["t"]), (admin, ["mine", "t"])):
        page = await caller("tasks.list", sort=["id"])
        assert ([one["id"] for one in page["data"]], page["count"]) == (seen, len(seen))
        assert (await caller("tasks.count"))["count"] == len(seen)
        assert await caller("tasks.m_exists", ids=["t", "mine"]) == sorted(seen, reverse=True)
        assert [one["id"] for one in await caller("tasks.m_get", ids=["mine", "t"])] == seen
        assert await caller("tasks.exists", id="t") is ("t" in seen)
        assert [one["id"] for one in await caller("tasks.m_explain", ids=["mine", "t"])] == seen
    assert await ann("tasks.stages", job_id=own["job_id"]) == []
    assert (await viewer("system.info"))["tasks"].keys() == {"billing"}


async def test_runs_are_seen_as_their_tasks_are(call: Calls, bob: Calls) -> None:
    await bob("tasks.cancel", id="t")
    job_id = (await bob.get("t"))["job_id"]
    viewer = await as_(call, "vic", Kind.VIEWER, streams=("bill*",))
    ann = await as_(call, "ann", Kind.USER)
    elsewhere = await as_(call, "op", Kind.OPERATOR, streams=("orders",))
    for caller, seen in ((bob, True), (viewer, True), (ann, False), (elsewhere, False)):
        page = await caller("runs.list")
        assert ([run["task_id"] for run in page["data"]], page["count"]) == (["t"] * seen, seen)
        if seen:
            assert (await caller("runs.get", job_id=job_id))["task_id"] == "t"
        else:
            assert isinstance(await failure(caller, "runs.get", {"job_id": job_id}), NotFound)
    assert (await viewer("runs.get", job_id=job_id))["error"]["message"] == "cancelled"


async def test_bulk_calls_touch_only_what_the_caller_may_operate(call: Calls, bob: Calls) -> None:
    ann = await as_(call, "ann", Kind.USER)
    await ann.create("work", id="mine", app_name="billing")
    everything = {"id": {"like": "%"}}
    dry = await ann("tasks.m_cancel", conditions=everything, dry_run=True)
    assert (dry["matched"], dry["sample"]) == (1, ["mine"])
    assert (await ann("tasks.m_cancel", conditions=everything))["done"] == 1
    assert (await ann("tasks.m_delete", ids=["t", "mine"])) == {"deleted": 1, "not_found": ["t"]}
    assert await ann("tasks.delete", id="t") == {"deleted": False}
    assert (await ann("tasks.m_update", ids=["t"], data={"description": "x"})) == []
    assert (await bob.get("t"))["status"] == "QUEUED"


async def test_old_tasks_of_others_stay(call: Calls, bob: Calls) -> None:
    ann = await as_(call, "ann", Kind.USER)
    await ann.create("work", id="mine")
    for caller, id in ((ann, "mine"), (bob, "t")):
        await caller("tasks.cancel", id=id)
    assert await ann("tasks.delete_old_tasks", interval_days=0) == {"deleted": 1}
    assert (await bob.get("t"))["status"] == "FAILED"


@pytest.mark.parametrize("on_conflict", ["error", "ignore", "replace"])
async def test_a_taken_id_reveals_nothing_else(call: Calls, bob: Calls, on_conflict: str) -> None:
    ann = await as_(call, "ann", Kind.USER)
    data = {"id": "t", "commands": [{"method": "work"}]}
    taken = await failure(ann, "tasks.create", {"data": data, "on_conflict": on_conflict})
    assert isinstance(taken, Conflict)
    assert taken.data == {"type": "conflict", "field": "data.id", "id": "t"}
    many = await failure(ann, "tasks.m_create", {"data": [data]})
    assert "status" not in many.data
    assert (await bob.get("t"))["app_name"] == "billing"


@pytest.mark.parametrize(
    ("scope", "task", "field"),
    [
        ({"streams": ("billing",)}, {"app_name": "orders"}, "data.app_name"),
        ({"methods": ("do.*",)}, {}, "data.commands.0.method"),
        (
            {"webhook_hosts": ("*.example.com",)},
            {"webhook": {"url": "http://evil.org/"}},
            "data.webhook",
        ),
        ({}, {"system": True}, "data.system"),
        ({}, {"priority": 101}, "data.priority"),
        ({}, {"every": 0.5}, "data.every"),
        (
            {"methods": ("do.*", "work")},
            {"commands": [CREATE_RM]},
            "data.commands.0.params.create.0.commands.0.method",
        ),
        ({}, {"app_name": "manager", "commands": [PAUSES]}, "data.commands.0.method"),
    ],
)
async def test_a_task_beyond_the_rights_is_refused(
    call: Calls, scope: dict[str, Any], task: dict[str, Any], field: str
) -> None:
    ann = await as_(call, "ann", Kind.USER, **scope)
    data = {"app_name": "billing", "commands": [{"method": "work"}], **task}
    refused = await failure(ann, "tasks.create", {"data": data})
    assert isinstance(refused, Forbidden), refused
    assert refused.data["field"] == field


async def test_an_update_must_stay_within_the_rights(call: Calls) -> None:
    ann = await as_(call, "ann", Kind.USER, streams=("billing",), methods=("work",))
    await ann.create("work", id="mine", app_name="billing")
    changes: list[dict[str, Any]] = [{"app_name": "orders"}, {"commands": [{"method": "rm"}]}]
    for change in changes:
        refused = await failure(ann, "tasks.update", {"id": "mine", "data": change})
        assert isinstance(refused, Forbidden)
    await ann("tasks.update", id="mine", data={"description": "x"})


async def test_an_operator_operates_but_does_not_change_what_a_task_does(
    call: Calls, bob: Calls
) -> None:
    operator = await as_(call, "op", Kind.OPERATOR, streams=("billing",))
    await operator("tasks.update", id="t", data={"priority": 5, "description": "x"})
    await operator("tasks.suspend", id="t")
    await operator("tasks.resume", id="t")
    changes: list[dict[str, Any]] = [
        {"commands": [{"method": "rm"}]},
        {"kws": {}},
        {"webhook": {"url": "http://x/"}},
    ]
    for change in changes:
        refused = await failure(operator, "tasks.update", {"id": "t", "data": change})
        assert isinstance(refused, Forbidden), change
    replace = {"id": "t", "app_name": "billing", "commands": [{"method": "rm"}]}
    refused = await failure(operator, "tasks.create", {"data": replace, "on_conflict": "replace"})
    assert isinstance(refused, Forbidden)
    task = await bob.get("t")
    assert ([one["method"] for one in task["commands"]], task["user_id"]) == (["work"], "bob")


async def test_a_viewer_sees_no_data_unless_it_may(call: Calls, bob: Calls) -> None:
    viewer = await as_(call, "vic", Kind.VIEWER)
    task = await viewer.get("t")
    assert (task["kws"], task["result"], task["commands"]) == (
        {},
        [],
        [{"method": "work", "params": {}}],
    )
    seeing = await as_(call, "dan", Kind.VIEWER, see_data=True)
    assert (await seeing.get("t"))["kws"] == {"secret": 1}
    assert isinstance(await failure(seeing, "tasks.reset", {"id": "t"}), Forbidden)


async def test_a_viewer_sees_no_filled_key_or_name_unless_it_may(
    call: Calls, bob: Calls, executor: HandExecutor
) -> None:
    slot = {"concurrency": {"key": "of-[kws.who]", "limit": 1}, "kws": {"who": SECRET}}
    await bob.create("work", id="holder", **slot)
    await executor.take()
    await bob.create("work", id="next", **slot)
    await bob.create({"method": "_MESSAGE_", "params": {"name": SECRET}}, id="m")
    viewers = {
        sees: await as_(call, f"v{sees}", Kind.VIEWER, see_data=sees) for sees in (False, True)
    }
    for sees, viewer in viewers.items():
        for id in ("next", "m"):
            explained = await viewer("tasks.explain", id=id)
            assert (SECRET in str(explained)) is sees, explained
    (slots,) = (await viewers[False]("tasks.explain", id="next"))["reasons"]
    assert "1 of 1 slots of its concurrency key are used" in slots["message"]


async def test_a_viewer_sees_no_message_of_an_error_unless_it_may(
    call: Calls, bob: Calls, executor: HandExecutor
) -> None:
    heard = {True: HandExecutor(call.manager, "dan"), False: HandExecutor(call.manager, "vic")}
    viewers = {}
    for sees, listener in heard.items():
        viewers[sees] = await as_(call, listener.id, Kind.VIEWER, see_data=sees)
        listener.caller.principal = viewers[sees].caller.principal
        await listener.call("events.subscribe", conditions={"event": "task.failed"})
    await bob.create("work", id="f", notify=True)
    await executor.fail(await executor.take(), message=SECRET)
    task = await bob.until("f", "FAILED")
    for sees, viewer in viewers.items():
        seen = [
            await viewer.get("f"),
            await viewer("tasks.runs", id="f"),
            await viewer("tasks.stages", job_id=task["job_id"]),
            await viewer("tasks.explain", id="f"),
            await viewer("notifications.get", id=task["job_id"]),
            await viewer("notifications.list"),
            heard[sees].heard,
        ]
        for one in seen:
            assert (SECRET in str(one)) is sees, one
            assert "execution_error" in str(one), one


async def test_a_message_of_a_user_is_remembered_by_its_id(call: Calls, bob: Calls) -> None:
    await bob.create({"method": "_MESSAGE_"}, id="m", cron="0 0 1 1 *")
    await bob("tasks.run_now", id="m")
    sent = {"id": "m", "data": 1, "message_id": "one"}
    assert (await bob("tasks.message", **sent))["state"] == "delivered"
    await bob("tasks.run_now", id="m")
    assert (await bob("tasks.message", **sent))["state"] == "duplicate"


@pytest.mark.parametrize("how", ["update", "replace"])
async def test_a_task_that_another_token_of_the_owner_changes_has_no_more_rights_than_that(
    call: Calls, bob: Calls, how: str
) -> None:
    await bob("tasks.cancel", id="t")
    narrow = await as_(call, "bob", Kind.USER, stages=("tasks.get",))
    data: dict[str, Any] = {"id": "t", "app_name": "billing", "kws": {"secret": 2}}
    if how == "update":
        await narrow("tasks.update", id="t", data={"kws": data["kws"]})
    else:
        data["commands"] = [{"method": "work"}]
        await narrow("tasks.create", data=data, on_conflict="replace")
    definition = (await call.manager.store.tasks(["t"], ALL_SIGHT))["t"].definition
    assert definition.token_id == narrow.caller.principal.token_id


async def test_a_grant_lets_a_message_in(call: Calls, bob: Calls) -> None:
    await bob.create({"method": "_MESSAGE_"}, id="approval-1")
    ann = await as_(call, "ann", Kind.USER, message=("approval-*",))
    receipt = await ann("tasks.message", id="approval-1", data=True)
    assert receipt["accepted"]
    assert isinstance(await failure(ann, "tasks.get", {"id": "approval-1"}), NotFound)
    assert isinstance(await failure(ann, "tasks.message", {"id": "t", "data": 1}), NotFound)


async def test_a_next_task_must_be_in_sight(call: Calls, bob: Calls) -> None:
    ann = await as_(call, "ann", Kind.USER)
    data = {"commands": [{"method": "work"}], "next_task": "t"}
    there = await failure(ann, "tasks.create", {"data": data})
    missing = await failure(ann, "tasks.create", {"data": {**data, "next_task": "u"}})
    assert isinstance(there, InvalidParams)
    assert str(there) == str(missing).replace("'u'", "'t'")


@pytest.mark.parametrize("kind", [Kind.USER, Kind.OPERATOR])
async def test_a_child_cannot_start_the_task_of_somebody_else(
    call: Calls, bob: Calls, kind: Kind
) -> None:
    await bob("tasks.cancel", id="t")
    ann = await as_(call, "ann", kind)
    await ann.create({"method": "_MESSAGE_"}, id="own")
    timer = {"method": "_TIMER_", "params": {"timer": 0}}
    errors = {}
    for target in ("t", "u", "own"):
        child = {"id": f"before-{target}", "commands": [timer], "next_task": target}
        hook = {"method": "_TASKS_", "params": {"create": [child]}}
        await ann.create(hook, id=f"p-{target}")
        ended = await ann.until(f"p-{target}", "FINISHED" if target == "own" else "FAILED")
        errors[target] = ended["error"]
    assert errors["t"]["message"] == "`next_task`: there is no task 't'"
    assert errors["u"]["message"] == "`next_task`: there is no task 'u'"
    assert errors["own"] is None
    assert (await bob.get("t"))["status"] == "FAILED"


async def test_the_children_of_a_deleted_task_stay_with_their_owner(
    call: Calls, bob: Calls
) -> None:
    timer = {"method": "_TIMER_", "params": {"timer": 0}}
    hook = {"method": "_TASKS_", "params": {"create": [{"id": "c", "commands": [timer]}]}}
    await bob.create(hook, id="p")
    await bob.until("p", "FINISHED")
    await bob("tasks.delete", id="p")
    before = await bob.get("c")
    ann = await as_(call, "ann", Kind.USER)
    await ann.create(hook, id="p")
    refused = await ann.until("p", "FAILED")
    assert refused["error"]["message"] == "a task with the id 'c' already exists"
    assert await bob.get("c") == before
    assert isinstance(await failure(ann, "tasks.get", {"id": "c"}), NotFound)


async def test_a_pause_of_all_streams_needs_all_streams(call: Calls) -> None:
    limited = await as_(call, "op", Kind.OPERATOR, streams=("billing",))
    whole = await as_(call, "chief", Kind.OPERATOR)
    user = await as_(call, "ann", Kind.USER)
    await limited("pauses.add", id="p", reason="r", app_name="billing")
    await whole("pauses.add", id="q", reason="r", app_name="orders")
    for params in ({"app_name": "orders"}, {"method": "*"}):
        refused = await failure(limited, "pauses.add", {"reason": "r", **params})
        assert isinstance(refused, NotFound | Forbidden)
    assert [one["id"] for one in await limited("pauses.list")] == ["p"]
    assert isinstance(await failure(limited, "pauses.remove", {"id": "q"}), NotFound)
    assert isinstance(await failure(user, "pauses.remove", {"id": "p"}), Forbidden)
    await whole("pauses.add", id="r", reason="r", method="*")
    await limited("pauses.remove", id="p")


async def test_operators_see_the_audit_of_their_streams(call: Calls, bob: Calls) -> None:
    admin = await as_(call, "root", Kind.ADMIN)
    await admin.create("work", id="o", app_name="orders")
    for id in ("t", "o"):
        await admin("tasks.suspend", id=id)
    await bob("tasks.update", id="t", data={"description": "x"})
    operator = await as_(call, "op", Kind.OPERATOR, streams=("billing",))
    records = (await operator("audit.list"))["data"]
    assert {one["target"] for one in records} == {"t"}
    own = (await bob("audit.list"))["data"]
    assert [(one["action"], one["user_id"]) for one in own] == [("tasks.update", "bob")]


async def test_the_owner_of_a_task_and_its_token_are_kept(manager: Manager, bob: Calls) -> None:
    definition = (await manager.store.tasks(["t"], ALL_SIGHT))["t"].definition
    assert definition.user_id == "bob"
    ((token, _),) = await manager.store.tokens()
    assert definition.token_id == token.id


WRITERS: dict[str, dict[str, Any]] = {
    "tasks.update": {"id": "t", "data": {"priority": 1}},
    "tasks.suspend": {"id": "t"},
    "tasks.resume": {"id": "t"},
    "tasks.cancel": {"id": "t"},
    "tasks.restart_from": {"id": "t", "stage": 0},
    "tasks.reset": {"id": "t"},
    "tasks.run_now": {"id": "later"},
}
NO_READ = (Verb.CREATE, Verb.OPERATE, Verb.MESSAGE)


@pytest.mark.parametrize("method", WRITERS)
async def test_a_write_is_answered_without_the_right_to_read(
    call: Calls, bob: Calls, method: str
) -> None:
    later = {"id": "later", "commands": [{"method": "a"}], "delay": 3600}
    await bob("tasks.create", data=later)
    if method == "tasks.resume":
        await bob("tasks.suspend", id="t")
    blind = await as_(call, "bob", Kind.USER, verbs=NO_READ)
    params = WRITERS[method]
    changed = await blind(method, **params)
    stored = await bob.get(params["id"])
    assert {**changed, "kws": stored["kws"]} == stored
    assert changed["kws"] == {}
    assert isinstance(await failure(blind, "tasks.get", {"id": "t"}), Forbidden)


async def test_a_create_is_answered_without_the_right_to_read(call: Calls) -> None:
    blind = await as_(call, "ann", Kind.USER, verbs=NO_READ)
    concurrency = {"key": "k", "limit": 1}
    data = {"id": "a", "commands": [{"method": "a"}], "concurrency": concurrency}
    assert (await blind("tasks.create", data=data))["created"] is True
    for on_conflict in ("ignore", "replace"):
        again = await blind("tasks.create", data=data, on_conflict=on_conflict)
        assert (again["id"], again["created"]) == ("a", False)
    unique = {"commands": [{"method": "a"}], "unique": {"key": "u"}, "kws": {"x": 1}}
    first = await blind("tasks.create", data=unique)
    reused = await blind("tasks.create", data=unique)
    assert (reused["id"], reused["created"], reused["kws"]) == (first["id"], False, {})
    many = await blind("tasks.m_create", data=[{**data, "id": "b"}, unique])
    assert [(one["id"], one["created"]) for one in many] == [("b", True), (first["id"], False)]
    changes = {"ids": ["a", "b"], "data": {"description": "x"}}
    updated = await blind("tasks.m_update", **changes)
    assert [one["description"] for one in updated] == ["x", "x"]


async def test_an_executor_is_operated_without_the_right_to_read(
    call: Calls, executor: HandExecutor
) -> None:
    blind = await as_(call, "op", Kind.OPERATOR, verbs=NO_READ)
    for action, status in (("drain", "DRAINING"), ("resume", "ACTIVE"), ("suspend", "SUSPENDED")):
        changed = await blind(f"executors.{action}", id="hand")
        assert (changed["status"], changed["app_names"]) == (status, ["default"])


@pytest.mark.parametrize("method", ["create", "cancel"])
async def test_a_write_that_cannot_be_read_back_is_answered_as_it_was_written(
    call: Calls, bob: Calls, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    async def away(*args: object, **more: object) -> None:
        raise StoreUnavailable("the database is away")

    monkeypatch.setattr(type(call.manager.store), "tasks", away)
    if method == "create":
        data = {"id": "n", "commands": [{"method": "a"}], "concurrency": {"key": "k", "limit": 1}}
        answer = await bob("tasks.create", data=data)
        assert (answer["id"], answer["created"]) == ("n", True)
    else:
        answer = await bob("tasks.cancel", id="t")
        assert (answer["id"], answer["status"], answer["exit_code"]) == ("t", "FAILED", 130)


AT_ONCE = {"method": "_TIMER_", "params": {"timer": 0}}


@pytest.mark.parametrize("named", [{"ids": ["t"]}, {"ids": "[kws.ids]"}], ids=["plain", "template"])
@pytest.mark.parametrize("scope", [{"streams": ("orders",)}, {"verbs": NO_READ}], ids=str)
async def test_a_stage_waits_only_for_tasks_that_its_token_may_read(
    call: Calls, bob: Calls, scope: dict[str, Any], named: dict[str, Any]
) -> None:
    limited = await as_(call, "bob", Kind.USER, **scope)
    hook = {"method": "_TASKS_", "params": named}
    child = {"id": "c", "commands": [hook], "app_name": "orders"}
    inner = {"method": "_TASKS_", "params": {"create": [child]}}
    fields = {"app_name": "orders", "kws": {"ids": ["t"]}}
    await limited.create(hook, id="p", **fields)
    failed = await bob.until("p", "FAILED")
    assert failed["error"]["message"] == "there is no task 't'"
    if isinstance(named["ids"], list):  # a child has no kws of its parent
        await limited.create(inner, id="q", **fields)
        await bob.until("q", "FAILED")
        assert (await bob.get("c"))["error"]["message"] == "there is no task 't'"


async def test_a_run_does_not_start_what_its_token_may_not_operate(call: Calls) -> None:
    """`t` is replaced after `next_task` was written."""
    bob = await as_(call, "bob", Kind.USER)
    ann = await as_(call, "ann", Kind.USER)
    timer = {"method": "_TIMER_", "params": {"timer": 0}}
    hook = {"method": "_MESSAGE_"}
    for target in ("t", "u"):
        await bob.create(timer, id=target)
        await bob.create(hook, id=f"before-{target}", next_task=target)
    await bob("tasks.delete", id="t")
    await ann.create("work", id="t", delay=3600)
    for target in ("t", "u"):
        await bob("tasks.message", id=f"before-{target}", data=1)
        await bob.until(f"before-{target}", "FINISHED")
    assert (await ann.get("t"))["status"] == "IDLE"
    (missed,) = await ann("tasks.runs", id="t")
    assert missed["status"] == "MISSED"
    assert "that task has no right to start this one" in str(missed)
    assert len(await bob("tasks.runs", id="u")) == 2


async def test_a_stage_of_a_narrow_token_starts_no_task_of_other_streams(call: Calls) -> None:
    bob = await as_(call, "bob", Kind.USER)
    narrow = await as_(call, "bob", Kind.USER, streams=("orders",))
    await bob.create(AT_ONCE, id="t", app_name="orders")
    await narrow.create({"method": "_MESSAGE_"}, id="first", app_name="orders", next_task="t")
    await bob("tasks.update", id="t", data={"app_name": "billing"})
    await bob("tasks.message", id="first", data=1)
    await bob.until("first", "FINISHED")
    runs = await bob("tasks.runs", id="t")
    assert [run["status"] for run in runs] == ["MISSED", "FINISHED"]


async def test_a_circle_does_not_name_tasks_of_others(call: Calls) -> None:
    bob = await as_(call, "bob", Kind.USER)
    chief = await as_(call, "chief", Kind.ADMIN)
    await bob.create("a", id="one", delay=3600)
    await chief.create("a", id="hidden", delay=3600, next_task="one")
    await bob.create("a", id="two", delay=3600)
    await chief("tasks.update", id="two", data={"next_task": "hidden"})
    refused = await failure(bob, "tasks.update", {"id": "one", "data": {"next_task": "two"}})
    assert isinstance(refused, InvalidParams)
    assert "hidden" not in str(refused)
    assert refused.data["circle"] == ["one", "two", "…"]
    seen = await failure(chief, "tasks.update", {"id": "one", "data": {"next_task": "two"}})
    assert set(seen.data["circle"]) == {"one", "two", "hidden"}


async def test_a_unique_key_does_not_name_a_holder_of_another_stream(call: Calls) -> None:
    bob = await as_(call, "bob", Kind.USER)
    narrow = await as_(call, "bob", Kind.USER, streams=("orders",))
    data = {"commands": [{"method": "a"}], "unique": {"key": "k"}}
    await bob("tasks.create", data={**data, "id": "hidden", "app_name": "billing"})
    again = {**data, "app_name": "orders"}
    for method, params, field in (
        ("tasks.create", {"data": again}, "data.unique"),
        ("tasks.m_create", {"data": [{**again, "unique": {"key": "k", "on_conflict": "error"}}]},
         "data.0.unique"),
        ("tasks.m_create", {"data": [{"commands": [{"method": "a"}], "app_name": "orders"}, again]},
         "data.1.unique"),
    ):  # fmt: skip
        refused = await failure(narrow, method, params)
        assert isinstance(refused, Conflict)
        assert "hidden" not in f"{refused} {refused.data}"
        assert refused.data["field"] == field
    assert await narrow("tasks.count") == {"count": 0}


async def test_a_task_with_the_id_of_a_deleted_one_reveals_nothing_of_that(call: Calls) -> None:
    bob = await as_(call, "bob", Kind.USER)
    op = await as_(call, "op", Kind.OPERATOR, streams=("orders",))
    chief = await as_(call, "chief", Kind.OPERATOR)
    timer = {"method": "_TIMER_", "params": {"timer": 0}}
    old = await bob.create(timer, id="t", app_name="billing", notify=True)
    await bob.until("t", "FINISHED")
    await bob("tasks.reset", id="t", reason="secret")
    await bob.until("t", "FINISHED")
    await bob("tasks.delete", id="t", reason="secret")
    await op.create(timer, id="t", app_name="orders", notify=True)
    await op.until("t", "FINISHED")
    await op("tasks.reset", id="t", reason="own")
    await op.until("t", "FINISHED")
    records = (await op("audit.list", conditions={"target": "t"}))["data"]
    assert [one["data"].get("reason") for one in records] == ["own"]
    told = (await op("notifications.list"))["data"]
    assert [one["user_id"] for one in told] == ["op", "op"]
    runs = await op("tasks.runs", id="t")
    assert {one["job_id"] for one in runs} == {one["job_id"] for one in told}
    assert await op("tasks.stages", job_id=old["job_id"]) == []
    all_records = (await chief("audit.list", conditions={"target": "t"}))["data"]
    assert len(all_records) == 3


async def test_a_task_reveals_no_record_of_something_else_with_its_id(call: Calls) -> None:
    op = await as_(call, "op", Kind.OPERATOR, streams=("orders",))
    root = await as_(call, "root", Kind.ADMIN)
    await op.create("a", id="ann", app_name="orders", delay=3600)
    await as_(call, "ann", Kind.USER)
    await root("principals.update", id="ann", data={"disabled": True}, reason="secret")
    assert (await op("audit.list"))["data"] == []
    assert (await root("audit.list", conditions={"action": "principals.update"}))["count"] == 1


async def test_who_suspended_a_deleted_task_is_not_named_for_its_successor(
    call: Calls, executor: HandExecutor
) -> None:
    bob = await as_(call, "bob", Kind.USER)
    ann = await as_(call, "ann", Kind.USER)
    await bob.create("work", id="t")
    await executor.take()
    await bob("tasks.suspend", id="t", wait_stage=True)
    await bob("tasks.delete", id="t")
    await ann.create("work", id="t", delay=3600)
    await ann("tasks.m_suspend", conditions={"id": "t"})
    explained = await ann("tasks.explain", id="t")
    assert "bob" not in str(explained)
