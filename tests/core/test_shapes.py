"""Parameters against schemas: never a word about what an executor would take."""

import dataclasses
import datetime
import decimal
import enum
import inspect
import json
import uuid
from typing import Annotated, Any, Literal, NamedTuple, Required, TypedDict

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Meta, Struct

from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.executor.params import Signature
from kaiju_tasks.shapes.dialect import JUDGED, MAX_WORK
from kaiju_tasks.shapes.shape import ANYTHING, MAX_MISFITS, MAX_SCHEMA_BYTES, shape
from tests.support.examples import examples
from tests.support.work import at_most_lines


class Point(Struct):
    x: int
    y: float = 0.0


class Closed(Struct, forbid_unknown_fields=True, rename="camel"):
    first_name: str
    last_name: str | None = None


class Cat(Struct, tag="cat"):
    lives: int


class Dog(Struct, tag="dog"):
    name: str


class Row(Struct, array_like=True):
    id: int
    label: str = ""


class TaggedRow(Struct, array_like=True, tag=True):
    id: int


class Tree(Struct):
    n: int
    children: "list[Tree]" = []


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Part(TypedDict, total=False):
    sku: Required[str]
    count: int


class Pair(NamedTuple):
    a: int
    b: str = ""


@dataclasses.dataclass
class Address:
    city: str
    zip: int = 0


HINTS: list[Any] = [
    *(Any, int, float, bool, str, bytes, type(None), list, dict, tuple, set),
    *(datetime.datetime, datetime.date, datetime.time, datetime.timedelta),
    *(decimal.Decimal, uuid.UUID, Color, Level),
    *(Point, Closed, Cat, Cat | Dog, Row, TaggedRow, Tree, Part, Pair, Address),
    *(int | None, int | str, float | None, Point | None, Color | int | None, list[int] | int),
    *(list[int], set[int], frozenset[str], tuple[int, ...], tuple[int, str], list[Point | None]),
    *(dict[str, int], dict[int, str], dict[uuid.UUID, float], dict[str, Cat | Dog]),
    *(Literal["a", "b"], Literal[1, None], Literal["only"]),
    Annotated[int, Meta(ge=1, le=10)],
    Annotated[int, Meta(gt=2**53 - 2, lt=2**53 + 2)],
    Annotated[float, Meta(gt=0, le=2**53)],
    Annotated[int, Meta(multiple_of=3)],
    Annotated[float, Meta(multiple_of=0.1)],
    Annotated[str, Meta(min_length=1, max_length=3)],
    Annotated[str, Meta(pattern="^[a-c]*$")],
    Annotated[bytes, Meta(min_length=2, max_length=4)],
    Annotated[list[int], Meta(min_length=1, max_length=2)],
    Annotated[dict[str, int], Meta(max_length=1)],
    Annotated[dict[Annotated[str, Meta(min_length=2)], int], Meta(min_length=1)],
    Annotated[datetime.datetime, Meta(tz=True)],
]

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.integers(-3, 12)
    | st.integers(2**53 - 3, 2**53 + 3)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([0.3, 0.7, 1.0, "", "a", "ab", "red", "cat", "dog", "only"])
    | st.sampled_from(["aGk=", "TaggedRow"])
    | st.sampled_from(["2026-01-02", "2026-01-02T03:04:05", "2026-01-02T03:04:05Z", "03:04", "P1D"])
    | st.sampled_from(["1.5", str(uuid.UUID(int=5))])
    | st.text(max_size=4)
)
keys = st.sampled_from(
    ["x", "y", "firstName", "last_name", "type", "lives", "name", "n", "children", "sku", "count"]
) | st.sampled_from(["a", "b", "id", "label", "city", "zip", "1", str(uuid.UUID(int=7))])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)


def written(value: Any) -> Any:
    """A value of the executor's own types, as a client would write it."""
    try:
        return msgspec.json.decode(msgspec.json.encode(value))
    except (TypeError, ValueError):  # it has no JSON form
        return None


RIGHT = {
    index: values if hint is Any else values | st.from_type(hint).map(written)
    for index, hint in enumerate(HINTS)
}


def signature(hints: list[tuple[Any, bool]], open_: bool) -> Signature:
    def function(**others: Any) -> None: ...

    parameters = [
        inspect.Parameter(
            f"p{i}",
            inspect.Parameter.KEYWORD_ONLY,
            default=None if optional else inspect.Parameter.empty,
        )
        for i, (_, optional) in enumerate(hints)
    ]
    if open_:
        parameters.append(inspect.Parameter("others", inspect.Parameter.VAR_KEYWORD))
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    function.__annotations__ = {f"p{i}": hint for i, (hint, _) in enumerate(hints)}
    return Signature(function)


