"""What stages log and print is sent to the manager, within bounds, and never disturbs them."""

import asyncio
import threading
from typing import Any

import pytest

from kaiju_tasks.executor import Context, Executor
from kaiju_tasks.executor.context import StageInfo
from kaiju_tasks.executor.log_fields import plain_fields
from kaiju_tasks.executor.logs import BUFFER_BYTES, HALF_BYTES, AttemptLog, LogBuffer
from kaiju_tasks.protocol import Lease
from tests.executor.fakes import Rig, assignment, command, settle

executor = Executor("app")

gates: list[asyncio.Event] = []


@executor.command("say")
async def say(ctx: Context, lines: list[str]) -> str:
    for line in lines:
        ctx.log(line)
    return "said"


@executor.command("odd")
async def odd(ctx: Context) -> None:
    ctx.log("a\ud800\0b", level="loud", big=10**30, nan=float("nan"), what=object, deep=nested(40))


@executor.command("in_thread")
def in_thread(ctx: Context) -> None:
    ctx.log("from a thread", level="error", rows=5)


@executor.command("wait")
async def wait(ctx: Context) -> None:
    ctx.log("begins")
    await asyncio.Event().wait()


@executor.command("say_around")
async def say_around(ctx: Context, lines: int = 1) -> None:
    ctx.log("before")
    gates.append(asyncio.Event())
    await gates[-1].wait()
    for _ in range(lines):
        ctx.log("after")


def nested(depth: int) -> Any:
    return [nested(depth - 1)] if depth else 1


@pytest.fixture
async def rig():
    async with Rig(executor) as rig:
        yield rig


def logs(rig: Rig) -> list[dict[str, Any]]:
    return [one for params in rig.manager.methods("manager.write_logs") for one in params["logs"]]


def lines(rig: Rig) -> list[tuple[int, str]]:
    return [(line["n"], line["message"]) for one in logs(rig) for line in one["lines"]]


async def test_the_lines_of_a_stage_are_sent_before_its_report(rig):
    task = assignment(command("say", params={"lines": ["one", "two"]}), stage=2, attempt=3, cycle=1)
    await rig.do(task)
    sent = [name for name, _ in rig.manager.requests if name.startswith("manager.write")]
    assert sent == ["manager.write_logs", "manager.write_stage"]
    (log,) = logs(rig)
    lease = {name: log[name] for name in ("id", "job_id", "epoch", "nonce")}
    assert lease == {name: getattr(task, name) for name in lease}
    assert (log["stage"], log["attempt"], log["cycle"]) == (2, 3, 1)
    assert lines(rig) == [(1, "one"), (2, "two")]


async def test_many_lines_are_sent_before_the_report(rig):
    many = [str(number) for number in range(7000)]
    await rig.do(assignment(command("say", params={"lines": many})))
    sent = [name for name, _ in rig.manager.requests if name.startswith("manager.write")]
    assert sent == ["manager.write_logs", "manager.write_logs", "manager.write_stage"]
    assert [message for _, message in lines(rig)] == many


async def test_a_stage_without_lines_sends_none(rig):
    await rig.do(assignment(command("say", params={"lines": []})))
    await rig.clock.advance(5)
    assert logs(rig) == []


async def test_a_running_stage_sends_its_lines_together(rig):
    await rig.do(assignment(command("wait")), assignment(command("wait"), id="u"))
    assert logs(rig) == []
    await rig.clock.advance(0.2)
    assert len(rig.manager.methods("manager.write_logs")) == 1
    assert [log["lines"][0]["ago"] for log in logs(rig)] == [0.1, 0.1]


async def test_a_thread_logs_as_well(rig):
    await rig.do(assignment(command("in_thread")))
    while not rig.manager.outcomes():
        await settle()
    (line,) = logs(rig)[0]["lines"]
    assert (line["message"], line["level"], line["fields"]) == (
        "from a thread",
        "error",
        {"rows": 5},
    )


async def test_odd_lines_are_sent_as_json_and_fail_nothing(rig):
    (report,) = await rig.do(assignment(command("odd")))
    assert report.state == "finished"
    (line,) = logs(rig)[0]["lines"]
    assert line["message"] == "a?\0b"
    assert "level" not in line  # the default, info
    fields = line["fields"]
    assert (fields["big"], fields["nan"], fields["what"]) == (str(10**30), "nan", repr(object))
    assert "…" in str(fields["deep"])


async def test_one_frame_is_unanswered_at_a_time(rig):
    rig.manager.silent.add("manager.write_logs")
    await rig.do(assignment(command("wait")))
    await rig.clock.advance(0.2)
    await rig.do(assignment(command("wait"), id="u"))
    await rig.clock.advance(9)
    assert len(rig.manager.methods("manager.write_logs")) == 1
    assert rig.wire.connection is not None  # logs are no reason to reconnect
    assert rig.manager.connections == 1


