"""The checker finds what it is there to find."""

from typing import Any

import msgspec
import pytest

from tests.chaos.checker import (
    Span,
    Stops,
    history_problems,
    ledger_problems,
    limit_problems,
    message_problems,
    moves,
)
from tests.chaos.ledger import Entry, append, read

UNHARMED = Stops({}, {})


def entry(kind: str, at: float, *, epoch: int = 1, value: str = "v", **fields: Any) -> Entry:
    known = {"stage": 0, "nonce": f"n{epoch}", "pid": 7, **fields}
    return Entry(
        kind=kind,  # type: ignore[arg-type]
        task="t",
        job="j",
        cycle=0,
        attempt=1,
        epoch=epoch,
        at=at,
        value=value,
        **known,
    )


def record(epoch: int = 1, value: str = "v", **fields: Any) -> dict[str, Any]:
    return {
        "job_id": "j",
        "stage": 0,
        "cycle": 0,
        "method": "work",
        "outcome": "FINISHED",
        "result": [epoch, value],
        **fields,
    }


def run(begin: float, end: float, value: str, **fields: Any) -> list[Entry]:
    return [
        entry("start", begin, value=value, key="k", **fields),
        entry("end", end, value=value, key="k", **fields),
    ]


def test_a_ledger_is_read_as_it_was_written(tmp_path: Any) -> None:
    written = [entry("start", 1.5), entry("end", 2.5, key="k")]
    for one in written:
        append(tmp_path / "ledger", one)
    with (tmp_path / "ledger").open("ab") as file:
        file.write(msgspec.json.encode(written[0])[:20])  # the writer was killed
    assert list(read(tmp_path / "ledger")) == written
    assert list(read(tmp_path / "nothing")) == []


def test_one_start_under_each_token_is_right() -> None:
    stages = [entry("start", 1), entry("start", 2, stage=1), entry("start", 3, epoch=2, stage=1)]
    assert not list(ledger_problems(stages))


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ([entry("start", 1), entry("start", 2, value="w")], "two starts under one token"),
        ([entry("start", 1, epoch=2), entry("start", 2)], "a start under an old lease"),
    ],
)
def test_a_wrong_ledger_is_found(entries: list[Entry], problem: str) -> None:
    (found,) = ledger_problems(entries)
    assert problem in found


ENDED = [entry("start", 1), entry("end", 2)]


def test_a_history_of_what_the_commands_returned_is_right() -> None:
    others = [record(outcome="LOST", result=None), record(method="_TIMER_", stage=1, result=None)]
    assert not list(history_problems(ENDED, [record(), *others]))


@pytest.mark.parametrize(
    ("entries", "history", "problem"),
    [
        (ENDED, [record(value="w")], "no command returned"),
        ([entry("start", 1), entry("stop", 2)], [record()], "no command returned"),
        (ENDED, [record(), record()], "two accepted results"),
        ([*ENDED, entry("start", 3, epoch=2)], [record()], "ran again under 2"),
    ],
)
def test_a_wrong_history_is_found(
    entries: list[Entry], history: list[dict[str, Any]], problem: str
) -> None:
    (found,) = history_problems(entries, history)
    assert problem in found


def test_executions_within_the_limit_are_right() -> None:
    entries = run(1, 5, "a") + run(2, 6, "b") + run(5, 9, "c")
    assert not list(limit_problems(entries, 2, UNHARMED))


def test_more_executions_than_the_limit_are_found() -> None:
    entries = run(1, 5, "a") + run(2, 6, "b") + run(3, 9, "c")
    (found,) = limit_problems(entries, 2, UNHARMED)
    assert "3 executions with key 'k'" in found


def test_a_killed_process_runs_until_its_death_and_a_frozen_one_not() -> None:
    killed = [entry("start", 1, value="a", key="k", pid=8), *run(5, 9, "b")]
    assert not list(limit_problems(killed, 1, Stops({8: 4.0}, {})))
    assert list(limit_problems(killed, 1, Stops({8: 7.0}, {})))
    frozen = run(1, 9, "a", pid=8) + run(4, 7, "b")
    assert not list(limit_problems(frozen, 1, Stops({}, {8: [Span(3.0, 8.9)]})))
    assert list(limit_problems(frozen, 1, Stops({}, {8: [Span(3.0, 5.0)]})))


def test_a_message_is_consumed_once_and_by_its_task() -> None:
    def consumed(id: str, by: str) -> dict[str, Any]:
        return {"result": {"message": id}, "task_id": by}

    sent = {"m": "t", "n": "u"}
    assert not list(message_problems(sent, [consumed("m", "t"), consumed("n", "u")]))
    (twice,) = message_problems(sent, [consumed("m", "t"), consumed("m", "t")])
    assert "consumed twice" in twice
    (other,) = message_problems(sent, [consumed("m", "u")])
    assert "consumed by u" in other


def test_stages_of_a_killed_process_move_elsewhere() -> None:
    entries = [
        entry("start", 1.0, value="a", stage=0),
        entry("end", 1.5, value="a", stage=0),
        entry("start", 2.0, value="b", stage=1),
        entry("start", 2.5, value="c", stage=0, epoch=1, pid=8),
        entry("start", 4.5, value="d", stage=1, epoch=2, pid=9),
        entry("start", 6.0, value="e", stage=1, epoch=3, pid=9),
    ]
    assert list(moves(entries, {7: 3.0})) == [1.5]
    assert list(moves(entries, {})) == []