def misfits(schema: Any, params: Any) -> list[str]:
    raw = schema if isinstance(schema, bytes) else msgspec.json.encode(schema)
    found = shape(raw).misfits(msgspec.json.encode(params))
    return [f"{one.path} {one.what}" for one in found]


def accepts(sig: Signature, params: Any) -> bool:
    try:
        sig.arguments(params)
    except (InvalidParams, TypeError):  # of a set of lists msgspec says that they cannot be hashed
        return False
    return True


@settings(max_examples=examples(400))
@given(st.data())
def test_nothing_is_said_of_what_the_executor_takes(data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.sampled_from(range(len(HINTS))), max_size=2))
    hints = [(HINTS[index], data.draw(st.booleans())) for index in chosen]
    sig = signature(hints, data.draw(st.booleans()))
    params = {
        f"p{i}": data.draw(RIGHT[index])
        for i, index in enumerate(chosen)
        if data.draw(st.booleans())
    } | data.draw(st.dictionaries(st.sampled_from(["q", "p9"]), scalars, max_size=1))
    params = {"$raw": params}  # texts are no templates here
    said = misfits(sig.schema(), params)
    if said:
        assert not accepts(sig, params["$raw"]), said


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (float, 1),
        (decimal.Decimal, 1.5),
        (decimal.Decimal | None, 1),
        (set[int], [1, 1]),
        (Cat, {"lives": 9}),
        (Cat | Dog, {"type": "dog", "name": "Rex"}),
        (Point, {"x": 1, "unknown": 2}),
        (Row, [1, "a", "more"]),
        (Tree, {"n": 1, "children": [{"n": 2}]}),
        (Annotated[float, Meta(le=2**53)], 2**53 + 1),
        (Level, 2),
        (bytes, "aGk="),
        (Pair, [1]),
    ],
)
def test_what_an_executor_takes_fits(hint: Any, value: Any) -> None:
    sig = signature([(hint, False)], False)
    assert accepts(sig, {"p0": value})
    assert misfits(sig.schema(), {"$raw": {"p0": value}}) == []


def command(
    count: Annotated[int, Meta(ge=1, le=9)],
    prices: list[float] | None = None,
    color: Color = Color.RED,
    point: Point | None = None,
    pet: Cat | Dog | None = None,
    name: Annotated[str, Meta(max_length=3)] = "",
    closed: Closed | None = None,
    day: datetime.date | None = None,
    sizes: Annotated[list[int], Meta(min_length=1)] | None = None,
    pair: tuple[int, str] | None = None,
    flag: Literal[1] | None = None,
) -> None: ...


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({}, "params.count is required: an integer, at least 1, at most 9"),
        ({"count": "1"}, "params.count must be an integer, at least 1, at most 9, not text"),
        ({"count": True}, "params.count must be an integer, at least 1, at most 9, not true"),
        ({"count": 0}, "params.count must be an integer, at least 1, at most 9, not 0"),
        ({"count": 1, "prices": "12"}, "params.prices must be a list or null, not text"),
        ({"count": 1, "prices": [1, "x"]}, "params.prices.1 must be a number, not text"),
        ({"count": 1, "color": "green"}, 'params.color must be one of "blue", "red", not "green"'),
        ({"count": 1, "point": {"y": 1}}, "params.point.x is required: an integer"),
        ({"count": 1, "pet": {"type": "dog"}}, "params.pet.name is required: text"),
        (
            {"count": 1, "name": "long"},
            'params.name must be text, at most 3 characters, not "long"',
        ),
        ({"count": 1, "colour": "red"}, "params.colour is not known; did you mean `color`?"),
        (
            {"count": 1, "closed": {"firstname": "a"}},
            "params.closed.firstName is required: text",
        ),
        (
            {"count": 1, "closed": {"firstName": "a", "lastname": "b"}},
            "params.closed.lastname is not known; did you mean `lastName`?",
        ),
        (
            {"count": 1, "sizes": []},
            "params.sizes must be a list, at least 1 item, not a list of 0",
        ),
        (
            {"count": 1, "pair": [1, "a", 2]},
            "params.pair must be a list, at least 2 items, at most 2 items, not a list of 3",
        ),
        ({"count": 1, "flag": True}, "params.flag must be 1, not true"),
        ({"count": 1, "day": 5}, "params.day must be text or null, not an integer"),
    ],
)
def test_what_is_wrong_is_said_with_what_would_be_right(params: Any, said: str) -> None:
    sig = Signature(command)
    assert not accepts(sig, params)
    assert misfits(sig.schema(), params) == [said]


@pytest.mark.parametrize(
    "params",
    [
        {"count": "[kws.count]"},
        {"count": 1, "prices": ["[kws.price]", "x"]},
        {"count": 1, "point": {"x": "[0.x]"}},
        {"count": 1, "name": "[kws.first] [kws.last]"},
    ],
)
def test_what_a_template_will_become_is_not_judged(params: Any) -> None:
    assert misfits(Signature(command).schema(), params) == []