async def test_lines_flow_on_after_a_late_answer(rig):
    rig.manager.silent.add("manager.write_logs")
    await rig.do(assignment(command("say", params={"lines": ["one"]})))
    await rig.clock.advance(0.2)
    rig.manager.silent.clear()
    rig.manager.answer_late()
    await settle()
    await rig.do(assignment(command("wait"), id="u"))
    await rig.clock.advance(1)
    assert lines(rig) == [(1, "one"), (1, "begins")]


async def test_an_executor_that_leaves_sends_its_last_lines_first(rig):
    rig.manager.errors["manager.write_logs"] = (503, "later")
    await rig.do(assignment(command("say", params={"lines": ["one"]})))
    rig.manager.errors.clear()
    stop = asyncio.create_task(rig.link.stop(10))
    await rig.clock.advance(4.9)
    assert stop.done()
    names = [name for name, _ in rig.manager.requests if name != "manager.ping"]
    assert names[-2:] == ["manager.write_logs", "manager.suspend_executor"]


async def test_an_executor_leaves_although_its_lines_are_not_taken(rig):
    rig.manager.silent.add("manager.write_logs")
    await rig.do(assignment(command("say", params={"lines": ["one"]})))
    stop = asyncio.create_task(rig.link.stop(10))
    await rig.clock.advance(4.9)
    assert not stop.done()
    await rig.clock.advance(0.2)
    assert stop.done()


async def test_the_last_lines_of_a_stage_wait_until_those_before_them_are_answered(rig):
    rig.manager.silent.add("manager.write_logs")
    await rig.do(assignment(command("say_around")))
    await rig.clock.advance(1.2)
    gates.pop().set()
    await settle()
    assert rig.manager.outcomes() == [(0, "finished")]
    rig.manager.silent.clear()
    rig.manager.answer_late(error={"code": 503, "message": "later"})
    await rig.clock.advance(10)
    assert lines(rig) == [(1, "before"), (1, "before"), (2, "after")]


async def test_the_last_lines_of_a_stage_wait_for_those_that_are_sent_again(rig):
    rig.manager.errors["manager.write_logs"] = (503, "later")
    await rig.do(assignment(command("say_around")))
    await rig.clock.advance(0.15)
    rig.manager.errors.clear()
    rig.manager.silent.add("manager.write_logs")
    while len(lines(rig)) < 2:
        await rig.clock.advance(0.1)
    gates.pop().set()
    await settle()
    assert rig.manager.outcomes() == [(0, "finished")]
    assert lines(rig) == [(1, "before"), (1, "before")]
    rig.manager.answer_late()
    await settle()
    assert lines(rig)[2:] == [(2, "after")]


async def test_the_last_lines_of_a_stage_do_not_wait_for_a_frame_that_was_just_sent(rig):
    rig.manager.silent.add("manager.write_logs")
    await rig.do(assignment(command("say_around")))
    await rig.clock.advance(0.2)
    gates.pop().set()
    await settle()
    sent = [name for name, _ in rig.manager.requests if name.startswith("manager.write")]
    assert sent == ["manager.write_logs", "manager.write_logs", "manager.write_stage"]
    assert lines(rig) == [(1, "before"), (1, "before"), (2, "after")]


@pytest.mark.parametrize("count", [4_999, 5_000, 9_999])
async def test_very_many_last_lines_do_not_wait_for_a_frame_that_was_just_sent(rig, count):
    rig.manager.silent.add("manager.write_logs")
    await rig.do(assignment(command("say_around", params={"lines": count})))
    await rig.clock.advance(0.2)
    gates.pop().set()
    await settle()
    sent = [name for name, _ in rig.manager.requests if name.startswith("manager.write")]
    assert (sent[-1], set(sent[:-1])) == ("manager.write_stage", {"manager.write_logs"})
    assert [n for n, _ in lines(rig)] == [1, *range(1, count + 2)]
    for params in rig.manager.methods("manager.write_logs"):
        assert sum(len(one["lines"]) for one in params["logs"]) <= 5_000


@pytest.mark.parametrize("code", [429, 503])
async def test_no_line_is_lost_if_a_frame_fails_that_was_just_sent(rig, code):
    """The manager would refuse the first line after the second, so both come together."""
    rig.manager.silent.add("manager.write_logs")
    await rig.do(assignment(command("say_around")))
    await rig.clock.advance(0.2)
    rig.manager.silent.clear()
    gates.pop().set()
    await settle()
    assert lines(rig)[1:] == [(1, "before"), (2, "after")]
    rig.manager.answer_late(error={"code": code, "message": "later"})
    await rig.clock.advance(20)
    assert lines(rig)[3:] == [(1, "before")]  # which it has


async def test_the_last_lines_of_a_stage_follow_the_answer_at_once(rig):
    rig.manager.silent.add("manager.write_logs")
    await rig.do(assignment(command("say_around")))
    await rig.clock.advance(1.2)
    gates.pop().set()
    await settle()
    rig.manager.answer_late()
    await settle()
    assert lines(rig) == [(1, "before"), (2, "after")]


