"""The link: acknowledgements, batches, lost connections, revokes, silence, leaving."""

import asyncio
from typing import Any

import msgspec
import pytest

from kaiju_tasks.executor import Context, Executor
from kaiju_tasks.executor.failures import ReportedError
from kaiju_tasks.executor.link import Orphaned
from kaiju_tasks.executor.transport import Refused
from kaiju_tasks.protocol import Ack, AckState, Assignment, Lease, ReportError
from tests.executor.fakes import Rig, assignment, command, lease_of, result_of, settle

executor = Executor("app")
gates: dict[str, asyncio.Event] = {}
began: list[str] = []
raising: dict[str, Exception] = {}


@executor.command("echo")
async def echo(data: Any = None) -> Any:
    return data


@executor.command("wait")
async def wait(gate: str) -> str:
    began.append(gate)
    await gates.setdefault(gate, asyncio.Event()).wait()
    return gate


@executor.command("stubborn")
async def stubborn(gate: str) -> str:
    while not gates.setdefault(gate, asyncio.Event()).is_set():
        try:
            await gates[gate].wait()
        except asyncio.CancelledError:
            continue
    return gate


@executor.command("raise")
async def raise_(name: str) -> None:
    raise raising[name]


@executor.command("count")
async def count(ctx: Context) -> None:
    for number in range(1, 100):
        ctx.progress(number, 99)
        await asyncio.sleep(0)


@executor.command("slow")
async def slow(ctx: Context, gate: str) -> float:
    ctx.extend(60)
    await gates.setdefault(gate, asyncio.Event()).wait()
    return ctx.deadline


@pytest.fixture
async def rig():
    gates.clear()
    began.clear()
    async with Rig(executor, urls=("memory:a", "memory:b")) as rig:
        yield rig


def open_gate(name: str) -> None:
    gates.setdefault(name, asyncio.Event()).set()


def waiting(gate: str = "g", **fields: Any) -> Assignment:
    return assignment(command("wait", params={"gate": gate}), **fields)


async def test_it_announces_itself_before_anything_else(rig):
    method, params = rig.manager.requests[0]
    assert method == "manager.connect"
    assert params["id"] == "e1"
    assert params["app_names"] == ["app"]
    assert params["capacity"] == 8


# ---- acknowledgements


async def test_the_next_stage_waits_for_the_ack_of_the_one_before(rig):
    rig.manager.silent.add("manager.write_stage")
    await rig.do(assignment(command("echo"), command("echo")))
    assert rig.manager.outcomes() == [(0, "finished")]


async def test_released_ends_the_segment(rig):
    rig.manager.ack = lambda report: Ack(AckState.RELEASED)
    await rig.do(assignment(command("echo"), command("echo")))
    assert rig.manager.outcomes() == [(0, "finished")]
    assert rig.runner.empty


async def test_stale_lease_ends_the_segment(rig):
    rig.manager.ack = lambda report: Ack(AckState.STALE)
    await rig.do(assignment(command("echo"), command("echo")))
    assert rig.manager.outcomes() == [(0, "finished")]
    assert rig.runner.empty


async def test_a_stale_progress_stops_the_stage(rig):
    rig.manager.ack = lambda report: Ack(AckState.STALE)
    await rig.do(assignment(command("count")))
    assert rig.manager.outcomes() == []
    assert rig.runner.empty


async def test_an_answer_that_comes_twice_is_used_once(rig):
    take = rig.manager.reply

    def twice(id: int, **body: Any) -> None:
        take(id, **body)
        take(id, **body)

    rig.manager.reply = twice
    await rig.do(assignment(command("echo"), command("echo"), command("echo")))
    assert rig.manager.outcomes() == [(0, "finished"), (1, "finished"), (2, "finished")]


# ---- batches


async def test_what_ends_together_is_reported_together(rig):
    await rig.do(*(assignment(command("echo")) for _ in range(50)))
    assert [len(batch) for batch in rig.manager.batches] == [50]