def test_beside_a_template_the_constants_and_the_names_are_judged() -> None:
    schema = Signature(command).schema()
    assert misfits(schema, {"count": "[kws.n]", "point": 5, "clr": "[kws.c]"}) == [
        "params.clr is not known; did you mean `color`?",
        "params.point must be an object or null, not an integer",
    ]


def test_a_raw_value_is_judged_as_it_will_arrive() -> None:
    schema = Signature(command).schema()
    assert misfits(schema, {"count": 1, "name": {"$raw": "[x]"}}) == []
    assert misfits(schema, {"count": 1, "name": {"$raw": "[kws.x]"}}) != []
    assert misfits(schema, {"count": {"$raw": 2}}) == []


def test_at_most_ten_things_are_said() -> None:
    many = {f"unknown{i}": 1 for i in range(50_000)}
    assert len(misfits(Signature(command).schema(), {"count": 1, **many})) == MAX_MISFITS


@pytest.mark.parametrize(
    "schema",
    [
        b"[]",
        b"nonsense",
        {"type": "array"},
        {"type": 5},
        {"properties": []},
        {"properties": {"a": {"type": "int"}}},
        {"properties": {"a": 5}},
        {"properties": {"a": {"required": "name"}}},
        {"properties": {"a": {"minimum": "x"}}},
        {"properties": {"a": {"items": [{"type": "string"}]}}},
        {
            "properties": {
                "a": {"$schema": "http://json-schema.org/draft-07/schema#", "type": "null"}
            }
        },
        {"properties": {"a": {"$id": "http://example.com/", "type": "null"}}},
        {"properties": {"a": {"$ref": "http://example.com/schema.json"}}},
        {"properties": {"a": {"$ref": "#/nowhere"}}},
        {"properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"$ref": "#/$defs/a"}}},
        {"properties": {"a": {"pattern": "(a+)+$"}}},
        {"properties": {"a": {"format": "ipv4"}}},
        {"properties": {"a": {"not": {"type": "string"}}}},
        {"patternProperties": {"^a": {}}, "additionalProperties": False},
    ],
    ids=str,
)
def test_a_schema_that_cannot_be_read_refuses_nothing(schema: Any) -> None:
    assert misfits(schema, {"a": "a" * 40 + "!"}) == []


def test_a_schema_that_is_too_long_is_not_read() -> None:
    fitting = {"properties": {"a": {"type": "null"}}, "title": "x" * (MAX_SCHEMA_BYTES - 100)}
    assert misfits(fitting, {"a": 1}) == ["params.a must be null, not an integer"]
    assert shape(msgspec.json.encode(fitting | {"title": "x" * MAX_SCHEMA_BYTES})) is ANYTHING


BUSH = {
    "properties": {"a": {"$ref": "#/$defs/n0"}},
    "$defs": {
        **{f"n{i}": {"allOf": [{"$ref": f"#/$defs/n{i + 1}"}] * 2} for i in range(40)},
        "n40": {},
    },
}
WIDE = {"properties": {"a": {"items": {"enum": list(range(3000))}}}}
LIST = {"properties": {"a": {"items": {}, "minItems": 1}}}


@pytest.mark.parametrize(
    ("schema", "value"), [(BUSH, 1), (WIDE, [5000] * 3000), (LIST, [0] * 40_000)]
)
def test_judging_takes_little_work_whatever_the_schema(schema: Any, value: Any) -> None:
    params = msgspec.json.encode({"a": value})
    known = shape(msgspec.json.encode(schema))
    known.judge("a", None)  # imports
    with at_most_lines(100 * MAX_WORK + 10 * len(params)):
        known.misfits(params)


words = st.sampled_from([*sorted(JUDGED), "$defs", "not", "format", "patternProperties", "a", "b"])
scraps = st.recursive(
    st.sampled_from(["string", "integer", "object", "#/$defs/a", "a", 0, 1, -2.5, True, False])
    | st.just(10**400)
    | st.just(None),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=examples(500))
@given(
    st.dictionaries(st.sampled_from(["a", "b"]), scraps, max_size=2),
    st.dictionaries(st.sampled_from(["a", "b"]), scraps, max_size=2),
    st.dictionaries(st.sampled_from(["a", "b"]), values, max_size=2),
)
def test_no_schema_is_an_error(properties: Any, definitions: Any, params: Any) -> None:
    schema = json.dumps({"properties": properties, "$defs": definitions})
    for one in shape(schema.encode()).misfits(msgspec.json.encode({"$raw": params})):
        assert one.path.startswith("params.")
