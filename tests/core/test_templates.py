import json
import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaiju_tasks.conformance.cases.templates import vectors
from kaiju_tasks.cron import parse_time
from kaiju_tasks.errors import TemplateError
from kaiju_tasks.templates import (
    ANY_ROOT,
    compile_template,
    condition,
    parser,
    patterns,
    scope,
)
from kaiju_tasks.templates.functions import FUNCTIONS
from kaiju_tasks.templates.operators import AGGREGATES, OPERATORS
from tests.support.examples import examples
from tests.support.work import at_most_lines

VECTORS = vectors()

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
)
roots = st.sampled_from(["0", "1", "kws", "a"])
json_values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(roots | st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=20,
)
json_data = st.dictionaries(roots, json_values, max_size=4)
pieces = st.sampled_from(
    [
        *'[]{}`:.-!01a "\\',
        "kws",
        "[0",
        "!f:",
        "!x:",
        "[kws.a:",
        "[!x:sum:",
        "[!x:join:",
        "{a-0}",
        "``",
    ]
)
template_texts = st.lists(pieces, max_size=14).map("".join) | st.text(max_size=20)
functions = st.sampled_from(list(FUNCTIONS))
references = st.sampled_from(
    ["[0]", "[kws.a:1]", "[a:x]", "[1.0:[0]]", "[0.a]", "7", "text", "1e5"]
)
calls = st.recursive(
    references,
    lambda inner: st.builds(
        lambda name, args: f"[!x:{name}:{':'.join(args)}]", functions, st.lists(inner, min_size=1)
    ),
    max_leaves=6,
)


def fill(template: Any, data: dict[str, Any]) -> Any:
    return compile_template(template).fill(data)


def refusal(action: Callable[[], Any]) -> TemplateError | None:
    try:
        action()
    except TemplateError as error:
        return error
    return None


@pytest.mark.parametrize("vector", VECTORS["templates"], ids=lambda v: v["name"])
def test_a_vector_gives_its_output_or_its_error(vector: dict[str, Any]) -> None:
    error = vector.get("error")
    if error is None:
        filled = fill(vector["template"], VECTORS["data"])
        assert json.dumps(filled) == json.dumps(vector["output"])
    elif error["at"] == "compile":
        with pytest.raises(TemplateError) as caught:
            compile_template(vector["template"])
        assert (caught.value.field, caught.value.position) == (error["field"], error["position"])
    else:
        template = compile_template(vector["template"])
        with pytest.raises(TemplateError) as caught:
            template.fill(VECTORS["data"])
        assert (caught.value.field, caught.value.path) == (error["field"], error.get("path"))


def test_vectors_have_names_of_their_own() -> None:
    for kind in ("templates", "conditions"):
        names = [vector["name"] for vector in VECTORS[kind]]
        assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("template", "refs"),
    [
        ("plain", set()),
        ({"$raw": "[0]"}, set()),
        ("`[0]`", set()),
        ({"a": "[0.x]", "b": ["[kws.y:[render.z]]"]}, {"0", "kws", "render"}),
        ("[!f:{1-a} {2}]", {"1", "2"}),
        ("[!x:sum:[executor.n]:[3]]", {"executor", "3"}),
        ("[kws.[0.key]]", {"kws", "0"}),
        ("[[kws.which].value]", {"kws", ANY_ROOT}),
    ],
)
def test_refs_are_the_roots_that_may_be_read(template: Any, refs: set[str]) -> None:
    assert compile_template(template).refs == refs


@pytest.mark.parametrize("value", [None, 5, "plain `text` {x}", {"a": [1, {"b": "c"}]}, {}, []])
def test_a_constant_template_gives_the_value_itself(value: Any) -> None:
    template = compile_template(value)
    assert template.constant
    assert template.fill({}) is value


@pytest.mark.parametrize("value", [{"$raw": 1}, "`[x]`", ["[0]"], {"a": {"$raw": "["}}])
def test_what_changes_is_not_constant(value: Any) -> None:
    assert not compile_template(value).constant