async def test_a_frame_has_at_most_500_reports(rig):
    await rig.do(*(assignment(command("echo")) for _ in range(1200)))
    assert max(len(batch) for batch in rig.manager.batches) == 500
    assert len(rig.manager.reports) == 1200


async def test_a_frame_has_about_a_mebibyte_of_results(rig):
    rig.runtime.max_result_bytes = 1_000_000
    text = "x" * 300_000
    await rig.do(*(assignment(command("echo", params={"data": text})) for _ in range(7)))
    assert [len(batch) for batch in rig.manager.batches] == [3, 3, 1]


async def test_a_few_reports_wait_while_a_frame_is_unanswered(rig):
    rig.manager.silent.add("manager.write_stage")
    await rig.do(assignment(command("echo")))
    await rig.do(assignment(command("echo")))
    await rig.do(assignment(command("echo")))
    assert [len(batch) for batch in rig.manager.batches] == [1]
    assert rig.outbox.waiting == 2


# ---- a manager that refuses


async def test_a_report_that_the_manager_cannot_store_now_is_sent_again(rig):
    rig.manager.errors["manager.write_stage"] = (503, "no database")
    await rig.do(assignment(command("echo")))
    assert not rig.runner.empty
    rig.manager.errors.clear()
    await rig.clock.advance(1)
    assert rig.manager.outcomes() == [(0, "finished")]
    assert rig.runner.empty


async def test_a_refused_batch_is_sent_one_by_one_and_the_wrong_one_fails(rig):
    usual = rig.manager.take

    def refuse_bad(frame: bytes) -> None:
        bad = b'"state":"finished"' in frame and b"poison" in frame
        rig.manager.errors = {"manager.write_stage": (413, "too large")} if bad else {}
        usual(frame)

    rig.manager.take = refuse_bad
    good = [assignment(command("echo", params={"data": n})) for n in range(3)]
    bad = assignment(command("echo", params={"data": "poison"}))
    await rig.do(good[0], bad, *good[1:])
    assert sorted(report.state for report in rig.manager.reports) == [
        "failed",
        "finished",
        "finished",
        "finished",
    ]
    (failed,) = [report for report in rig.manager.reports if report.id == bad.id]
    assert failed.error.type == "result_too_large"


async def test_an_error_without_an_id_is_about_the_report_that_is_sent_alone(rig):
    usual = rig.manager.take

    def refuse_poison(frame: bytes) -> None:
        if b'"state":"finished"' in frame and b"poison" in frame:
            error = {"code": -32700, "message": "this is not JSON"}
            rig.manager.send(msgspec.json.encode({"jsonrpc": "2.0", "id": None, "error": error}))
        else:
            usual(frame)

    rig.manager.take = refuse_poison
    data = [1, "poison", 2, *range(150)]
    tasks = [assignment(command("echo", params={"data": one})) for one in data]
    await rig.do(*tasks)
    await settle(500)
    states = {report.id: str(report.state) for report in rig.manager.reports}
    assert [states[task.id] for task in tasks] == ["finished", "failed"] + ["finished"] * 151
    assert rig.runner.empty


async def test_a_frame_that_closes_the_connection_is_not_sent_for_ever(rig):
    usual = rig.manager.take

    def close_at_poison(frame: bytes) -> None:
        if b'"state":"finished"' in frame and b"poison" in frame:
            rig.wire.connection.refused = True
            rig.wire.cut()
        else:
            usual(frame)

    rig.manager.take = close_at_poison
    tasks = [assignment(command("echo", params={"data": one})) for one in (1, "poison", 2)]
    await rig.do(*tasks)
    await rig.clock.advance(20)
    states = {report.id: str(report.state) for report in rig.manager.reports}
    assert [states[task.id] for task in tasks] == ["finished", "failed", "finished"]
    assert rig.runner.empty


