"""Tasks go in and come out as they were: both stores."""

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Raw

from kaiju_tasks.lifecycle import (
    Cancel,
    Command,
    CopyResults,
    Definition,
    Delete,
    InboxMessage,
    MessageCame,
    RestartFrom,
    Row,
    Step,
    Suspend,
)
from kaiju_tasks.rights import ALL_SIGHT
from kaiju_tasks.store import Condition, PageQuery, Store, StoreError
from kaiju_tasks.types import Concurrency, Misfire, RestartPolicy, TaskStatus, Unique, Webhook
from tests.store.making import (
    acquire,
    add,
    connect,
    definition,
    finish,
    happen,
    new_step,
)

MESSAGE = Command("_MESSAGE_", Raw(b"{}"))
NASTY_RESULTS = [
    b"null",
    b'"\\u0000"',
    b'"\\ud800 alone"',
    b'{"a":"\\u0000\\udfff","b":[1.5e300,-0.0]}',
    '"ünïcödé 漢字 🦖 \u2028"'.encode(),
    b'{ "spaces" :  [ 1 ,2 ] }',
    b'"back\\\\slash \\" quote , { } NULL"',
    b'"' + b"x" * 1_000_000 + b'"',
    b"12345678901234567890123456789.123456789",
]


async def test_a_row_comes_back_as_it_was(store: Store) -> None:
    async with store.transaction() as tx:
        step = new_step("a", tx.now)
        assert await tx.insert([step]) == set()
    async with store.transaction() as tx:
        assert await tx.lock(["a"]) == {"a": step.row}


text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
moment = st.floats(0, 4e9)
count = st.integers(0, 2**31 - 1)
JSON_TEXT = st.one_of(
    text.map(lambda t: msgspec.json.encode({"type": "x", "message": t}).decode()),
    st.just('{"type":"x","message":"\\u0000\\ud800"}'),
)
FREE_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "app_name": text,
    "priority": st.integers(-1000, 1000),
    "reason": st.none() | text,
    "enabled": st.booleans(),
    "open": st.booleans(),
    "job_id": st.none() | text,
    "cycle": count,
    "attempt": count,
    "retries": st.integers(0, 10),
    "losses": count,
    "epoch": count,
    "hold_next": st.booleans(),
    "start_next": st.booleans(),
    "due_at": st.none() | moment,
    "next_run": st.none() | moment,
    "fire_at": st.none() | moment,
    "explicit": st.booleans(),
    "anchor": moment,
    "scheduled_at": st.none() | moment,
    "queued_at": st.none() | moment,
    "queue_deadline": st.none() | moment,
    "queue_left": st.none() | moment,
    "exec_used": st.floats(-1e5, 1e5),
    "stage_started_at": st.none() | moment,
    "wait_deadline": st.none() | moment,
    "run_queued_at": st.none() | moment,
    "run_started_at": st.none() | moment,
    "status_change": moment,
    "reason_change": st.none() | moment,
    "result_bytes": st.integers(0, 2**40),
    "error": st.none() | JSON_TEXT,
    "rev": st.integers(0, 2**62),
    "version": count,
    "awaited": st.booleans(),
    "late_until": st.none() | moment,
    "chain": st.none() | JSON_TEXT,
    "fruitless": count,
}
DEPENDENT_FIELDS = {
    "id", "status", "ready", "stage", "stages", "nonce", "executor_id", "held",
    "exec_deadline", "exit_code", "gate", "stage_deadline",
}  # fmt: skip


def test_every_field_of_a_row_is_tried() -> None:
    assert set(FREE_FIELDS) | DEPENDENT_FIELDS == set(Row.__struct_fields__)