def test_filling_leaves_the_template_and_the_data_as_they_were() -> None:
    value = {"a": "[0.x]", "b": {"c": ["[0.y:1]", 2]}}
    data = {"0": {"x": [1, 2]}}
    template = compile_template(value)
    assert template.fill(data) == template.fill(data) == {"a": [1, 2], "b": {"c": [1, 2]}}
    assert value == {"a": "[0.x]", "b": {"c": ["[0.y:1]", 2]}}
    assert data == {"0": {"x": [1, 2]}}


def test_keys_keep_their_order() -> None:
    value = {"z": "[0]", "a": 1, "m": "[0]"}
    assert list(fill(value, {"0": 0})) == ["z", "a", "m"]


def test_a_malformed_text_says_how_to_write_it_literally() -> None:
    with pytest.raises(TemplateError, match=r"params\.text: .*position 2.*backticks.*\$raw"):
        compile_template({"text": "a ] b"})


def test_the_prefix_of_fields_is_the_callers() -> None:
    with pytest.raises(TemplateError) as caught:
        compile_template({"text": ["["]}, field="commands.0.params")
    assert caught.value.field == "commands.0.params.text.0"


def test_an_unknown_function_is_answered_with_those_there_are() -> None:
    with pytest.raises(TemplateError, match="capitalize, split, join"):
        compile_template("[!x:exec:1]")


@pytest.mark.parametrize("value", [(1, 2), {1: 2}, {"a": {1, 2}}, b"x"])
def test_only_json_values_are_templates(value: Any) -> None:
    with pytest.raises(TemplateError):
        compile_template(value)


@given(template_texts)
def test_any_text_compiles_or_is_refused_with_a_position_in_it(text: str) -> None:
    error = refusal(lambda: compile_template(text))
    if error is not None:
        assert error.field == "params"
        assert error.position is not None
        assert 0 <= error.position <= len(text)


@given(st.text(max_size=30))
def test_a_quoted_text_is_itself(text: str) -> None:
    assert fill("[0]`" + text.replace("`", "``") + "`", {"0": ""}) == text


@given(json_values)
def test_a_raw_value_is_itself(value: Any) -> None:
    assert fill({"$raw": value}, {}) is value


@given(json_values)
def test_a_filled_value_is_never_filled_again(value: Any) -> None:
    assert fill({"a": "[0]"}, {"0": value, "kws": {"secret": 1}}) == {"a": value}


@given(st.text(max_size=20))
def test_a_filled_text_is_never_filled_again_inside_another(text: str) -> None:
    hostile = f"[kws.secret]{text}{{kws-secret}}"
    data = {"0": hostile, "kws": {"secret": "s3cret"}}
    for template in ("<[0]>", "[!f:<{0}>]", "<[!x:str:[0]]>", "<[kws.none:[0]]>"):
        assert fill(template, data) == f"<{hostile}>"


@settings(max_examples=examples(300), deadline=None)
@given(template_texts | calls, json_data)
def test_any_template_with_any_data_fills_or_raises_its_error(
    text: str, data: dict[str, Any]
) -> None:
    if refusal(lambda: compile_template(text)) is None:
        template = compile_template(text)
        error = refusal(lambda: json.dumps(template.fill(data), allow_nan=False))
        assert error is None or error.field == "params"


def nested_template(depth: int) -> str:
    return "[kws.q:" * depth + "end" + "]" * depth


def test_templates_nest_to_the_limit_and_no_deeper() -> None:
    assert fill(nested_template(32), {}) == "end"
    with pytest.raises(TemplateError, match="32 deep"):
        compile_template(nested_template(33))
    with pytest.raises(TemplateError, match="32 deep"):
        compile_template("[" * 60_000)


def nested_list(depth: int, core: Any = 0) -> Any:
    for _ in range(depth):
        core = [core]
    return core


def test_values_nest_to_the_limit_and_no_deeper() -> None:
    assert fill(nested_list(63, "[0]"), {"0": 1}) == nested_list(63, 1)
    with pytest.raises(TemplateError, match="64"):
        compile_template(nested_list(64, "[0]"))
    with pytest.raises(TemplateError, match="64"):
        compile_template(nested_list(900, "[0]"))