async def test_a_report_that_cannot_be_encoded_or_is_too_long_fails_its_stage(rig):
    rig.runtime.max_result_bytes = 100_000
    rig.link._session.max_frame_bytes = 50_000
    half = ReportedError(ReportError("execution_error", "half an emoji: \ud83d"))
    raising["half"] = half
    tasks = [
        assignment(command("echo", params={"data": "x"})),
        assignment(command("raise", params={"name": "half"})),
        assignment(command("echo", params={"data": "x" * 60_000})),
    ]
    await rig.do(*tasks)
    await settle(200)
    by_id = {report.id: report for report in rig.manager.reports}
    errors = [by_id[task.id].error for task in tasks]
    assert errors[0] is None
    assert [error.type for error in errors[1:]] == ["execution_error", "result_too_large"]
    assert rig.runner.empty


# ---- lost connections


async def test_unacknowledged_reports_are_sent_again_after_a_reconnect(rig):
    rig.manager.silent.add("manager.write_stage")
    task = assignment(command("echo"))
    await rig.do(task)
    rig.wire.cut()
    rig.manager.silent.clear()
    await rig.clock.advance(1)
    assert rig.manager.outcomes() == [(0, "finished"), (0, "finished")]
    assert rig.manager.methods("manager.connect")[1]["holding"] == [
        msgspec.to_builtins(lease_of(task))
    ]
    assert rig.runner.empty


async def test_running_stages_go_on_through_a_reconnect(rig):
    await rig.do(waiting())
    rig.wire.cut()
    open_gate("g")
    await rig.clock.advance(1)
    assert rig.manager.outcomes() == [(0, "finished")]


async def test_what_the_welcome_names_as_revoked_is_stopped(rig):
    task = waiting()
    await rig.do(task)
    rig.manager.revoked = [lease_of(task)]
    rig.wire.cut()
    await rig.clock.advance(1)
    assert rig.runner.empty
    assert rig.manager.outcomes() == []


async def test_managers_are_tried_in_turn_with_growing_waits(rig):
    rig.wire.up = False
    rig.wire.cut()
    await rig.clock.advance(60)
    tries = rig.wire.urls[1:]
    assert tries[:4] == ["memory:b", "memory:a", "memory:b", "memory:a"]
    assert 10 < len(tries) < 35


async def test_pings_list_what_the_executor_holds(rig):
    await rig.clock.advance(5)
    assert rig.manager.methods("manager.ping")[-1]["holding"] == []
    task = assignment(command("slow", params={"gate": "g"}))
    await rig.do(task)
    await rig.clock.advance(5)
    lease = {"id": task.id, "job_id": task.job_id, "epoch": task.epoch, "nonce": task.nonce}
    assert rig.manager.methods("manager.ping")[-1]["holding"] == [lease]
    open_gate("g")
    await settle()
    await rig.clock.advance(5)
    assert rig.manager.methods("manager.ping")[-1]["holding"] == []


async def test_a_ping_that_would_be_too_large_does_not_list_leases(rig, monkeypatch):
    monkeypatch.setattr("kaiju_tasks.executor.link.HOLDING_MAX", 0)
    await rig.do(assignment(command("slow", params={"gate": "g"})))
    await rig.clock.advance(5)
    assert "holding" not in rig.manager.methods("manager.ping")[-1]


@pytest.mark.parametrize(("ping_interval", "grace"), [(0.05, None), (0.05, 5.0), (5.0, 0.2)])
async def test_it_reconnects_several_times_within_its_lease(ping_interval, grace):
    rig = Rig(executor)
    rig.manager.ping_interval, rig.manager.reconnect_grace = ping_interval, grace
    async with rig:
        rig.wire.up = False
        rig.wire.cut()
        await rig.clock.advance(60)
        before, lease = len(rig.wire.urls), min(3 * ping_interval, grace or 5.0)
        await rig.clock.advance(lease)
        assert len(rig.wire.urls) - before >= 3


