"""Registering commands: what is taken, what is refused, and what is announced."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta, Struct

from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.executor import Context, Executor
from kaiju_tasks.executor.load import LoadError, load_executor
from kaiju_tasks.executor.params import Signature
from kaiju_tasks.executor.runtime import by_app_name
from kaiju_tasks.samples import executor as samples


@dataclass
class Address:
    city: str
    zip: int = 0


class Strange:
    """A type that msgspec does not know."""


def test_a_name_is_registered_once():
    executor = Executor("app")
    executor.command("x")(lambda: None)
    with pytest.raises(ValueError, match="`x` is registered twice"):
        executor.command("x")(lambda: None)


def test_without_a_name_the_function_s_own_is_taken():
    executor = Executor("app")

    @executor.command
    def first() -> None: ...

    @executor.command()
    def second() -> None: ...

    assert list(executor.commands) == ["first", "second"]


@pytest.mark.parametrize("name", ["_TIMER_", "", "a b", "x" * 256, "a\n"])
def test_a_wrong_name_is_refused(name):
    with pytest.raises(ValueError, match="name"):
        Executor("app").command(name)(lambda: None)


def test_a_process_command_must_be_importable():
    with pytest.raises(ValueError, match="top-level function"):
        Executor("app").command("x", process=True)(lambda: None)


def positional(a: int, /) -> None: ...


def starred(*a: int) -> None: ...


@pytest.mark.parametrize("function", [positional, starred])
def test_a_parameter_that_has_no_name_is_refused(function):
    with pytest.raises(TypeError, match="parameter `a` cannot be passed by name"):
        Executor("app").command("x")(function)


def test_hints_that_cannot_be_read_are_refused():
    def wrong(a: "Missing") -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(TypeError, match="type hints cannot be resolved"):
        Executor("app").command("x")(wrong)


def test_the_schema_tells_types_defaults_and_limits_and_leaves_the_context_out():
    def function(
        a: Annotated[int, Meta(ge=1)], ctx: Context, b: str = "x", c: list[Address] | None = None
    ) -> None: ...

    schema = Signature(function).schema()
    assert schema["properties"]["a"] == {"type": "integer", "minimum": 1}
    assert schema["properties"]["b"] == {"type": "string", "default": "x"}
    assert sorted(schema["properties"]) == ["a", "b", "c"]
    assert schema["required"] == ["a"]
    assert schema["additionalProperties"] is False
    assert "Address" in schema["$defs"]


class Called:
    def __call__(self, a: int) -> int:
        return a


@pytest.mark.parametrize("function", [Called(), partial(max, 1)])
@pytest.mark.parametrize("name", ["named", None])
def test_what_is_no_function_is_refused(function, name):
    with pytest.raises(TypeError, match="must be a function or a method"):
        Executor("app").command(name)(function)


class Params(Struct):
    """It has the name under which the parameters of a command are described."""

    a: int


def test_a_type_of_a_parameter_may_have_any_name():
    def function(params: Params, others: list[Params] | None = None) -> None: ...

    schema = Signature(function).schema()
    assert sorted(schema["properties"]) == ["others", "params"]
    name = schema["properties"]["params"]["$ref"].removeprefix("#/$defs/")
    assert schema["$defs"][name]["properties"] == {"a": {"type": "integer"}}


def test_a_type_without_a_schema_has_an_empty_one():
    def function(a: Strange) -> None: ...

    assert Signature(function).schema() == {}


def test_the_announcement_carries_schema_and_docs():
    info = samples.commands["do.sleep"].info()
    assert info.doc == "Sleep, and return the number of seconds."
    assert info.params["required"] == ["seconds"]


def test_the_announcement_carries_the_schema_of_the_result_and_examples() -> None:
    executor = Executor("app")
    examples: list[dict[str, Any]] = [{"params": {"a": 1}, "result": [1]}, {"params": {"a": 2}}]

    @executor.command("listed", examples=examples)
    async def listed(a: int) -> list[int]:
        return [a]

    @executor.command("any")
    async def anything(): ...

    one, other = executor.announced()
    assert one.result == {"type": "array", "items": {"type": "integer"}}
    assert one.examples == examples
    assert (other.result, other.examples) == ({}, [])


@pytest.mark.parametrize(
    ("example", "problem"),
    [
        ({"params": {"a": "x"}}, "`a` must be an integer"),
        ({"params": {}}, "a"),
        ({"result": 1}, "it must have `params`"),
        ({"params": {"a": 1}, "other": 1}, "it must have `params`"),
        ({"params": {"a": 1}, "result": object()}, "an example of `work` is wrong"),
    ],
)
def test_a_wrong_example_is_refused(example, problem) -> None:
    def work(a: int) -> None: ...

    with pytest.raises(ValueError, match="an example of `work` is wrong") as caught:
        Executor("app").command("work", examples=[example])(work)
    assert problem in str(caught.value)


def deep(a: Address, b: list[int] = [], kind: Literal["x", "y"] = "x") -> None: ...  # noqa: B006


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"a": {"city": 1}}, "a.city"),
        ({"a": {}}, "a.city"),
        ({"a": {"city": "x"}, "b": [1, "2"]}, "b.1"),
        ({"a": {"city": "x"}, "kind": "z"}, "kind"),
        ({}, "a"),
        ({"a": None}, "a"),
    ],
)
def test_an_error_names_the_path(params, field):
    with pytest.raises(InvalidParams) as caught:
        Signature(deep).arguments(params)
    assert caught.value.field == field


def test_types_are_made_and_defaults_left_to_the_function():
    assert Signature(deep).arguments({"a": {"city": "x"}}) == {"a": Address("x")}


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(json | st.dictionaries(st.sampled_from(["a", "b", "kind", "x"]), json))
def test_any_params_are_taken_or_refused_by_name(params: Any):
    refused: InvalidParams | None = None
    arguments: dict[str, Any] = {}
    try:
        arguments = Signature(deep).arguments(params)
    except InvalidParams as error:
        refused = error
    if refused is None:
        deep(**arguments)
    else:
        assert refused.field is not None
        assert refused.message


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("kaiju_tasks.samples", "module:attribute"),
        ("nowhere.at_all:x", "no module `nowhere`"),
        ("kaiju_tasks.samples:missing", "has no `missing`; it has: executor"),
        ("kaiju_tasks.samples:echo", "is a function, not an Executor; it has: executor"),
        ("kaiju_tasks.errors:Abort", "it has no Executor"),
    ],
)
def test_a_wrong_place_is_explained(path, says):
    with pytest.raises(LoadError, match=says):
        load_executor(path)


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("broken_1", "x = = 1", r"SyntaxError: invalid syntax \(.*broken_1\.py:1\)"),
        ("broken_2", "import nowhere_at_all", r"No module named 'nowhere_.*broken_2\.py:1\)"),
        ("broken_3", "def f():\n    1 / 0\nf()", r"ZeroDivision.*_3\.py:3, then .*_3\.py:2\)"),
    ],
)
def test_a_module_that_cannot_be_imported_is_explained(tmp_path, monkeypatch, name, text, says):
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(LoadError, match=says):
        load_executor(f"{name}:executor")


def test_an_executor_is_found_by_its_place():
    assert load_executor("kaiju_tasks.samples:executor") is samples


def test_one_stream_has_one_executor():
    with pytest.raises(ValueError, match="two executors serve the stream `app`"):
        by_app_name([Executor("app"), Executor("app")])


def test_at_least_one_executor_is_needed():
    with pytest.raises(ValueError, match="at least one"):
        by_app_name([])


@pytest.mark.parametrize("name", ["", "x" * 256])
def test_a_wrong_stream_name_is_refused(name):
    with pytest.raises(ValueError, match="app_name"):
        Executor(name)