def test_deep_data_in_the_deepest_template_is_filled() -> None:
    data = {"0": nested_list(64)}
    assert fill(nested_list(40, "[0]"), data) == nested_list(104)
    with pytest.raises(TemplateError, match="deeper than 128"):
        fill("[0]", {"0": nested_list(50_000)})
    with pytest.raises(TemplateError, match="deeper than 128"):
        fill("text [0]", {"0": nested_list(50_000)})


def test_defaults_of_the_deepest_paths_do_not_exhaust_the_stack() -> None:
    path = ".".join(["0"] + ["x"] * 63)
    template = f"[{path}:" * 32 + "end" + "]" * 32
    with pytest.raises(TemplateError, match="deeper than 128"):
        fill(template, {"0": nested_list(62)})
    assert fill(f"[{path}:end]", {"0": nested_list(62)}) == nested_list(62, "end")


def test_a_path_has_at_most_64_segments() -> None:
    assert fill("[" + ".".join(["a"] * 64) + ":1]", {}) == 1
    with pytest.raises(TemplateError, match="64 segments"):
        compile_template("[" + ".".join(["a"] * 65) + "]")


def test_a_value_has_at_most_10_000_references() -> None:
    assert fill(["[0]"] * 10_000, {"0": 1}) == [1] * 10_000
    for template in (["[0]"] * 10_001, ["[0]" * 5_001, "[!f:" + "{0}" * 5_000 + "]"]):
        with pytest.raises(TemplateError, match="10000 references"):
            compile_template(template)


def test_a_template_text_is_bounded_and_a_plain_one_is_not() -> None:
    assert compile_template("x" * 100_000).constant
    with pytest.raises(TemplateError, match="65536"):
        compile_template("[0]" + "x" * 65_536)


LITTLE_WORK = 65_536
"""A part of MAX_WORK: lines take long to count."""


@pytest.mark.parametrize(
    "template",
    [
        ["[0]"] * 1_000,
        "[0]" * 1_000,
        "[!f:" + "{0}" * 1_000 + "]",
        "[!x:join:[1]:[0]]",
        {"a": ["[!x:len:[!x:upper:[0]]]"] * 3_000},
        {"a": ["[!x:sum:[1]]"] * 1_000},
        {"a": ["[!x:len:[2.id]]"] * 1_000},
        {"a": ["[!x:len:[!x:split:[0]:x]]"] * 1_000},
    ],
    ids=["copies", "text", "format", "join", "calls", "sums", "collected", "split"],
)
def test_amplification_ends_in_an_error_after_bounded_work(
    template: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scope, "MAX_WORK", LITTLE_WORK)
    compiled = compile_template(template)
    data = {"0": "x" * 100_000, "1": [0] * 50_000, "2": [{"id": 1}] * 50_000}
    with (
        at_most_lines(20 * LITTLE_WORK),
        pytest.raises(TemplateError, match=r"longer than|larger than|more than"),
    ):
        compiled.fill(data)


def test_data_with_shared_parts_does_not_blow_up() -> None:
    shared: Any = ["x"] * 10
    for _ in range(40):
        shared = [shared] * 10
    for template in ("[0]", "text [0]", "[0.a:1]"):
        with pytest.raises(TemplateError):
            fill(template, {"0": shared})


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("text [0]", 10**5_000),
        ("[!x:str:[0]]", 10**5_000),
        ("[!x:sum:[0]:1]", 10**5_000),
        ("[!x:sum:[0]:1.5]", 10**400),
        ("[!x:int:[0]]", "9" * 100_000),
        ("[!x:int:[0]]", 1e300),
        ("[!x:datetime:[0]]", 10**400),
        ("[!x:sum:[0]]", float("inf")),
        ("text [0]", float("nan")),
        ("[kws.[0]:1]", 10**5_000),
    ],
    ids=range(10),
)
def test_numbers_out_of_bounds_are_refused(template: str, value: Any) -> None:
    with pytest.raises(TemplateError):
        fill(template, {"0": value})