async def test_a_manager_that_answers_nothing_is_left(rig):
    rig.manager.silent |= {"manager.ping"}
    await rig.clock.advance(16)
    assert rig.manager.connections == 2


async def test_a_connect_that_is_not_answered_is_tried_again(rig):
    rig.manager.silent |= {"manager.connect"}
    rig.wire.cut()
    await rig.clock.advance(12)
    rig.manager.silent.clear()
    await rig.clock.advance(12)
    assert rig.link.connected
    attempts = [params["attempt"] for params in rig.manager.methods("manager.connect")]
    assert len(attempts) > 2
    assert attempts == list(range(1, len(attempts) + 1))


async def test_an_expelled_executor_drops_its_work_and_connects_anew(rig):
    await rig.do(waiting())
    rig.manager.errors["manager.ping"] = (404, "expelled")
    await rig.clock.advance(5)
    rig.manager.errors.clear()
    await rig.clock.advance(1)
    assert rig.runner.empty
    assert rig.link.connected
    assert rig.manager.methods("manager.connect")[1].get("holding", []) == []


async def test_nonsense_from_the_manager_ends_the_connection_only(rig):
    rig.manager.send(b"{nonsense")
    await rig.clock.advance(1)
    assert rig.manager.connections == 2
    assert (await rig.do(assignment(command("echo"))))[0].state == "finished"


async def test_unknown_notifications_and_fields_are_ignored(rig):
    rig.manager.notify("executor.news", {"x": 1})
    rig.manager.notify("executor.revoke", {"leases": [], "news": 1})
    await settle()
    assert rig.manager.connections == 1


# ---- cut off


async def test_an_executor_cut_off_for_too_long_stops_all_work(rig):
    await rig.do(waiting())
    rig.wire.up = False
    rig.wire.cut()
    await rig.clock.advance(299)
    assert not rig.runner.empty
    await rig.clock.advance(2)
    assert rig.runner.empty
    with pytest.raises(Orphaned):
        await rig.running


async def test_it_keeps_reports_until_then(rig):
    await rig.do(waiting())
    rig.wire.up = False
    rig.wire.cut()
    await rig.clock.advance(250)
    open_gate("g")
    await settle()
    rig.wire.up = True
    await rig.clock.advance(6)
    assert rig.manager.outcomes() == [(0, "finished")]


async def test_one_that_never_found_a_manager_goes_on_trying():
    rig = Rig(executor)
    rig.wire.up = False
    async with rig:
        await rig.clock.advance(1000)
        rig.wire.up = True
        await rig.clock.advance(6)
        assert rig.link.connected


async def test_a_refused_executor_ends():
    rig = Rig(executor)
    rig.manager.errors["manager.connect"] = (401, "no token")
    async with rig:
        with pytest.raises(Refused, match="no token"):
            await rig.running


async def test_runs_under_concurrency_stop_before_their_lease_ends_and_go_back(rig):
    plain = waiting("plain")
    exclusive = msgspec.structs.replace(waiting("exclusive"), exclusive=True)
    rig.runner.run([plain, exclusive])
    await settle()
    assert len(rig.runner.holding()) == 2
    rig.wire.up = False
    rig.wire.cut()
    await rig.clock.advance(14.9)
    assert running(rig) == [lease_of(plain)]
    rig.wire.up = True
    await rig.clock.advance(6)
    assert rig.manager.outcomes(exclusive.id) == [(0, "released")]
    assert rig.runner.holding() == [lease_of(plain)]