async def test_lines_are_kept_through_a_reconnect(rig):
    rig.manager.silent.add("manager.write_logs")
    await rig.do(assignment(command("wait")))
    await rig.clock.advance(0.2)
    rig.wire.cut()
    rig.manager.silent.clear()
    await rig.clock.advance(3)
    assert rig.manager.connections == 2
    assert lines(rig) == [(1, "begins"), (1, "begins")]
    await rig.clock.advance(3)
    assert len(lines(rig)) == 2


@pytest.mark.parametrize("code", [429, 503])
async def test_lines_are_sent_again_after_an_error_that_passes(rig, code):
    rig.manager.errors["manager.write_logs"] = (code, "later")
    await rig.do(assignment(command("say", params={"lines": ["one"]})))
    assert rig.manager.outcomes() == [(0, "finished")]
    rig.manager.errors.clear()
    await rig.clock.advance(10)
    assert lines(rig)[-1] == (1, "one")
    sent = len(lines(rig))
    await rig.clock.advance(10)
    assert len(lines(rig)) == sent


async def test_lines_that_are_refused_are_dropped(rig):
    rig.manager.errors["manager.write_logs"] = (-32602, "no")
    await rig.do(assignment(command("say", params={"lines": ["one"]})))
    rig.manager.errors.clear()
    await rig.do(assignment(command("say", params={"lines": ["two"]}), id="u"))
    await rig.clock.advance(10)
    assert lines(rig) == [(1, "one"), (1, "two")]


async def test_an_older_manager_is_sent_none(rig):
    rig.manager.errors["manager.write_logs"] = (-32601, "no such method")
    await rig.do(assignment(command("say", params={"lines": ["one"]})))
    await rig.do(assignment(command("say", params={"lines": ["two"]}), id="u"))
    await rig.clock.advance(10)
    assert lines(rig) == [(1, "one")]
    assert [state for _, state in rig.manager.outcomes()] == ["finished", "finished"]
    rig.manager.errors.clear()
    rig.wire.cut()
    await rig.clock.advance(3)
    await rig.do(assignment(command("say", params={"lines": ["three"]}), id="v"))
    assert lines(rig)[-1] == (1, "three")


# the bounds


def attempt(buffer: LogBuffer, task_id: str = "t") -> AttemptLog:
    info = StageInfo(
        task_id=task_id, job_id="j", app_name="app", method="m", stage=0, attempt=1, cycle=0,
        scheduled_at=None,
    )  # fmt: skip
    return AttemptLog(buffer, info, Lease(task_id, "j", 1, "n"))


def taken(buffer: LogBuffer) -> list[int]:
    numbers = []
    while batches := buffer.take():
        numbers += [line.n for batch in batches for line in batch.lines]
    return numbers


def test_the_first_and_the_last_lines_are_kept() -> None:
    buffer = LogBuffer(lambda: 0.0)
    log = attempt(buffer)
    for _ in range(1000):
        log.add("info", "x" * 1000, {})
    numbers = taken(buffer)
    assert 240 < len(numbers) * 1016 / 1024 <= 2 * HALF_BYTES / 1024
    (gap,) = [n for n, before in zip(numbers[1:], numbers, strict=False) if n > before + 1]
    assert (numbers[0], numbers[-1]) == (1, 1000)
    assert abs(numbers.index(gap) - len(numbers) / 2) < 3
    assert buffer.empty


def test_many_attempts_keep_a_bounded_number_of_bytes() -> None:
    buffer = LogBuffer(lambda: 0.0)
    for number in range(100):
        log = attempt(buffer, f"t{number}")
        for _ in range(200):
            log.add("info", "x" * 1000, {})
    numbers = taken(buffer)
    assert 0.9 * BUFFER_BYTES < len(numbers) * 1016 <= BUFFER_BYTES


def test_a_long_line_is_split() -> None:
    buffer = LogBuffer(lambda: 0.0)
    attempt(buffer).add("info", "x" * 20_000, {"a": 1})
    (batch,) = buffer.take()
    assert [(line.n, len(line.message), line.fields) for line in batch.lines] == [
        (1, 8000, b'{"a":1}'),
        (2, 8000, b""),
        (3, 4000, b""),
    ]


def test_threads_number_their_lines_without_gaps() -> None:
    buffer = LogBuffer(lambda: 0.0)
    log = attempt(buffer)

    def write() -> None:
        for _ in range(500):
            log.add("info", "x", {})

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert taken(buffer) == list(range(1, 2001))


def test_fields_that_cannot_be_shown_are_left_out() -> None:
    class Bad:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    assert "its repr raised RuntimeError" in plain_fields({"a": Bad()})["a"]
    circle: list[Any] = []
    circle.append(circle)
    assert set(plain_fields({"a": circle})) in ({"left_out"}, {"a"})
    buffer = LogBuffer(lambda: 0.0)
    attempt(buffer).add("info", "m", {"a": "x" * 10_000})
    ((line,),) = [batch.lines for batch in buffer.take()]
    assert b"left_out" in line.fields
