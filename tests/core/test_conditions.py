import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaiju_tasks.conformance.cases.templates import vectors
from kaiju_tasks.errors import TemplateError
from kaiju_tasks.templates import ANY_ROOT, compile_condition
from kaiju_tasks.templates.patterns import compile_like, compile_match
from kaiju_tasks.templates.scope import MAX_WORK, Scope
from tests.support.examples import examples
from tests.support.work import at_most_lines

VECTORS = vectors()

OPERATORS = ["gt", "lt", "ge", "le", "eq", "ne", "has", "in", "match", "like"]
AGGREGATES = ["sum", "min", "max", "all", "any", "len"]

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text("ab.*[]%_", max_size=4)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=3)
    ),
    max_leaves=8,
)
checks = st.recursive(
    values,
    lambda inner: (
        st.dictionaries(st.sampled_from(OPERATORS), values, min_size=1, max_size=3)
        | st.builds(lambda check: {"not": check}, inner)
        | st.builds(lambda name, check: {"agg": {name: check}}, st.sampled_from(AGGREGATES), inner)
        | st.lists(inner, min_size=1, max_size=3)
    ),
    max_leaves=4,
)
paths = st.sampled_from(["0", "0.a", "kws.b", "kws.a:1", "[!x:len:[0]]", "[0]", "0.0", "[0].a"])
conditions = st.recursive(
    st.dictionaries(paths, checks, max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.builds(lambda c: {"not": c}, inner),
    max_leaves=4,
)


def holds(condition: Any, data: dict[str, Any]) -> bool:
    return compile_condition(condition).holds(data)


def refusal(action: Callable[[], Any]) -> TemplateError | None:
    try:
        action()
    except TemplateError as error:
        return error
    return None


@pytest.mark.parametrize("vector", VECTORS["conditions"], ids=lambda v: v["name"])
def test_a_vector_holds_or_not_or_gives_its_error(vector: dict[str, Any]) -> None:
    error = vector.get("error")
    if error is None:
        assert holds(vector["condition"], VECTORS["data"]) is vector["holds"]
    elif error["at"] == "compile":
        with pytest.raises(TemplateError) as caught:
            compile_condition(vector["condition"])
        assert caught.value.field == error["field"]
        assert caught.value.position == error.get("position", caught.value.position)
    else:
        condition = compile_condition(vector["condition"])
        with pytest.raises(TemplateError) as caught:
            condition.holds(VECTORS["data"])
        assert (caught.value.field, caught.value.path) == (error["field"], error.get("path"))


@pytest.mark.parametrize(
    ("condition", "refs"),
    [
        ({}, set()),
        ({"0.value": 1, "not": {"render": 2}}, {"0", "render"}),
        ([{"0": {"gt": "[kws.limit]"}}, {"1": [{"in": ["[2]"]}]}], {"0", "1", "2", "kws"}),
        ({"[!x:len:[3]]": {"agg": {"sum": "[4]"}}}, {"3", "4"}),
        ({"[[kws.a]]": 1}, {"kws", ANY_ROOT}),
        ({"[kws.a].b": 1}, {"kws", ANY_ROOT}),
    ],
)
def test_refs_are_the_roots_that_may_be_read(condition: Any, refs: set[str]) -> None:
    assert compile_condition(condition).refs == refs


def test_unlike_types_are_named() -> None:
    with pytest.raises(TemplateError, match="not a text with a number"):
        holds({"0": {"gt": 1}}, {"0": "x"})


def test_a_wrong_pattern_tells_its_position() -> None:
    with pytest.raises(TemplateError) as caught:
        compile_condition({"0": {"match": "ab(c"}})
    assert caught.value.position == 2


@settings(max_examples=examples(300), deadline=None)
@given(conditions, st.dictionaries(st.sampled_from(["0", "kws"]), values))
def test_any_condition_holds_or_not_or_raises_its_error(
    condition: Any, data: dict[str, Any]
) -> None:
    error = refusal(lambda: compile_condition(condition))
    if error is None:
        error = refusal(lambda: holds(condition, data))
    assert error is None or error.field is not None


@given(values, values)
def test_eq_is_equality_of_json(a: Any, b: Any) -> None:
    same = _canonical(a) == _canonical(b)
    data = {"0": a, "1": b}
    assert holds({"0": {"eq": "[1]"}}, data) is same
    assert holds({"0": {"ne": "[1]"}}, data) is not same


def _canonical(value: Any) -> Any:
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    return value


@settings(max_examples=examples(500), deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["a", "b", ".", "*", "+", "?", "|", "(", ")", "^", "[ab]", "[^a]", r"\d", r"\W"]
        ),
        max_size=10,
    ).map("".join),
    st.text("ab1-\n", max_size=8),
)
def test_match_agrees_with_pythons_regular_expressions(pattern: str, text: str) -> None:
    try:
        expected = re.compile(pattern, re.ASCII).search(text) is not None
        compiled = compile_match(pattern)
    except (re.error, TemplateError):
        return
    if re.search(r"[*+?]\+", pattern):
        return
    assert compiled.matches(text, Scope({})) is expected