@st.composite
def rows(draw: st.DrawFn, id: str = "a") -> Row:
    """Any row that the schema allows."""
    stages = draw(st.integers(1, 100))
    row = Row(
        id=id,
        status=draw(st.sampled_from(TaskStatus)),
        stages=stages,
        stage=draw(st.integers(0, stages)),
        exec_deadline=draw(st.none() | moment),
        exit_code=draw(st.sampled_from([None, 0, 1, 130])),
        **{name: draw(strategy) for name, strategy in FREE_FIELDS.items()},
    )
    if row.status is TaskStatus.FINISHED:
        row.exit_code = 0
    elif row.status is TaskStatus.FAILED:
        row.exit_code, row.error = 130, row.error or "{}"
    elif row.status is TaskStatus.QUEUED:
        row.queued_at, row.ready = draw(moment), draw(st.sampled_from([0, 1, 2]))
        row.gate = draw(st.none() | text) if row.ready == 0 else None
    elif row.status is TaskStatus.SUSPENDED:
        row.held = "QUEUED"
    elif row.status is TaskStatus.EXECUTED:
        row.executor_id, row.nonce, row.job_id = draw(text), draw(text), draw(text)
        row.exec_deadline, row.stage_deadline = draw(moment), draw(st.none() | moment)
    return row


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=rows(), after=rows())
async def test_every_field_is_saved(store: Store, before: Row, after: Row) -> None:
    async with store.transaction() as tx:
        await tx.lock(["a"])
        await tx.save([Step(before, deleted=True)])
        await tx.insert([Step(before, definition=definition("a"))])
    async with store.transaction() as tx:
        assert await tx.lock(["a"]) == {"a": before}
        await tx.save([Step(after)])
        assert await tx.lock(["a"]) == {"a": after}
        await tx.save([Step(before)])
    assert (await store.tasks(["a"], ALL_SIGHT, results=False))["a"].row == before


async def test_every_field_of_a_definition_comes_back(store: Store) -> None:
    full = Definition(
        id="a",
        app_name="billing",
        commands=[
            Command("x.y", Raw(b'{"a": "[0.b]"}'), 5.0, Raw(b'{"0":1}'), "first"),
            Command("_TIMER_", Raw(b'{"timer":3}')),
        ],
        created="2026-01-01T00:00:00+00:00",
        kws=Raw('{"ü": "\\u0000"}'.encode()),
        cron="0 9 * * *",
        timezone="Europe/Berlin",
        misfire=Misfire.ALL,
        jitter=3.5,
        max_exec_timeout=12.5,
        max_queue_time=7.0,
        max_retries=3,
        restart_policy=RestartPolicy.FIRST,
        retry_delay=1.5,
        retry_backoff=2.0,
        retry_max_delay=60.0,
        priority=-7,
        concurrency=Concurrency("k", 3, "drop"),
        unique=Unique("task", "queued", "error"),
        notify=True,
        webhook=Webhook("https://example.com/x", "secret"),
        next_task="b",
        system=True,
        description="wörds\0 and \U0001f996",
        meta=Raw(b'{"m":[1]}'),
        group="g",
        group_id="gi",
        labels={"team": "mail", "env": "wört \" \\ {}, '"},
        user_id="u",
        parent_id="p",
    )
    await add(store, full, rev=17)
    view = (await store.tasks(["a"], ALL_SIGHT))["a"]
    assert msgspec.json.encode(view.definition) == msgspec.json.encode(full)
    async with store.transaction() as tx:
        stored = (await tx.definitions(["a", "unknown"]))["a"]
    assert (stored.rev, stored.definition.description) == (17, full.description)


async def test_an_id_that_is_taken_is_told_and_nothing_of_it_is_written(store: Store) -> None:
    await add(store, definition("a", description="first"))
    async with store.transaction() as tx:
        other = new_step(definition("a", description="second"), tx.now)
        assert await tx.insert([other, new_step("b", tx.now)]) == {"a"}
    views = await store.tasks(["a", "b"], ALL_SIGHT)
    assert views["a"].definition.description == "first"
    assert set(views) == {"a", "b"}


async def test_two_steps_for_one_task_are_a_fault(store: Store) -> None:
    with pytest.raises(ValueError, match="one step"):
        async with store.transaction() as tx:
            await tx.insert([new_step("a", tx.now), new_step("a", tx.now)])
    assert await store.count([], ALL_SIGHT) == 0


async def test_saving_an_unknown_task_is_refused(store: Store) -> None:
    with pytest.raises(StoreError, match="do not exist"):
        async with store.transaction() as tx:
            await tx.save([new_step("a", tx.now)])


async def test_an_exception_rolls_everything_back(store: Store) -> None:
    async def insert_and_fail() -> None:
        async with store.transaction() as tx:
            await tx.insert([new_step("a", tx.now)])
            raise KeyError("mine")

    with pytest.raises(KeyError):
        await insert_and_fail()
    assert await store.tasks(["a"], ALL_SIGHT) == {}


