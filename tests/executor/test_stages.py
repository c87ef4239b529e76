"""What becomes of one stage: results, parameters, templates, conditions, failures."""

import asyncio
import math
from typing import Any

import pytest
from msgspec import Raw

from kaiju_tasks.errors import Abort, RetryAfter
from kaiju_tasks.executor import Context, Executor
from tests.executor.fakes import Rig, assignment, command, result_of, settle

executor = Executor("app", data={"region": "eu"})


@executor.command("echo")
async def echo(data: Any = None) -> Any:
    return data


@executor.command("add")
async def add(a: int, b: int = 1) -> int:
    return a + b


@executor.command("anything")
async def anything(**others: Any) -> Any:
    return others


@executor.command("fail")
async def fail(message: str) -> None:
    raise ValueError(message)


@executor.command("later")
async def later(seconds: float) -> None:
    raise RetryAfter(seconds)


@executor.command("abort")
async def abort() -> None:
    raise Abort("no use")


@executor.command("leave")
async def leave() -> None:
    raise SystemExit(3)


@executor.command("cancels_itself")
async def cancels_itself() -> None:
    raise asyncio.CancelledError


@executor.command("odd")
async def odd(kind: str) -> Any:
    if kind == "coroutine":
        return odd("fits")
    deep: Any = 1
    for _ in range(65):
        deep = [deep]
    return {
        "nan": {"a": [1.0, math.nan]},
        "huge": {"n": 10**30},
        "deep": deep,
        "surrogate": "\ud800",
        "object": object(),
        "large": "x" * 1000,
        "fits": "x" * 998,
        "null": {"a": [None, 1.5]},
        "bytes64": [2**64 - 1, -(2**63)],
    }[kind]


@executor.command("spoil")
async def spoil(data: dict[str, Any]) -> Any:
    data["seen"] = data.get("seen", 0) + 1
    return data


@executor.command("about")
async def about(ctx: Context) -> Any:
    return [ctx.task_id, ctx.job_id, ctx.stage, ctx.attempt, ctx.idempotency_key, ctx.deadline]


@pytest.fixture
async def rig():
    async with Rig(executor) as rig:
        yield rig


async def failure(rig: Rig, *args: Any, **fields: Any) -> tuple[str, str, Any]:
    reports = await rig.do(assignment(command(*args, **fields)))
    assert [report.state for report in reports] == ["failed"]
    error = reports[0].error
    assert error is not None
    return error.type, error.message, error.data


async def test_a_result_is_reported_under_its_token(rig):
    task = assignment(command("add", params={"a": 2}), stage=3)
    (report,) = await rig.do(task)
    assert (report.id, report.job_id, report.epoch, report.nonce) == (
        task.id,
        task.job_id,
        task.epoch,
        task.nonce,
    )
    assert (report.stage, report.state, result_of(report)) == (3, "finished", 3)
    assert rig.runner.empty


async def test_later_stages_read_earlier_results_by_index_and_name(rig):
    task = assignment(
        command("add", params={"a": "[0]", "b": "[kws.b]"}, name="sum"),
        command("echo", params={"data": ["[1]", "[sum]", "[executor.region]", "[id]"]}),
        stage=1,
        id="me",
        kws=Raw(b'{"b": 5}'),
        results={"0": Raw(b"10")},
    )
    reports = await rig.do(task)
    assert [result_of(report) for report in reports] == [15, [15, 15, "eu", "me"]]


@pytest.mark.parametrize(
    ("method", "params", "field", "says"),
    [
        ("add", {}, "a", "`a` is required: an integer"),
        ("add", {"a": 1, "c": 2}, "c", "`c` is not a parameter"),
        ("add", {"a": "1"}, "a", "`a` must be an integer, not text"),
        ("add", {"a": 1, "bb": 2}, "bb", "did you mean `b`"),
        ("add", [1], "params", "an object of named parameters"),
        ("about", {"x": 1}, "x", "it takes none"),
        ("about", {"ctx": 1}, "ctx", "not a parameter"),
    ],
)
async def test_wrong_params_fail_the_stage_and_name_the_field(rig, method, params, field, says):
    kind, message, data = await failure(rig, method, params=params)
    assert kind == "invalid_params"
    assert says in message
    assert data["field"] == field


async def test_any_params_go_into_kwargs(rig):
    (report,) = await rig.do(assignment(command("anything", params={"x": 1, "y": [2]})))
    assert result_of(report) == {"x": 1, "y": [2]}