@pytest.mark.parametrize(("grace", "ends"), [(5.0, 4.0), (0.0, 0.1), (60.0, 12.0), (None, 12.0)])
async def test_runs_under_concurrency_stop_before_the_reconnect_grace_ends(
    rig: Rig, grace: float | None, ends: float
) -> None:
    rig.manager.reconnect_grace = grace
    rig.wire.cut()
    await rig.clock.advance(0.2)  # this connect announces the grace
    plain = waiting("plain")
    exclusive = msgspec.structs.replace(waiting("exclusive"), exclusive=True)
    await rig.do(plain, exclusive)
    rig.wire.up = False
    rig.wire.cut()
    if ends > 1:
        await rig.clock.advance(ends - 0.5)
        assert running(rig) == [lease_of(plain), lease_of(exclusive)]
    await rig.clock.advance(0.6)
    assert running(rig) == [lease_of(plain)]
    rig.wire.up = True
    await rig.clock.advance(6)
    assert rig.manager.outcomes(exclusive.id) == [(0, "released")]


async def test_an_executor_that_is_back_in_time_stops_nothing(rig: Rig) -> None:
    rig.manager.reconnect_grace = 5.0
    for _ in range(3):
        rig.wire.cut()
        await rig.clock.advance(3)
    exclusive = msgspec.structs.replace(waiting("exclusive"), exclusive=True)
    await rig.do(exclusive)
    for _ in range(3):
        rig.wire.up = False
        rig.wire.cut()
        await rig.clock.advance(2)
        rig.wire.up = True
        await rig.clock.advance(8)
    assert running(rig) == [lease_of(exclusive)]


def running(rig: Rig) -> list[Lease]:
    return [one.lease() for one in rig.runner._segments.values() if one.running]


# ---- versions


@pytest.mark.parametrize("protocol", [0, 1, 2])
async def test_it_works_with_managers_of_its_own_version_and_of_its_neighbours(protocol):
    rig = Rig(executor)
    rig.manager.protocol = protocol
    async with rig:
        assert (await rig.do(assignment(command("echo"))))[0].state == "finished"


@pytest.mark.parametrize("protocol", [-1, 3])
async def test_it_ends_if_the_version_of_the_manager_is_too_far_away(protocol):
    rig = Rig(executor)
    rig.manager.protocol = protocol
    async with rig:
        with pytest.raises(Refused, match=f"protocol {protocol}"):
            await rig.running


async def test_it_ends_if_the_manager_refuses_its_version():
    rig = Rig(executor)
    rig.manager.errors["manager.connect"] = (-32602, "speaks version 4")
    rig.manager.error_data = {"field": "protocol"}
    async with rig:
        with pytest.raises(Refused, match="speaks version 4"):
            await rig.running


# ---- duplicates, reordering, revokes


async def test_a_duplicate_of_a_running_assignment_is_ignored(rig):
    task = waiting()
    await rig.do(task, task)
    await rig.do(task)
    assert began == ["g"]


async def test_a_duplicate_of_a_done_assignment_is_ignored(rig):
    task = assignment(command("echo"))
    await rig.do(task)
    assert await rig.do(task) == []


async def test_a_revoke_stops_the_stage_without_a_report(rig):
    task = waiting()
    await rig.do(task)
    rig.manager.revoke(task)
    await settle()
    assert rig.runner.empty
    open_gate("g")
    await settle()
    assert rig.manager.reports == []


async def test_a_revoke_takes_back_a_report_that_was_not_sent(rig):
    rig.manager.silent.add("manager.write_stage")
    await rig.do(assignment(command("echo")))
    task = assignment(command("echo"))
    await rig.do(task)
    rig.manager.revoke(task)
    await settle()
    assert rig.outbox.waiting == 1
    assert rig.outbox.take() == []


async def test_a_revoke_that_comes_before_its_run_is_remembered(rig):
    task = waiting()
    rig.manager.revoke(task)
    await rig.do(task)
    assert began == []
    assert rig.runner.empty


async def test_a_revoke_right_behind_its_run_leaves_nothing_behind(rig):
    task = waiting()
    rig.runner.run([task])
    rig.runner.revoke([lease_of(task)])
    await rig.clock.advance(10)
    assert began == []
    assert (rig.runtime.lingering, rig.stuck) == (0, 0)