async def test_a_failed_statement_rolls_back_even_when_its_error_is_swallowed(
    store: Store,
) -> None:
    async def swallow() -> None:
        async with store.transaction() as tx:
            await tx.insert([new_step("a", tx.now)])
            bad = new_step("b", tx.now)
            bad.row.ready = 7
            with pytest.raises(StoreError):
                await tx.insert([bad])

    with pytest.raises(StoreError):
        await swallow()
    assert await store.tasks(["a", "b"], ALL_SIGHT) == {}


async def test_a_step_that_changes_nothing_writes_nothing(store: Store) -> None:
    await add(store, "a")
    async with store.transaction() as tx:
        row = (await tx.lock(["a"]))["a"]
        changed = msgspec.structs.replace(row, priority=9)
        await tx.save([Step(changed, changed=False)])
    assert (await store.tasks(["a"], ALL_SIGHT))["a"].row == row


@pytest.mark.parametrize("result", NASTY_RESULTS, ids=range(len(NASTY_RESULTS)))
async def test_a_result_is_kept_byte_for_byte(store: Store, result: bytes) -> None:
    await add(store, definition("a", stages=2))
    await connect(store)
    await finish(store, await acquire(store), result)
    view = (await store.tasks(["a"], ALL_SIGHT))["a"]
    assert view.results is not None
    assert [bytes(one) for one in view.results] == [result]
    async with store.transaction() as tx:
        found = await tx.results([("job-a", 0, 0), ("job-a", 0, 1), ("job-x", 0, 0)])
    assert {key: bytes(one) for key, one in found.items()} == {("job-a", 0): result}
    (record,) = await store.stage_records("job-a", ALL_SIGHT)
    assert bytes(record.result) == result


async def test_results_are_left_out_where_they_were_not_asked_for(store: Store) -> None:
    await add(store, "a")
    assert (await store.tasks(["a"], ALL_SIGHT, results=False))["a"].results is None
    assert (await store.tasks(["a"], ALL_SIGHT))["a"].results == []


async def test_messages_are_kept_in_order_consumed_and_cleared(store: Store) -> None:
    commands = [Command("do.echo"), MESSAGE, MESSAGE, Command("do.echo")]
    await add(store, definition("a", commands=commands))
    for number in range(2):
        data = Raw(b'"\\u0000%d"' % number)
        came = MessageCame(message_id=f"m{number}", name="n", data=data, sender="ann")
        await happen(store, "a", came)
    async with store.transaction() as tx:
        inbox = (await tx.inboxes(["a", "b"]))["a"]
    first, second = (one.at for one in inbox)
    assert first is not None
    assert second is not None
    assert first <= second
    assert inbox == [
        InboxMessage("m0", "n", Raw(b'"\\u00000"'), sender="ann", at=first),
        InboxMessage("m1", "n", Raw(b'"\\u00001"'), sender="ann", at=second),
    ]
    assert await store.inbox("a", ALL_SIGHT) == inbox
    await connect(store)
    await finish(store, await acquire(store))
    async with store.transaction() as tx:
        assert [one.consumed for one in (await tx.inboxes(["a"]))["a"]] == [True, True]
        row = (await tx.lock(["a"]))["a"]
        await tx.save([Step(row, inbox="replay")])
        assert [one.consumed for one in (await tx.inboxes(["a"]))["a"]] == [False, False]
        late = InboxMessage("m2", None, Raw(b"2"))
        await tx.save([Step(row, message=late, consumed=["m2", "m0"])])
        consumed = {one.message_id: one.consumed for one in (await tx.inboxes(["a"]))["a"]}
        assert consumed == {"m0": True, "m1": False, "m2": True}
    await happen(store, "a", Cancel())
    async with store.transaction() as tx:
        assert await tx.inboxes(["a"]) == {}


async def test_copied_results_belong_to_the_new_run(store: Store) -> None:
    await add(store, definition("a", stages=3))
    await connect(store)
    rows = await acquire(store)
    for result in (b"1", b"2"):
        rows = await finish(store, rows, result)
    await happen(store, "a", RestartFrom(job_id="job-2", stage=1))
    view = (await store.tasks(["a"], ALL_SIGHT))["a"]
    assert (view.row.job_id, view.row.stage) == ("job-2", 1)
    assert view.results == [Raw(b"1")]
    assert [record.stage for record in await store.stage_records("job-2", ALL_SIGHT)] == [0]
    assert [run.note for run in await store.runs("a", ALL_SIGHT)] == ["restarted"]