async def test_a_missing_path_is_a_template_error_that_names_it(rig):
    kind, message, data = await failure(rig, "echo", params={"data": "[0.nothing]"})
    assert kind == "template_error"
    assert "0" in message
    assert data["path"].startswith("0")


async def test_an_unknown_method_is_its_own_error(rig):
    kind, message, _ = await failure(rig, "nope")
    assert kind == "unknown_method"
    assert "`nope`" in message


async def test_an_exception_is_reported_with_class_and_traceback(rig):
    kind, message, data = await failure(rig, "fail", params={"message": "no luck"})
    assert (kind, message, data["exception"]) == ("execution_error", "no luck", "ValueError")
    assert "raise ValueError(message)" in data["traceback"]


async def test_an_exception_without_text_is_named_by_its_class(rig):
    _, message, _ = await failure(rig, "fail", params={"message": ""})
    assert message == "ValueError"


async def test_a_message_that_is_no_unicode_is_still_reported(rig):
    kind, message, _ = await failure(rig, "fail", params={"message": "x" * 5000})
    assert kind == "execution_error"
    assert len(message) == 2000


@pytest.mark.parametrize("method", ["leave", "cancels_itself"])
async def test_a_command_cannot_end_the_executor(rig, method):
    kind, _, _ = await failure(rig, method)
    assert kind == "execution_error"
    (report,) = await rig.do(assignment(command("add", params={"a": 1})))
    assert report.state == "finished"


async def test_a_command_asks_to_be_run_again(rig):
    said = "the command asks to be run again after 2.5 seconds"
    found = await failure(rig, "later", params={"seconds": 2.5})
    assert found == ("retry_after", said, {"seconds": 2.5})


async def test_abort_is_reported_as_abort(rig):
    assert (await failure(rig, "abort"))[:2] == ("abort", "no use")


@pytest.mark.parametrize(
    ("kind", "type", "says"),
    [
        ("nan", "execution_error", "`a.1` is nan"),
        ("huge", "execution_error", "`n` does not fit into 64 bits"),
        ("deep", "execution_error", "deeper than 64"),
        ("surrogate", "execution_error", "surrogates"),
        ("object", "execution_error", "object"),
        ("coroutine", "execution_error", "nobody has awaited it"),
        ("large", "result_too_large", "1,002 bytes"),
    ],
)
async def test_a_result_that_cannot_be_stored_fails_its_stage(rig, kind, type, says):
    got, message, _ = await failure(rig, "odd", params={"kind": kind})
    assert got == type
    assert says in message


@pytest.mark.parametrize("kind", ["fits", "null", "bytes64"])
async def test_a_result_at_the_limit_is_kept(rig, kind):
    (report,) = await rig.do(assignment(command("odd", params={"kind": kind})))
    assert report.state == "finished"


async def test_a_command_that_changes_its_params_spoils_no_later_run(rig):
    for params in ({"data": {"x": 1}}, {"data": {"x": "[id]", "y": {}}}):
        for _ in range(2):
            (report,) = await rig.do(assignment(command("spoil", params=params)))
            assert result_of(report)["seen"] == 1


async def test_a_false_condition_skips_the_stage_with_null(rig):
    task = assignment(
        command("echo", params={"data": 1}),
        command("fail", params={"message": "x"}, condition={"0": {"gt": 1}}, name="skipped"),
        command("echo", params={"data": "[skipped]"}),
    )
    reports = await rig.do(task)
    assert [report.state for report in reports] == ["finished", "skipped", "finished"]
    assert result_of(reports[2]) is None


async def test_a_true_condition_lets_the_stage_run(rig):
    task = assignment(
        command("echo", params={"data": 2}),
        command("echo", params={"data": "ran"}, condition={"0": {"gt": 1}}),
    )
    assert [result_of(report) for report in await rig.do(task)] == [2, "ran"]


async def test_the_context_knows_its_stage(rig):
    task = assignment(command("about"), stage=2, attempt=4, id="t", job_id="j")
    (report,) = await rig.do(task)
    assert result_of(report) == ["t", "j", 2, 4, "j/2", 300.0]


async def test_a_new_cycle_has_new_idempotency_keys(rig):
    (report,) = await rig.do(assignment(command("about"), cycle=1, job_id="j"))
    assert result_of(report)[4] == "j.1/0"


async def test_nothing_waits_after_a_stage(rig):
    await rig.do(assignment(command("echo")))
    await settle()
    assert rig.outbox.empty
