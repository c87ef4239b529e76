"""Quotas of principals: what they may use, whatever creates it."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from kaiju_tasks.api import Caller
from kaiju_tasks.errors import InvalidParams, KaijuError, TooLarge, TooManyRequests
from kaiju_tasks.manager import Manager
from kaiju_tasks.manager.auth import TokenOrder, database_issuer
from kaiju_tasks.manager.writing.account import Account
from kaiju_tasks.manager.writing.accounts import Accounts
from kaiju_tasks.rights import Kind, Scope, Verb
from kaiju_tasks.settings import Settings
from kaiju_tasks.store.base import StoreUnavailable
from tests.manager.hand import Calls, HandExecutor
from tests.support.doubt import in_doubt
from tests.support.standing import Standing, stand_still
from tests.support.wait import wait_until

Json = dict[str, Any]
LATER: Json = {"commands": [{"method": "later"}], "app_name": "elsewhere"}
MOST = 5


@pytest.fixture
def settings(store_url: str) -> Settings:
    return Settings(db=store_url, poll_interval=0.2, max_open_tasks=MOST, max_pauses=2)


class People:
    """Callers with tokens."""

    def __init__(self, manager: Manager) -> None:
        self.manager = manager
        self.tokens: dict[str, str] = {}

    async def __call__(self, name: str, kind: Kind = Kind.USER, **scope: Any) -> Calls:
        if name not in self.tokens:
            order = TokenOrder(principal=name, kind=kind, scope=Scope(**scope))
            issued = await database_issuer(self.manager.store).create(order)
            self.tokens[name] = issued.token
        return await self.at(self.manager, name)

    async def at(self, manager: Manager, name: str) -> Calls:
        """Somebody who calls a manager."""
        manager.auth.changed()
        principal = (await manager.auth.admit(self.tokens[name])).principal
        return Calls(manager, Caller(principal, remote="10.0.0.1"))

    async def root(self) -> Calls:
        return await self("root", Kind.ADMIN)

    async def set_quotas(self, name: str, **quotas: float | None) -> Json:
        root = await self.root()
        changed: Json = await root("principals.update", id=name, data={"quotas": quotas})
        return changed


@pytest.fixture
def people(manager: Manager) -> People:
    return People(manager)


def account(manager: Manager, name: str) -> Account:
    return manager.committer.accounts._accounts[name]


async def later(calls: Calls, **fields: Any) -> Json:
    task: Json = await calls("tasks.create", data={**LATER, **fields})
    return task


async def refusal(call: Awaitable[Any]) -> Json:
    """The data of the error of a call that exceeds a quota."""
    with pytest.raises(TooManyRequests) as caught:
        await call
    data: Json = caught.value.data
    assert (caught.value.code, data["type"]) == (429, "too_many_requests")
    return data


async def fill(calls: Calls, number: int = MOST) -> list[Json]:
    made: list[Json] = await calls("tasks.m_create", data=[LATER] * number)
    return made


async def is_true(check: Callable[[], Awaitable[bool]], what: str) -> None:
    await wait_until(check, what)


@pytest.fixture
def standing(monkeypatch: pytest.MonkeyPatch) -> Standing:
    return stand_still(monkeypatch)


# -- open tasks ------------------------------------------------------------------------------------


async def test_who_has_reached_a_quota_creates_nothing_and_disturbs_nobody(people: People) -> None:
    ann, bob = await people("ann"), await people("bob")
    ids = [(await later(ann))["id"] for _ in range(MOST)]
    data = await refusal(later(ann))
    assert (data["quota"], data["limit"], data["used"]) == ("open_tasks", MOST, MOST)
    assert data["retry_after"] >= 1
    assert len(await fill(bob)) == MOST
    await ann("tasks.cancel", id=ids[0])
    await ann("tasks.delete", id=ids[1])
    await later(ann)
    await later(ann)
    await refusal(later(ann))
    assert account(people.manager, "ann").reserved == 0


async def test_a_call_that_does_not_fit_creates_nothing(people: People) -> None:
    ann = await people("ann")
    await fill(ann, 3)
    data = await refusal(ann("tasks.m_create", data=[LATER] * 3))
    assert (data["index"], data["used"]) == (2, 3)
    assert (await ann("tasks.count"))["count"] == 3
    await fill(ann, 2)
    assert (await refusal(fill(ann, 1)))["index"] == 0


async def test_calls_at_the_same_time_do_not_exceed_a_quota_together(people: People) -> None:
    ann, bob = await people("ann"), await people("bob")
    calls = [fill(ann, 2) for _ in range(10)] + [fill(bob, 1)]
    singles = [later(ann) for _ in range(20)]
    outcomes = await asyncio.gather(*calls, *singles, return_exceptions=True)
    assert isinstance(outcomes[10], list)
    errors = [one for one in outcomes if isinstance(one, BaseException)]
    assert all(isinstance(one, TooManyRequests) for one in errors)
    assert (await ann("tasks.count"))["count"] == MOST
    assert account(people.manager, "ann").reserved == 0


async def test_a_task_that_exists_is_found_although_the_quota_is_reached(people: People) -> None:
    ann = await people("ann")
    await later(ann, id="first")
    await fill(ann, MOST - 1)
    repeated = await ann("tasks.create", data={**LATER, "id": "first"}, on_conflict="ignore")
    assert (repeated["id"], repeated["created"]) == ("first", False)
    replaced = await ann(
        "tasks.create", data={**LATER, "id": "first", "priority": 3}, on_conflict="replace"
    )
    assert replaced["priority"] == 3
    with pytest.raises(KaijuError) as caught:
        await later(ann, id="first")
    assert caught.value.code == 409
    await refusal(later(ann, id="second"))


async def test_the_holder_of_a_unique_key_is_found_although_the_quota_is_reached(
    people: People,
) -> None:
    ann = await people("ann")
    unique = {"key": "k", "scope": "active"}
    holder = await later(ann, unique=unique)
    await fill(ann, MOST - 1)
    found = await later(ann, unique=unique)
    assert (found["id"], found["created"]) == (holder["id"], False)
    with pytest.raises(KaijuError) as caught:
        await later(ann, unique={**unique, "on_conflict": "error"})
    assert (caught.value.code, caught.value.data["id"]) == (409, holder["id"])
    assert (await ann("tasks.validate", data={**LATER, "unique": unique}))["valid"]
    (one,) = await ann("tasks.m_create", data=[{**LATER, "unique": unique}])
    assert (one["id"], one["created"]) == (holder["id"], False)
    other = {**unique, "key": "other"}
    await refusal(later(ann, unique=other))
    await refusal(ann("tasks.m_create", data=[{**LATER, "unique": other}]))
    assert not (await ann("tasks.validate", data={**LATER, "unique": other}))["valid"]
    await ann("tasks.delete", id=holder["id"])
    assert (await later(ann, unique=other))["created"]
    assert account(people.manager, "ann").reserved == 0


async def test_a_repeated_call_for_many_tasks_is_a_conflict_although_the_quota_is_reached(
    people: People,
) -> None:
    ann = await people("ann")
    items = [{**LATER, "id": f"t{i}"} for i in range(MOST)]
    await ann("tasks.m_create", data=items)
    with pytest.raises(KaijuError) as caught:
        await ann("tasks.m_create", data=[LATER, *items[2:]])
    assert (caught.value.code, caught.value.data["index"]) == (409, 1)
    assert caught.value.data["id"] == "t2"
    await refusal(ann("tasks.m_create", data=[{**LATER, "id": "new"}]))


@pytest.mark.parametrize("create", [later, partial(fill, number=1)])
async def test_a_task_whose_commit_was_in_doubt_is_not_refused_and_is_counted(
    people: People, monkeypatch: pytest.MonkeyPatch, create: Callable[[Calls], Awaitable[Any]]
) -> None:
    ann = await people("ann")
    await fill(ann, MOST - 1)
    known, counter = account(people.manager, "ann"), people.manager.committer.accounts
    with monkeypatch.context() as uncounted:
        uncounted.setattr(counter, "_begin_count", lambda **_: None)
        if counter._counting is not None:
            await asyncio.wait({counter._counting})
        assert not known.in_doubt

        async def takes_the_last_room() -> None:
            known.open = MOST

        in_doubt(people.manager, uncounted, committed=True, then=takes_the_last_room)
        await create(ann)
        assert known.in_doubt
        assert known.due
    assert (await ann("tasks.count"))["count"] == MOST
    known.open = 0

    async def is_counted() -> bool:
        await ann("system.whoami")
        return known.open == MOST and not known.in_doubt

    await is_true(is_counted, "its tasks have been counted again")


async def test_schedules_count_between_their_runs(people: People) -> None:
    ann = await people("ann")
    for enabled in [True] * (MOST - 1) + [False]:
        await later(ann, cron="@daily", enabled=enabled)
    await refusal(later(ann))


async def test_what_a_manager_knows_is_what_the_database_counts(
    people: People, executor: HandExecutor
) -> None:
    ann = await people("ann", streams=["*"])
    await people.set_quotas("ann", open_tasks=1000)
    hook = {"method": "_TASKS_", "params": {"create": [LATER, LATER]}}
    await ann.create(hook, id="parent")
    await ann.create("work", id="runs")
    await ann.create("work", id="fails")
    await ann.create("work", id="waits", delay=600)
    await ann.create("work", id="daily", cron="@daily")
    await ann.create("work", id="stopped", cron="@daily", enabled=False)
    await ann.create("work", id="held", app_name="elsewhere")
    await ann("tasks.suspend", id="held")
    await ann.create({"method": "_MESSAGE_", "params": {}}, id="messages")
    runs, fails = sorted([await executor.take(), await executor.take()], key=lambda one: one.id)[
        ::-1
    ]
    await executor.fail(fails)
    assert runs.id == "runs"
    await ann.until("fails", "FAILED")
    known = account(people.manager, "ann")

    async def agree() -> bool:
        await ann("system.whoami")  # it is counted again
        counts = await people.manager.store.open_tasks()
        return known.open == counts["ann"] == 9

    await is_true(agree, "the manager counts like the database")
    await ann("tasks.reset", id="fails")
    await ann("tasks.cancel", id="parent")
    assert (await people.manager.store.open_tasks())["ann"] == known.open == 7


async def test_a_quota_below_what_is_used_ends_nothing_and_refuses_more(people: People) -> None:
    ann = await people("ann")
    made = await fill(ann)
    assert (await people.set_quotas("ann", open_tasks=2))["quotas"] == {"open_tasks": 2}
    assert (await refusal(later(ann)))["limit"] == 2
    assert (await ann("tasks.count", conditions={"status": "QUEUED"}))["count"] == MOST
    for task in made[:3]:
        await ann("tasks.cancel", id=task["id"])
        await refusal(later(ann))
    await ann("tasks.cancel", id=made[3]["id"])
    await later(ann)
    await people.set_quotas("ann", open_tasks=0)
    await fill(ann, 3 * MOST)
    assert (await people.set_quotas("ann", open_tasks=None))["quotas"] == {}
    assert (await refusal(later(ann)))["limit"] == MOST


async def test_administrators_and_callers_without_tokens_have_no_quotas(
    people: People, call: Calls
) -> None:
    await fill(call, 2 * MOST)
    root = await people.root()
    await fill(root, 2 * MOST)
    assert (await root("system.whoami"))["quotas"] == {}
    await people.set_quotas("root", open_tasks=2 * MOST + 1)
    await later(root)
    await refusal(later(root))


async def test_a_manager_that_starts_again_counts(people: People, settings: Settings) -> None:
    ann = await people("ann")
    await fill(ann)
    again = Manager(people.manager.store, settings)
    async with again.running():
        there = await people.at(again, "ann")
        await is_true(partial(is_refused, there), "the manager has counted")


async def is_refused(calls: Calls) -> bool:
    try:
        task = await later(calls)
    except TooManyRequests:
        return True
    await calls("tasks.delete", id=task["id"])
    return False


async def test_managers_count_what_the_others_have_created(
    people: People, other_manager: Manager
) -> None:
    ann = await people("ann")
    there = await people.at(other_manager, "ann")
    await later(there)
    made = await fill(ann, MOST - 1)

    await is_true(partial(is_refused, there), "the other manager has counted")
    await ann("tasks.delete", id=made[0]["id"])

    async def has_room() -> bool:
        try:
            await later(there)
        except TooManyRequests:
            await asyncio.sleep(0.1)
            return False
        return True

    await is_true(has_room, "the other manager has counted again")


async def test_who_starts_its_own_ended_tasks_again_needs_room_for_them(people: People) -> None:
    ann = await people("ann")
    made = await fill(ann)
    for task in made:
        await ann("tasks.cancel", id=task["id"])
    await fill(ann, MOST - 2)
    failed = {"status": "FAILED"}
    call = await ann("tasks.m_reset", conditions=failed, wait=60)
    assert (call["done"], call["refused"]) == (2, 3), call
    for method in ("tasks.reset", "tasks.run_now"):
        (page,) = [(await ann("tasks.list", conditions=failed))["data"]]
        assert (await refusal(ann(method, id=page[0]["id"])))["used"] == MOST
    root = await people.root()
    call = await root("tasks.m_reset", conditions=failed, wait=60)
    assert (call["done"], call["refused"]) == (3, 0), call
    assert account(people.manager, "ann").open == MOST + 3


async def test_tasks_are_created_although_they_cannot_be_counted(
    standing: Standing,
    people: People,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    ann = await people("ann")
    await fill(ann)
    counts: list[float] = []

    async def fails() -> dict[str, int]:
        counts.append(standing.now)
        standing.now += 2.5  # what the count takes
        raise TooLarge("it has read for 10 seconds")

    again = Manager(people.manager.store, settings)
    with monkeypatch.context() as failing:
        failing.setattr(people.manager.store, "open_tasks", fails)
        async with again.running():
            there = await people.at(again, "ann")
            await is_true(partial(has_counted, counts, 1), "the count has failed")
            for _ in range(2 * MOST):  # other managers may have ended them
                await later(there)
            assert len(counts) == 1
            standing.now += 49
            await later(there)
            assert len(counts) == 1
            standing.now += 1
            await later(there)
            await is_true(partial(has_counted, counts, 2), "it is tried again")
            assert "the tasks of principals cannot be counted" in caplog.text
            failing.undo()
            standing.now += 50
            await is_true(partial(is_refused, there), "the manager has counted")


async def test_two_managers_create_all_tasks_while_the_database_fails_to_count_them(
    standing: Standing,
    people: People,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    ann = await people("ann")

    async def fails() -> dict[str, int]:
        raise StoreUnavailable("the connection was lost")

    again = Manager(people.manager.store, settings)
    async with again.running():
        there = await people.at(again, "ann")
        with monkeypatch.context() as failing:
            failing.setattr(people.manager.store, "open_tasks", fails)
            standing.now += 60
            singles = [later(one) for one in (ann, there) for _ in range(2 * MOST)]
            made = [*await asyncio.gather(*singles), *await fill(ann), *await fill(there)]
        assert "the tasks of principals cannot be counted" in caplog.text
        ids = {task["id"] for task in made}
        assert len(ids) == (await ann("tasks.count"))["count"] == 6 * MOST
        standing.now += 60
        for calls in (ann, there):
            await is_true(partial(is_refused, calls), "the manager has counted")
            standing.now += 5
            assert (await refusal(later(calls)))["used"] == 6 * MOST
        for task_id in ids:
            await there("tasks.delete", id=task_id)
        standing.now += 5
        assert len(await fill(ann)) == MOST


@pytest.mark.parametrize("how", ["create", "m_create", "reset", "stage"])
async def test_nothing_is_refused_because_of_an_old_count(
    standing: Standing, people: People, how: str
) -> None:
    ann = await people("ann", streams=["*"])
    await later(ann, id="ended")
    await ann("tasks.cancel", id="ended")
    counter, known = people.manager.committer.accounts, account(people.manager, "ann")
    await is_true(partial(has_ended, counter), "the manager has counted")
    known.open = MOST  # as if they had ended on another manager since
    counter._count_at, standing.now = standing.now + 60, standing.now + 10
    if how == "create":
        await later(ann)
    elif how == "m_create":
        await fill(ann)
    elif how == "reset":
        await ann("tasks.reset", id="ended")
    else:
        hook = {"method": "_TASKS_", "params": {"create": [LATER, LATER]}}
        await ann.create(hook, id="parent")
        assert (await ann.until("parent", "WAITING"))["retries"] == 0
    assert known.open == {"create": 1, "m_create": MOST, "reset": 1, "stage": 3}[how]


async def has_ended(counter: Accounts) -> bool:
    return counter._counting is not None and counter._counting.done()


async def has_counted(counts: list[float], times: int) -> bool:
    return len(counts) >= times


async def test_nobody_waits_for_a_count_but_who_would_be_refused(
    people: People, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, bob = await people("ann"), await people("bob")
    begun, end = asyncio.Event(), asyncio.Event()
    count = people.manager.store.open_tasks

    async def slow() -> dict[str, int]:
        begun.set()
        await end.wait()
        return await count()

    monkeypatch.setattr(people.manager.store, "open_tasks", slow)
    again = Manager(people.manager.store, settings)
    async with again.running():
        await begun.wait()
        ann, bob = await people.at(again, "ann"), await people.at(again, "bob")
        for _ in range(MOST):
            again.committer.accounts.changed()
            await later(ann)
        await later(bob)
        assert (await bob("system.whoami"))["quotas"]["open_tasks"]["used"] == 1
        refused = asyncio.create_task(refusal(later(ann)))
        await later(bob)
        assert not refused.done()
        end.set()
        assert (await refused)["used"] == MOST


async def test_a_call_that_waits_for_a_count_gets_an_answer_when_the_manager_stops(
    people: People, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    await people("ann")
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def endless() -> dict[str, int]:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    monkeypatch.setattr(people.manager.store, "open_tasks", endless)
    again = Manager(people.manager.store, settings)
    async with again.running():
        await begun.wait()
        there = await people.at(again, "ann")
        await fill(there)
        waiting = asyncio.create_task(later(there))
        await people.at(again, "ann")
        await again.committer.accounts.stop()
        assert cancelled.is_set()
        with pytest.raises(TooManyRequests):
            await waiting
        reading = again.committer.accounts._begin_read()
        assert reading is None or reading.done()


# -- what runs set going ---------------------------------------------------------------------------


async def test_a_stage_fails_that_would_create_too_many_children(people: People) -> None:
    ann = await people("ann", streams=["*"])
    await fill(ann, MOST - 2)
    hook = {"method": "_TASKS_", "params": {"create": [LATER, LATER]}}
    await ann.create(hook, id="parent")
    error = (await ann.until("parent", "FAILED"))["error"]
    assert (error["type"], error["stage"]) == ("too_many_requests", 0)
    assert (error["data"]["quota"], error["data"]["limit"]) == ("open_tasks", MOST)
    assert (await ann("tasks.count"))["count"] == MOST - 1


async def test_a_stage_is_tried_again_when_there_is_room(people: People) -> None:
    ann = await people("ann", streams=["*"])
    made = await fill(ann, MOST - 1)
    hook = {"method": "_TASKS_", "params": {"create": [LATER]}}
    await ann.create(hook, id="parent", max_retries=10, retry_delay=1)

    async def was_refused() -> bool:
        return bool((await ann.get("parent"))["retries"])

    await is_true(was_refused, "the stage has failed once")
    await ann("tasks.delete", id=made[0]["id"])
    await ann.until("parent", "WAITING")


async def test_a_stage_needs_room_for_children_that_it_starts_again(people: People) -> None:
    ann = await people("ann", streams=["*"])
    hook = {"method": "_TASKS_", "params": {"create": [{**LATER, "id": "child"}]}}
    await ann.create(hook, id="parent")
    await ann.until("parent", "WAITING")
    await ann("tasks.cancel", id="child")
    await ann.until("parent", "FAILED")
    await fill(ann, MOST - 1)
    await ann("tasks.reset", id="parent")
    error = (await ann.until("parent", "FAILED"))["error"]
    assert (error["type"], error["data"]["quota"]) == ("too_many_requests", "open_tasks")
    assert (await ann.get("child"))["status"] == "FAILED"
    await ann(
        "tasks.delete",
        id=(await ann("tasks.list", conditions={"status": "QUEUED"}))["data"][0]["id"],
    )
    await ann("tasks.reset", id="parent")
    await ann.until("parent", "WAITING")
    await ann.until("child", "QUEUED")


async def test_a_call_of_a_stage_is_refused(people: People, executor: HandExecutor) -> None:
    ann = await people("ann")
    await ann.create("work", id="parent")
    assigned = await executor.take()
    await fill(ann, MOST - 1)
    lease = {name: getattr(assigned, name) for name in ("id", "job_id", "epoch", "nonce")}
    call = {"stage": 0, "call_id": "c", "method": "tasks.create", "params": {"data": LATER}}
    data = await refusal(executor.call("manager.call", **lease, **call))
    assert data["quota"] == "open_tasks"


async def test_a_declared_schedule_is_refused(people: People, executor: HandExecutor) -> None:
    await people("deploy", Kind.EXECUTOR, verbs=[Verb.SERVE, Verb.CREATE], methods=["*"])
    await people.set_quotas("deploy", open_tasks=1)
    executor.caller.principal = (await people.at(people.manager, "deploy")).caller.principal
    await executor.connect()
    schedules = [
        {"task": {"id": name, "cron": "@daily", "commands": [{"method": "a"}]}, "version": "1"}
        for name in ("one", "two")
    ]
    for _ in range(2):
        outcomes = (await executor.call("manager.declare", schedules=schedules))["schedules"]
        assert [one["state"] for one in outcomes][1] == "refused"
        assert "may have 1 open tasks" in outcomes[1]["message"]
    assert outcomes[0]["state"] == "unchanged"


# -- tasks in a second -----------------------------------------------------------------------------


async def test_who_creates_too_fast_is_refused_and_disturbs_nobody(
    standing: Standing, people: People
) -> None:
    ann, bob = await people("ann"), await people("bob")
    await people.set_quotas("ann", open_tasks=0, creates_per_second=0.1)
    await later(ann)
    data = await refusal(later(ann))
    assert (data["quota"], data["limit"]) == ("creates_per_second", 0.1)
    assert data["retry_after"] == 10
    assert "index" not in await refusal(fill(ann, 2))
    await later(bob)
    use = (await ann("system.whoami"))["quotas"]
    assert use["creates_per_second"]["limit"] == 0.1
    assert use["creates_per_second"]["used"] == 0.1
    assert "open_tasks" not in use
    standing.now += 10
    await later(ann)
    await refusal(later(ann))


async def test_a_stage_that_creates_children_too_fast_waits(
    standing: Standing, people: People
) -> None:
    ann = await people("ann", streams=["*"])
    await people.set_quotas("ann", open_tasks=0, creates_per_second=1.0)
    await fill(ann, 9)
    hook = {"method": "_TASKS_", "params": {"create": [LATER, LATER]}}
    await ann.create(hook, id="parent")
    job_id = (await ann.get("parent"))["job_id"]

    async def attempts() -> list[Json]:
        found: list[Json] = await ann("tasks.stages", job_id=job_id)
        return found

    (first, *_) = await wait_until(attempts, "the stage was refused")
    assert (first["outcome"], first["error"]["type"]) == ("FAILED", "retry_after")
    assert first["error"]["data"]["quota"] == "creates_per_second"
    standing.now += 100
    assert (await ann.until("parent", "WAITING"))["retries"] == 0
    assert (await ann("tasks.count"))["count"] == 12


# -- pauses ----------------------------------------------------------------------------------------


async def test_pauses_are_bounded_for_each_principal(people: People) -> None:
    one, other = await people("one", Kind.OPERATOR), await people("other", Kind.OPERATOR)
    for name in ("p", "q"):
        await one("pauses.add", id=name, app_name="a", reason="r")
    data = await refusal(one("pauses.add", id="r", app_name="a", reason="r"))
    assert (data["quota"], data["limit"], data["used"]) == ("pauses", 2, 2)
    assert "retry_after" not in data
    await other("pauses.add", id="r", app_name="a", reason="r")
    assert (await one("system.whoami"))["quotas"]["pauses"] == {"limit": 2.0, "used": 2.0}
    await one("pauses.remove", id="p")
    await one("pauses.add", id="s", app_name="a", reason="r")
    root = await people.root()
    for name in "tuv":
        await root("pauses.add", id=name, app_name="a", reason="r")


# -- what is shown ---------------------------------------------------------------------------------


async def test_a_principal_sees_its_quotas_and_what_it_uses(people: People, call: Calls) -> None:
    assert (await call("system.whoami"))["quotas"] == {}
    ann = await people("ann")
    await fill(ann, 3)
    assert (await ann("system.whoami"))["quotas"] == {
        "open_tasks": {"limit": MOST, "used": 3},
        "pauses": {"limit": 2, "used": 0},
    }
    assert (await (await people.root())("principals.list"))[0]["quotas"] == {}


async def test_a_validation_foresees_the_refusal(people: People) -> None:
    ann = await people("ann")
    await later(ann, id="first")
    assert (await ann("tasks.validate", data=LATER))["valid"]
    await fill(ann, MOST - 1)
    foreseen = await ann("tasks.validate", data=LATER)
    assert not foreseen["valid"]
    (problem,) = foreseen["errors"]
    assert problem["field"] is None
    assert f"may have {MOST} open tasks" in problem["message"]
    assert (await ann("tasks.validate", data={**LATER, "id": "first"}))["valid"]


async def test_quotas_are_audited_and_checked(people: People) -> None:
    await people("ann")
    await people.set_quotas("ann", pauses=5, creates_per_second=0.5)
    changed = await people.set_quotas("ann", pauses=None)
    assert changed["quotas"] == {"creates_per_second": 0.5}
    root = await people.root()
    records = (await root("audit.list", conditions={"action": "principals.update"}))["data"]
    assert [one["data"]["quotas"] for one in records] == [
        {"pauses": None},
        {"creates_per_second": 0.5, "pauses": 5},
    ]
    for wrong in ({}, {"quotas": {"open_tasks": -1}}, {"quotas": {"stars": 1}}, {"quotas": None}):
        with pytest.raises(InvalidParams):
            await root("principals.update", id="ann", data=wrong)