@pytest.mark.parametrize(
    "zone",
    ["", "../../etc/passwd", "/etc/passwd", "Europe", "Europe/", "x" * 10_000, 5, None, "utc "],
)
def test_only_zones_are_zones(zone: Any) -> None:
    with pytest.raises(TemplateError):
        fill("[!x:datetime:0:[0]]", {"0": zone})


@pytest.mark.parametrize(
    "moment",
    ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-W01-1", "20260101", ""],
)
def test_moments_without_a_calendar_are_refused(moment: str) -> None:
    with pytest.raises(TemplateError):
        fill("[!x:datetime:[0]]", {"0": moment})


@pytest.mark.parametrize(
    ("call", "value"),
    [
        ("datetime:`2026-03-29T01:59:59`:Europe/Berlin", "2026-03-29T01:59:59+01:00"),
        ("datetime:`2026-03-29T02:00`:Europe/Berlin", "2026-03-29T03:00:00+02:00"),
        ("datetime:`2026-03-29T02:30:00.5`:Europe/Berlin", "2026-03-29T03:00:00+02:00"),
        ("datetime:`2026-03-29T03:00`:Europe/Berlin", "2026-03-29T03:00:00+02:00"),
        ("datetime:`2019-10-06T02:15`:Australia/Lord_Howe", "2019-10-06T02:30:00+11:00"),
        ("datetime:2024-03-10:America/Havana", "2024-03-10T01:00:00-04:00"),
        ("datetime:`2011-12-30T10:30`:Pacific/Apia", "2011-12-31T00:00:00+14:00"),
        ("date:2011-12-30:Pacific/Apia", "2011-12-31"),
    ],
)
def test_a_time_that_a_zone_skips_means_the_next_instant_that_exists(call: str, value: str) -> None:
    assert fill(f"[!x:{call}]", {}) == value


@pytest.mark.parametrize(
    ("moment", "value"),
    [
        ("2026-10-25T02:30", "2026-10-25T02:30:00+02:00"),
        ("2026-10-25T00:30Z", "2026-10-25T02:30:00+02:00"),
        ("2026-10-25T01:30Z", "2026-10-25T02:30:00+01:00"),
        (1_792_891_800, "2026-10-25T02:30:00+01:00"),
    ],
)
def test_the_offset_says_which_of_two_equal_times_is_meant(moment: Any, value: str) -> None:
    assert fill("[!x:datetime:[0]:Europe/Berlin]", {"0": moment}) == value


@given(
    st.datetimes(datetime(1971, 1, 1), datetime(2037, 1, 1)),
    st.sampled_from(["Europe/Berlin", "America/Havana", "Australia/Lord_Howe", "Pacific/Apia"]),
)
def test_a_time_in_a_template_is_the_instant_that_a_task_would_begin_at(
    wall: datetime, zone: str
) -> None:
    shown = fill("[!x:datetime:[0]:[1]]", {"0": wall.isoformat(), "1": zone})
    begins = parse_time(wall.isoformat(), zone, field="next_run")
    assert datetime.fromisoformat(shown).timestamp() == begins


def test_a_short_template_is_filled_in_a_few_lines() -> None:
    template = compile_template({"a": "[0.x]", "b": 1})
    with at_most_lines(50):
        assert template.fill({"0": {"x": 5}}) == {"a": 5, "b": 1}


def test_the_reference_names_every_function_operator_and_aggregate() -> None:
    reference = (Path(__file__).parents[2] / "docs" / "templates.md").read_text("utf-8")
    for name in (*FUNCTIONS, *AGGREGATES, *OPERATORS, "not", "agg"):
        assert re.search(rf'[`" ]{name}[`" ]', reference), name


def test_the_reference_tells_every_bound() -> None:
    reference = (Path(__file__).parents[2] / "docs" / "templates.md").read_text("utf-8")
    for bound in (
        parser.MAX_TEMPLATE_TEXT,
        parser.MAX_REFERENCES,
        scope.MAX_OUTPUT,
        scope.MAX_WORK,
        scope.MAX_FILLED_DEPTH,
        scope.MAX_BUILT_TEXT,
        patterns.MAX_PATTERN,
        patterns.MAX_MATCHED_TEXT,
        condition.MAX_PATTERNS,
    ):
        assert f"{bound:,}" in reference