async def test_deleting_a_task_leaves_nothing_of_it(store: Store) -> None:
    await add(store, definition("a", stages=3), "b")
    await connect(store)
    rows = await finish(store, [row for row in await acquire(store) if row.id == "a"])
    await happen(store, "a", RestartFrom(job_id="job-2", stage=1))
    async with store.transaction() as tx:
        # Copies of a run that never begins: no run record will name it.
        row = (await tx.lock(["a"]))["a"]
        orphan = CopyResults("job-2", 0, "job-3", 1)
        await tx.save([Step(row, copy_results=orphan, message=InboxMessage("m", None, Raw(b"1")))])
    assert len(rows) == 1
    await happen(store, "a", Delete())
    assert set(await store.tasks(["a", "b"], ALL_SIGHT)) == {"b"}
    assert await store.runs("a", ALL_SIGHT) == []
    for job in ("job-a", "job-2", "job-3"):
        assert await store.stage_records(job, ALL_SIGHT) == []
    async with store.transaction() as tx:
        assert await tx.definitions(["a"]) == {}
        assert await tx.inboxes(["a"]) == {}
    await add(store, "a")


async def test_a_notification_carries_the_run(store: Store) -> None:
    task = definition("a", stages=2, notify=True, user_id="u", kws=Raw(b'{"k":"\\u0000"}'))
    await add(store, task)
    await connect(store)
    rows = await acquire(store)
    for result in (b"1", b'{"x": "\\ud800"}'):
        rows = await finish(store, rows, result)
    (note,), total, _ = await store.notifications(PageQuery(), ALL_SIGHT)
    assert total == 1
    assert (note.task_id, note.job_id, note.user_id, note.status) == (
        "a", "job-a", "u", "FINISHED",
    )  # fmt: skip
    assert bytes(note.result) == b'[1,{"x": "\\ud800"}]'
    assert bytes(note.kws) == b'{"k":"\\u0000"}'
    assert (note.exit_code, note.error, note.enabled) == (0, None, True)


async def test_notifications_are_listed_newest_first_changed_and_deleted(store: Store) -> None:
    await connect(store)
    for id in ("a", "b"):
        await add(store, definition(id, notify=True, user_id=f"user-{id}"))
        await finish(store, await acquire(store))
    found, total, _ = await store.notifications(PageQuery(limit=1), ALL_SIGHT)
    assert ([one.task_id for one in found], total) == (["b"], 2)
    by_a = PageQuery([Condition("user_id", "eq", "user-a")])
    found, total, _ = await store.notifications(by_a, ALL_SIGHT)
    assert [one.task_id for one in found] == ["a"]
    hidden = await store.set_notification(found[0].id, False, ALL_SIGHT)
    assert hidden is not None
    assert hidden.enabled is False
    enabled = PageQuery([Condition("enabled", "eq", True)])
    assert (await store.notifications(enabled, ALL_SIGHT))[1] == 1
    assert await store.set_notification("unknown", True, ALL_SIGHT) is None
    assert await store.delete_notifications([found[0].id, "unknown"], ALL_SIGHT) == 1


async def test_ids_that_no_task_can_have_are_unknown(store: Store) -> None:
    await add(store, "a")
    odd = ["a\0", "\ud800", ""]
    assert set(await store.tasks(["a", *odd], ALL_SIGHT)) == {"a"}
    async with store.transaction() as tx:
        assert set(await tx.lock([*odd, "a"])) == {"a"}


async def test_the_definition_is_rewritten_when_a_step_carries_one(store: Store) -> None:
    await add(store, definition("a", group="old"))
    async with store.transaction() as tx:
        row = (await tx.lock(["a"]))["a"]
        changed = msgspec.structs.replace(row, rev=2, app_name="other")
        await tx.save([Step(changed, definition=definition("a", app_name="other", group="new"))])
    assert await store.count([Condition("group", "eq", "new")], ALL_SIGHT) == 1
    assert await store.count([Condition("app_name", "eq", "other")], ALL_SIGHT) == 1
    async with store.transaction() as tx:
        assert (await tx.definitions(["a"]))["a"].rev == 2


async def test_a_hold_is_saved(store: Store) -> None:
    await add(store, "a")
    await happen(store, "a", Suspend())
    assert (await store.tasks(["a"], ALL_SIGHT))["a"].row.held == "QUEUED"
    assert await store.status_counts(ALL_SIGHT) == {("default", "SUSPENDED"): 1}
