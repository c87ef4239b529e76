"""Templates as tasks hold them: one list of what all may read, and short ones compiled once."""

import re
from pathlib import Path

import msgspec
import pytest
from msgspec import Raw

from kaiju_tasks import NewTask, TaskCommand
from kaiju_tasks.api.known import template_warnings
from kaiju_tasks.define import define
from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.lifecycle import Definition
from kaiju_tasks.templates import ANY_ROOT, OWN_ROOTS, StageData, compiled_with
from kaiju_tasks.templates.compiled import KEPT_BYTES

DOCS = Path(__file__).parents[2] / "docs" / "templates.md"


def defined(*commands: TaskCommand) -> Definition:
    made = define(NewTask(commands=list(commands)), now=0.0, new_id="t", default_app="default")
    return made.definition


def test_the_documentation_lists_the_own_roots() -> None:
    (listed,) = re.findall(r"read this data:(.*?)\| `0`, `1`", DOCS.read_text("utf-8"), re.DOTALL)
    assert set(re.findall(r"`(\w+)`", listed)) == OWN_ROOTS


@pytest.mark.parametrize("root", sorted(OWN_ROOTS))
def test_no_command_is_named_as_an_own_root(root: str) -> None:
    with pytest.raises(InvalidParams, match=rf"{root!r} is reserved in templates") as raised:
        defined(TaskCommand("do.echo", name=root))
    assert raised.value.field is not None
    assert raised.value.field.endswith("commands.0.name")


@pytest.mark.parametrize("root", sorted(OWN_ROOTS))
def test_reading_an_own_root_brings_no_warning(root: str) -> None:
    assert template_warnings(defined(TaskCommand("do.echo", {"text": f"[{root}]"}))) == []


def test_reading_any_root_brings_no_warning_and_reading_an_unknown_one_does() -> None:
    any_root = TaskCommand("do.echo", {"text": "[[kws.which]]"})
    assert ANY_ROOT in defined(any_root).commands[0].refs
    assert template_warnings(defined(any_root)) == []
    unknown = TaskCommand("do.echo", {"text": "[nobody]"})
    assert template_warnings(defined(unknown)) == [
        "commands.0 reads [nobody], which nothing fills before it"
    ]


def test_an_executor_fills_every_own_root() -> None:
    data = StageData("task", "job", Raw(b'{"a":1}'), 5.0, {}, {"b": 2})
    template = Raw(msgspec.json.encode({root: f"[{root}]" for root in OWN_ROOTS}))
    assert data.params(template) == {
        "id": "task",
        "job_id": "job",
        "kws": {"a": 1},
        "scheduled_at": 5.0,
        "executor": {"b": 2},
    }


def test_short_texts_are_compiled_once_and_long_ones_are_not_kept() -> None:
    made: list[int] = []

    def compile(value: str) -> int:
        made.append(len(value))
        return len(value)

    compiled = compiled_with(compile, kept=2)
    for length in (10, 10, KEPT_BYTES, KEPT_BYTES):
        assert compiled(msgspec.json.encode("x" * length)) == length
    assert made == [10, KEPT_BYTES, KEPT_BYTES]