async def test_a_newer_lease_of_a_task_ends_the_older(rig):
    old = waiting("old", id="t", job_id="j")
    await rig.do(old)
    await rig.do(waiting("new", id="t", job_id="j"))
    assert began == ["old", "new"]
    assert [lease.epoch for lease in rig.runner.holding()] == [old.epoch + 1]


async def test_an_older_lease_that_comes_late_is_not_begun(rig):
    old, new = (waiting(gate, id="t", job_id="j") for gate in ("old", "new"))
    await rig.do(new)
    await rig.do(old)
    assert began == ["new"]


# ---- deadlines


async def test_a_stage_past_its_max_timeout_is_cancelled_and_reported_at_once(rig):
    await rig.do(assignment(command("wait", params={"gate": "g"}, max_timeout=2.5)))
    await rig.clock.advance(2.4)
    assert rig.manager.reports == []
    await rig.clock.advance(0.2)
    (report,) = rig.manager.reports
    assert report.error.type == "stage_timeout"
    assert "2.5 seconds" in report.error.message
    assert rig.runtime.lingering == 0


async def test_a_run_out_of_execution_time_is_an_exec_timeout(rig):
    task = assignment(command("wait", params={"gate": "g"}, max_timeout=100), exec_seconds=7)
    await rig.do(task)
    await rig.clock.advance(7)
    assert rig.manager.reports[0].error.type == "exec_timeout"


async def test_execution_time_is_shared_by_the_stages_and_waiting_for_acks_is_free(rig):
    both = (command("wait", params={"gate": gate}) for gate in "ab")
    await rig.do(assignment(*both, exec_seconds=10))
    await rig.clock.advance(6)
    rig.wire.up = False
    rig.wire.cut()
    open_gate("a")
    await rig.clock.advance(100)
    rig.wire.up = True
    await rig.clock.advance(12)
    finished, timed_out = rig.manager.reports
    assert began == ["a", "b"]
    assert finished.seconds == 6
    assert timed_out.error.type == "exec_timeout"
    assert timed_out.seconds == 4


async def test_an_extension_moves_the_deadline_when_it_is_granted(rig):
    rig.manager.ack = lambda report: (
        Ack(AckState.OK, exec_seconds=100.0) if report.state == "extend" else None
    )
    await rig.do(assignment(command("slow", params={"gate": "g"}, max_timeout=5), exec_seconds=20))
    assert rig.manager.reports[0].seconds == 60
    await rig.clock.advance(30)
    open_gate("g")
    await settle()
    assert result_of(rig.manager.reports[-1]) == 35.0


async def test_a_command_that_swallows_its_cancellation_keeps_its_slot_until_it_ends(rig):
    await rig.do(assignment(command("stubborn", params={"gate": "g"}, max_timeout=1)))
    await rig.clock.advance(1)
    assert rig.manager.reports[0].error.type == "stage_timeout"
    assert rig.manager.methods("manager.ping")[-1]["capacity"] == 7
    await rig.clock.advance(4)
    open_gate("g")
    await settle()
    assert rig.manager.methods("manager.ping")[-1]["capacity"] == 8
    await rig.clock.advance(10)
    assert rig.stuck == 0


async def test_one_that_never_ends_is_stuck_after_the_kill_grace(rig):
    await rig.do(assignment(command("stubborn", params={"gate": "g"}, max_timeout=1)))
    await rig.clock.advance(5.9)
    assert rig.stuck == 0
    await rig.clock.advance(0.2)
    assert rig.stuck == 1
    open_gate("g")


# ---- progress


async def test_progress_is_thinned_out_and_never_comes_after_the_end(rig):
    await rig.do(assignment(command("count")))
    await settle(150)
    await rig.clock.advance(1)
    states = [str(report.state) for report in rig.manager.reports]
    assert states == ["progress", "finished"]
    assert result_of(rig.manager.reports[0]) == {"done": 1, "total": 99, "message": None}


