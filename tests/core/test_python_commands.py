"""`Command`, `Timer`, `Message` and `Tasks`: the entries of `commands` as Python writes them."""

import inspect
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from kaiju_tasks import Command, Message, NewTask, TaskCommand, Tasks, Timer
from kaiju_tasks.define import define, read_new_task
from kaiju_tasks.errors import InvalidParams

MAKERS: dict[str, Callable[..., TaskCommand]] = {
    "Command": lambda **given: Command("do.echo", {"data": 1}, **given),
    "Timer": lambda **given: Timer(60, **given),
    "Message": lambda **given: Message("go", **given),
    "Tasks": lambda **given: Tasks(ids=["other"], **given),
}
CHILD = NewTask(commands=[TaskCommand("do.echo")])


def plain(command: TaskCommand) -> dict[str, Any]:
    """As it is sent."""
    sent: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(command))
    return sent


def accepted(command: TaskCommand) -> bool:
    new = read_new_task({"commands": [plain(command)]})
    return define(new, now=0.0, new_id="t", default_app="default").definition is not None


@pytest.mark.parametrize("name", MAKERS)
def test_all_take_a_condition_and_the_name_of_the_stage_alike(name: str) -> None:
    condition = {"kws.x": {"gt": 5}}
    made = MAKERS[name](condition=condition, stage="first")
    assert (made.name, made.condition) == ("first", condition)
    assert accepted(made)


@pytest.mark.parametrize("name", [name for name in MAKERS if name != "Timer"])
def test_all_but_a_timer_take_a_max_timeout(name: str) -> None:
    made = MAKERS[name](max_timeout=14_400)
    assert made.max_timeout == 14_400
    assert accepted(made)
    assert "max_timeout" not in inspect.signature(Timer).parameters


@pytest.mark.parametrize("make", [MAKERS["Timer"], MAKERS["Tasks"]], ids=["Timer", "Tasks"])
def test_the_older_spelling_of_a_stages_name_is_accepted(make: Callable[..., Any]) -> None:
    assert make(name="old") == make(stage="old")
    with pytest.raises(InvalidParams, match="older name") as wrong:
        make(name="old", stage="new")
    assert wrong.value.field == "name"


def test_a_message_has_a_name_and_its_stage_another() -> None:
    made = Message("approval", 5, default=None, stage="approved")
    assert plain(made) == {
        "method": "_MESSAGE_",
        "params": {"name": "approval", "default": None},
        "max_timeout": 5.0,
        "name": "approved",
    }


@pytest.mark.parametrize(
    "made",
    [
        Command("do.echo"),
        Timer(0),
        Timer(0.5),
        Timer("[kws.pause]"),
        Timer(366 * 86_400),
        Message(),
        Message("[kws.name]"),
        Message(max_timeout=366 * 86_400),
        Tasks(create=[CHILD, {"commands": [{"method": "do.echo"}]}], mode="any"),
        Tasks(ids="[kws.ids]", on_error="continue"),
        Tasks(foreach=[1, 2], task=CHILD),
        Tasks(foreach="[kws.items]", task={"commands": [{"method": "do.echo"}]}, default=[]),
    ],
    ids=lambda made: str(plain(made)),
)
def test_a_manager_accepts_what_they_make(made: TaskCommand) -> None:
    assert accepted(made)


@pytest.mark.parametrize(
    ("field", "make"),
    [
        ("method", lambda: Command("two words")),
        ("params", lambda: Command("do.echo", [1])),  # type: ignore[arg-type]
        ("max_timeout", lambda: Command("do.echo", max_timeout=14_401)),
        ("timer", lambda: Timer(-1)),
        ("timer", lambda: Timer(True)),
        ("timer", lambda: Timer(float("nan"))),
        ("timer", lambda: Timer("60")),
        ("timer", lambda: Timer(367 * 86_400)),
        ("name", lambda: Timer(1, name="Capital")),
        ("name", lambda: Message(3600)),  # type: ignore[arg-type]
        ("name", lambda: Message("")),
        ("max_timeout", lambda: Message("go", 0)),
        ("max_timeout", lambda: Message("go", "5")),  # type: ignore[arg-type]
        ("max_timeout", lambda: Tasks(ids=["a"], max_timeout=float("inf"))),
        ("create", lambda: Tasks()),
        ("create", lambda: Tasks(create=[], ids=["a"])),
        ("create", lambda: Tasks(create=[])),
        ("create", lambda: Tasks(create={"commands": []})),  # type: ignore[arg-type]
        ("create.1", lambda: Tasks(create=[CHILD, 1])),  # type: ignore[list-item]
        ("ids", lambda: Tasks(ids="a")),
        ("ids.0", lambda: Tasks(ids=[""])),
        ("task", lambda: Tasks(foreach=[1])),
        ("task", lambda: Tasks(ids=["a"], task=CHILD)),
        ("task", lambda: Tasks(foreach=[1], task=1)),  # type: ignore[arg-type]
        ("mode", lambda: Tasks(ids=["a"], mode="some")),  # type: ignore[arg-type]
        ("on_error", lambda: Tasks(ids=["a"], on_error="stop")),  # type: ignore[arg-type]
    ],
)
def test_a_wrong_argument_is_refused_by_its_name(field: str, make: Callable[[], Any]) -> None:
    with pytest.raises(InvalidParams) as wrong:
        make()
    assert wrong.value.field == field
    assert f"`{field}`" in str(wrong.value)


@pytest.mark.parametrize("name", MAKERS)
def test_a_wrong_condition_or_name_is_refused_by_its_name(name: str) -> None:
    for given in ({"condition": "x > 5"}, {"stage": "Two words"}, {"stage": 1}):
        with pytest.raises(InvalidParams) as wrong:
            MAKERS[name](**given)
        assert wrong.value.field == next(iter(given))
