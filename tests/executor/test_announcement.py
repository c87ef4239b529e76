"""What an executor announces fits into a frame."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiju_tasks.executor.announcement import fitting
from kaiju_tasks.protocol import CommandInfo


def command(number: int, params: int, result: int, doc: int, examples: int) -> CommandInfo:
    return CommandInfo(
        f"m{number}",
        {"title": "p" * params} if params else {},
        "d" * doc,
        result={"title": "r" * result} if result else {},
        examples=[{"params": "e" * examples}] if examples else [],
    )


sizes = st.integers(0, 300)
commands = st.lists(st.tuples(sizes, sizes, sizes, sizes), max_size=8).map(
    lambda all: [command(number, *one) for number, one in enumerate(all)]
)


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (1, "the examples of 1 command (m0)"),
        (3, "the examples of 3 commands (m0, m1, m2)"),
        (4, "the examples of 4 commands (m0, m1, m2, …)"),
    ],
)
def test_the_log_names_the_commands(
    caplog: pytest.LogCaptureFixture, count: int, said: str
) -> None:
    whole = [command(number, 0, 0, 0, 1000) for number in range(count)]
    fitting(whole, 900)
    assert caplog.messages == [f"not announced, because it is too large for a connection: {said}"]


@given(commands, st.integers(0, 4000))
def test_the_methods_stay_and_the_rest_fits(whole: list[CommandInfo], most: int) -> None:
    found = fitting(whole, most)
    assert [one.method for one in found] == [one.method for one in whole]
    bare = [CommandInfo(one.method) for one in whole]
    assert len(msgspec.json.encode(found)) <= most or found == bare
    if len(msgspec.json.encode(whole)) <= most:
        assert found == whole


@pytest.mark.parametrize(
    ("most", "left"),
    [
        (1000, {"params", "doc", "result", "examples"}),
        (450, {"params", "doc", "result"}),
        (330, {"params", "doc"}),
        (200, {"doc"}),
        (0, set()),
    ],
)
def test_what_is_least_useful_is_left_out_first(most: int, left: set[str]) -> None:
    [found] = fitting([command(0, 100, 100, 100, 100)], most)
    assert set(msgspec.to_builtins(found)) == {"method"} | left
