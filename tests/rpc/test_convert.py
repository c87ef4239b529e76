from enum import Enum
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta, Raw, Struct

from kaiju_tasks.errors import InvalidParams, ParseError
from kaiju_tasks.rpc import convert, convert_json
from kaiju_tasks.types import NewTask

COMMAND = {"method": "a.b"}


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Inner(Struct, forbid_unknown_fields=True):
    size: Annotated[int, Meta(ge=0, le=10)]
    color: Color = Color.RED


class Outer(Struct, forbid_unknown_fields=True, rename="camel"):
    by_name: dict[str, Inner] = {}
    in_list: list[Inner] | None = None
    pair: tuple[int, str] | None = None
    word: Literal["on", "off"] | None = None
    more: Annotated[float, Meta(gt=0)] = 1.0


class Carrier(Struct):
    data: Raw
    count: int = 0


def refused(value: Any, type_: Any, prefix: str = "") -> InvalidParams:
    with pytest.raises(InvalidParams) as caught:
        convert(value, type_, prefix=prefix)
    return caught.value


@pytest.mark.parametrize(
    ("task", "field", "message"),
    [
        ({}, "data.commands", "`data.commands` is required: a list of 1 to 100 items"),
        (
            {"commands": []},
            "data.commands",
            "`data.commands` must be a list of 1 to 100 items",
        ),
        (
            {"commands": [COMMAND], "max_retries": 11},
            "data.max_retries",
            "`data.max_retries` must be an integer between 0 and 10",
        ),
        (
            {"commands": [COMMAND], "max_retries": "1"},
            "data.max_retries",
            "`data.max_retries` must be an integer between 0 and 10, not text",
        ),
        (
            {"commands": [{**COMMAND, "max_timeout": 0}]},
            "data.commands.0.max_timeout",
            "`data.commands.0.max_timeout` must be a number more than 0 and at most 31622400"
            " or null",
        ),
        (
            {"commands": [COMMAND, {}]},
            "data.commands.1.method",
            "`data.commands.1.method` is required: ",
        ),
        (
            {"commands": [COMMAND], "max_retry": 1},
            "data.max_retry",
            "`data.max_retry` is not known; did you mean `max_retries`?",
        ),
        (
            {"commands": [COMMAND], "misfire": "never"},
            "data.misfire",
            '`data.misfire` must be one of "skip", "last", "all"',
        ),
        (
            {"commands": [COMMAND], "kws": []},
            "data.kws",
            "`data.kws` must be an object, not a list",
        ),
        (
            {"commands": [COMMAND], "concurrency": {"key": "a", "limit": 0}},
            "data.concurrency.limit",
            "`data.concurrency.limit` must be an integer between 1 and 100000",
        ),
        (
            {"commands": [COMMAND], "next_run": []},
            "data.next_run",
            "`data.next_run` must be a number or text or null, not a list",
        ),
        (
            {"commands": [COMMAND], "enabled": 1},
            "data.enabled",
            "`data.enabled` must be true or false, not an integer",
        ),
        (5, "data", "`data` must be an object, not an integer"),
    ],
)
def test_the_wrong_field_of_a_task_is_named_with_what_is_right(
    task: Any, field: str, message: str
) -> None:
    error = refused(task, NewTask, prefix="data")
    assert error.field == field
    assert error.data["field"] == field
    assert str(error).startswith(message)


@pytest.mark.parametrize(
    ("value", "field", "words"),
    [
        ({"byName": {"x": {"size": 1}, "y": {"size": 11}}}, "byName.y.size", "between 0 and 10"),
        ({"byName": {"x": {"size": 1}, "y z": 3}}, "byName.y z", "an object, not an integer"),
        ({"byName": {"a": {"siz": 1, "size": 2}}}, "byName.a.siz", "did you mean `size`?"),
        ({"inList": [{"size": 1}, {"size": 1, "color": "green"}]}, "inList.1.color", '"blue"'),
        ({"pair": [1, 2]}, "pair.1", "text, not an integer"),
        ({"pair": [1]}, "pair", "a list of 2 items"),
        ({"word": "of"}, "word", 'one of "off", "on" or null'),
        ({"more": 0}, "more", "a number more than 0"),
        ({"more": None}, "more", "not null"),
        ({"zzzz": 0}, "zzzz", "known names are byName, inList, pair, word, more"),
    ],
)
def test_the_path_leads_through_objects_lists_and_renamed_fields(
    value: Any, field: str, words: str
) -> None:
    error = refused(value, Outer)
    assert error.field == field
    assert words in str(error)


def test_a_wrong_value_at_the_root_has_no_field() -> None:
    error = refused([], Outer)
    assert error.field is None
    assert "field" not in error.data
    assert str(error) == "the value must be an object, not a list"


def test_what_is_right_passes() -> None:
    assert convert({"byName": {"x": {"size": 3}}}, Outer) == Outer(by_name={"x": Inner(3)})
    assert convert([1, 2], list[int]) == [1, 2]


@given(st.text().filter(lambda name: name not in ("size", "color")))
def test_any_unknown_name_is_refused_as_a_field(name: str) -> None:
    assert refused({name: 1, "size": 1}, Inner, "data").field == f"data.{name[:100]}"


def test_a_long_name_is_said_in_part() -> None:
    error = refused({"byName": {"k" * 10_000: 3}}, Outer)
    assert error.field == "byName." + "k" * 100
    assert len(str(error)) < 300


def test_a_name_that_looks_like_a_path_leads_nowhere() -> None:
    assert refused({"x` - at `$.color.0[...]": 1, "size": 1}, Inner).code == -32602


def test_bytes_are_carried_and_the_rest_is_checked() -> None:
    carrier = convert_json(b'{"data": {"a": [1, 2]}, "new": 1}', Carrier)
    assert bytes(carrier.data) == b'{"a": [1, 2]}'
    with pytest.raises(InvalidParams, match="`count` must be an integer, not text") as caught:
        convert_json(msgspec.Raw(b'{"data": 1, "count": "x"}'), Carrier)
    assert caught.value.field == "count"


def test_bytes_that_are_not_json_are_a_parse_error() -> None:
    with pytest.raises(ParseError):
        convert_json(b"{", Carrier)


def test_a_number_out_of_range_in_bytes_names_its_field() -> None:
    with pytest.raises(InvalidParams, match="out of range") as caught:
        convert_json(b'{"data": 1, "count": 1%s}' % (b"0" * 5000), Carrier)
    assert caught.value.field == "count"