@given(st.text("ab%_\\", max_size=8), st.text("ab%_\\", max_size=8))
def test_like_agrees_with_its_translation_to_a_regular_expression(pattern: str, text: str) -> None:
    try:
        compiled = compile_like(pattern)
    except TemplateError:
        assert re.fullmatch(r"(?:[^\\]|\\.)*\\", pattern)
        return
    tokens = re.findall(r"\\.|.", pattern)
    special = {"%": ".*", "_": "."}
    translated = "".join(special.get(token) or re.escape(token[-1]) for token in tokens)
    expected = re.fullmatch(translated, text, re.DOTALL) is not None
    assert compiled.matches(text, Scope({})) is expected


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("", "", True),
        ("^$", "", True),
        ("^$", "a", False),
        ("$", "a\n", True),
        ("a$", "a\n", False),
        ("^^a$$", "a", True),
        ("x|^a", "ba", False),
        ("(?:ab)+?c", "xababc", True),
        ("[a-c]-[^0-9]", "zb-x", True),
        (r"[\d.]+\.[\w-]", "1.2.x", True),
        (r"[^\D5]", "a5b", False),
        (r"[\W]", "ab c", True),
        (r"[a\]]", "]", True),
        ("[a-]", "-", True),
        (r"\(\[\{\\", "([{\\", True),
        ("a.c", "a\nc", False),
        ("é+", "café", True),
        (r"\w", "é", False),
    ],
)
def test_match_finds_what_its_subset_says(pattern: str, text: str, expected: bool) -> None:
    assert compile_match(pattern).matches(text, Scope({})) is expected


@pytest.mark.parametrize(
    "pattern",
    [
        "*",
        "a**",
        "(",
        ")",
        "a)",
        "[",
        "[]",
        "[b-a]",
        r"[\d-z]",
        "\\",
        r"\q",
        r"\1",
        "(?=a)",
        "a{2}",
        "}",
        "(" * 33 + ")" * 33,
        "a" * 1_001,
        "(a?" * 30 + ")*" * 30 + "a?" * 400,
    ],
)
def test_what_is_not_in_the_subset_is_refused_with_a_position(pattern: str) -> None:
    with pytest.raises(TemplateError) as caught:
        compile_match(pattern)
    assert caught.value.position is not None
    assert 0 <= caught.value.position <= len(pattern)


@pytest.mark.parametrize(
    ("operator", "pattern"),
    [
        ("match", "(a*)*b"),
        ("match", "(a|a)*$x"),
        ("match", "(x+x+)+y"),
        ("match", "(.*.*.*.*.*.*.*.*.*=)*"),
        ("match", "a?" * 60 + "a" * 60 + "b"),
        ("match", "^" + "(a|b)*a" + "(a|b)" * 150 + "$"),
        ("like", "%a" * 400 + "b"),
        ("like", "%" * 999 + "b"),
    ],
)
@pytest.mark.parametrize("text", ["a" * 65_000, "ab" * 30_000, "aab" * 20_000])
def test_hostile_patterns_take_bounded_work(operator: str, pattern: str, text: str) -> None:
    with at_most_lines(4 * MAX_WORK):
        condition = compile_condition({"0": {operator: pattern}})
        error = refusal(lambda: condition.holds({"0": text}))
    assert error is None or "steps" in error.message


def test_all_patterns_of_a_condition_are_bounded_together() -> None:
    with pytest.raises(TemplateError, match="4000"):
        compile_condition([{"0": {"match": "a" * 1_000}}] * 5)


def test_a_text_too_long_for_a_pattern_is_refused() -> None:
    with pytest.raises(TemplateError, match="65536"):
        holds({"0": {"like": "%a%"}}, {"0": "a" * 65_537})


def test_work_is_bounded_over_the_whole_condition() -> None:
    condition = compile_condition([{"0": {"has": i}} for i in range(5_000)])
    with pytest.raises(TemplateError, match="steps"):
        condition.holds({"0": [-1] * 50_000})


def nested(depth: int, wrap: str) -> Any:
    condition: Any = {"0": 1}
    for _ in range(depth):
        condition = {"not": condition} if wrap == "not" else [condition]
    return condition


@pytest.mark.parametrize("wrap", ["not", "list"])
def test_conditions_nest_to_the_limit_and_no_deeper(wrap: str) -> None:
    assert holds(nested(30, wrap), {"0": 1})
    with pytest.raises(TemplateError, match="32"):
        compile_condition(nested(800, wrap))


def test_deep_values_are_compared() -> None:
    deep: Any = 0
    for _ in range(60):
        deep = {"a": [deep]}
    assert holds({"0": {"eq": "[1]"}}, {"0": deep, "1": {"a": [deep["a"][0]]}})