# ---- leaving


async def stopping(rig: Rig, grace: float) -> "asyncio.Task[None]":
    stop = asyncio.create_task(rig.link.stop(grace))
    await settle()
    return stop


async def test_leaving_lets_running_stages_end(rig):
    await rig.do(waiting())
    await stopping(rig, 10)
    assert rig.manager.methods("manager.ping")[-1]["capacity"] == 0
    open_gate("g")
    await settle()
    assert rig.manager.outcomes() == [(0, "finished")]
    assert rig.manager.requests[-1][0] == "manager.suspend_executor"
    await rig.running


async def test_leaving_gives_back_what_would_come_next(rig):
    await rig.do(assignment(command("wait", params={"gate": "g"}), command("echo")))
    await stopping(rig, 10)
    open_gate("g")
    await settle()
    assert rig.manager.outcomes() == [(0, "finished"), (1, "released")]
    await rig.running


async def test_leaving_gives_back_what_does_not_end_in_time(rig):
    await rig.do(waiting())
    await stopping(rig, 10)
    await rig.clock.advance(10)
    assert rig.manager.outcomes() == [(0, "released")]
    await rig.running


async def test_leaving_twice_is_leaving_now(rig):
    await rig.do(waiting())
    await stopping(rig, 10)
    await stopping(rig, 10)
    assert rig.manager.outcomes() == [(0, "released")]
    await rig.running


async def test_new_work_is_given_back_while_leaving(rig):
    await rig.do(waiting())
    await stopping(rig, 10)
    task = assignment(command("echo"))
    await rig.do(task)
    assert rig.manager.outcomes(task.id) == [(0, "released")]


@pytest.mark.parametrize("status", ["DRAINING", "SUSPENDED"])
async def test_a_resumed_executor_announces_its_capacity_before_the_next_ping(rig, status):
    rig.manager.status = status
    await rig.clock.advance(5)
    assert rig.manager.methods("manager.ping")[-1]["capacity"] == 0
    rig.manager.status = "ACTIVE"
    rig.manager.notify("executor.resume", {})
    await settle()
    assert rig.manager.methods("manager.ping")[-1]["capacity"] == 8
    task = assignment(command("echo"))
    await rig.do(task)
    assert rig.manager.outcomes(task.id) == [(0, "finished")]


async def test_leaving_without_a_manager_ends_too(rig):
    await rig.do(assignment(command("wait", params={"gate": "g"})))
    rig.wire.up = False
    rig.wire.cut()
    await settle()
    await stopping(rig, 1)
    await rig.clock.advance(30)
    await rig.running


async def test_draining_takes_no_new_work_and_ends_nothing(rig):
    await rig.do(waiting())
    rig.manager.notify("executor.drain", {"reason": "update"})
    rig.manager.status = "DRAINING"
    await settle()
    assert rig.manager.methods("manager.ping")[-1]["capacity"] == 0
    task = assignment(command("echo"))
    await rig.do(task)
    assert rig.manager.outcomes(task.id) == [(0, "released")]
    open_gate("g")
    await rig.clock.advance(20)
    assert not rig.running.done()
    rig.manager.status = "ACTIVE"
    await rig.clock.advance(5)
    assert rig.manager.methods("manager.ping")[-1]["capacity"] == 8


async def test_an_id_that_another_process_uses_is_tried_for_two_leases():
    async with Rig(Executor("app")) as rig:
        rig.wire.cut()
        rig.manager.errors["manager.connect"] = (409, "'e1' is in use by process 1")
        rig.manager.error_data = {"field": "id"}
        rig.link._was_connected = False
        await rig.clock.advance(29)
        assert not rig.running.done()
        await rig.clock.advance(8)
        with pytest.raises(Refused, match="'e1' is in use by process 1"):
            await rig.running
