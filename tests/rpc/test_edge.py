import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kaiju_tasks.errors import InvalidParams, KaijuError, ParseError, TooLarge
from kaiju_tasks.rpc import Limits, check_raw, decode
from kaiju_tasks.rpc.edge import INTEGER_MAX, INTEGER_MIN, nesting
from tests.support.work import at_most_lines

LIMITS = Limits()

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(INTEGER_MIN, INTEGER_MAX)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.text('[]{}"\\, '),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('ab[{"\\'), inner),
    max_leaves=20,
)
json_like = st.text('[]{}":,\\ue+-.019ntfalsr ').map(str.encode)


def depth_of(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    return 0


@given(json_values, st.booleans(), st.sampled_from([None, 1]))
def test_json_comes_out_as_it_went_in(value: Any, ascii_only: bool, indent: int | None) -> None:
    body = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    assert decode(body, LIMITS) == value
    check_raw(body, LIMITS)
    check_raw(msgspec.Raw(body), LIMITS)


@given(json_values)
def test_nesting_is_the_depth(value: Any) -> None:
    assert nesting(json.dumps(value).encode()) == depth_of(value)


@given(st.binary() | json_like | json_like.map(lambda text: text * 100))
@example(b'\\"' + b"[" * 5000)
@example(b'"' + b"[" * 5000)
@example(b'{"a":' * 5000)
@example(b"[" * 5000 + b']"' * 5000)
def test_any_bytes_are_decoded_or_refused_by_a_typed_error(body: bytes) -> None:
    try:
        value = decode(body, LIMITS)
    except KaijuError:
        return
    assert depth_of(value) <= LIMITS.max_depth
    assert decode(msgspec.json.encode(value), LIMITS) == value


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" \n",
        b"NaN",
        b"[Infinity]",
        b"-Infinity",
        b"{}x",
        b"[1,]",
        b"{'a':1}",
        b"01",
        b"1.",
        b"+1",
        b"// 1",
        b'"\n"',
        b'"\x00"',
        b"\xff\xfe[\x00]\x00",
        b'"\xff"',
        b'{"\xff":1}',
        b'"\xed\xa0\x80"',
        b'"\xc0\xaf"',
        b'"\xf4\x90\x80\x80"',
        b'"\\ud800"',
        b'"\\udc00"',
        b'"\\ud800\\u0041"',
        b'{"\\udbff":1}',
        b"\xef\xbb\xbf{}",
    ],
)
def test_what_is_not_json_is_a_parse_error(body: bytes) -> None:
    with pytest.raises(ParseError):
        decode(body, LIMITS)
    with pytest.raises(ParseError):
        check_raw(body, LIMITS)


def test_a_byte_order_mark_is_named() -> None:
    with pytest.raises(ParseError, match="byte order mark"):
        decode(b"\xef\xbb\xbf{}", LIMITS)


def test_a_lone_surrogate_is_named() -> None:
    with pytest.raises(ParseError, match="surrogate"):
        decode(b'{"a":"\\ud800"}', LIMITS)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"18446744073709551616", None),
        (b"-9223372036854775809", None),
        (b'{"a":[0,{"b":18446744073709551616}]}', "a.1.b"),
        (b'{"a":[0,{"b":-9223372036854775809}]}', "a.1.b"),
        (b'{"a" :\n18446744073709551616}', "a"),
        (b"9" * 5000, None),
        (b"[" + b"9" * 5000 + b".5]", None),
        (b'{"a":1e400}', None),
        (b'{"a":-1.5E+400}', None),
    ],
)
def test_a_number_out_of_range_is_refused_by_its_limit(body: bytes, field: str | None) -> None:
    for check in (decode, check_raw):
        with pytest.raises(InvalidParams, match=r"2\*\*64-1") as caught:
            check(body, LIMITS)
        assert caught.value.field == field
        assert caught.value.data["limit"] == "-2**63..2**64-1"


@given(st.integers())
def test_integers_of_64_bits_pass_and_no_others(number: int) -> None:
    body = b'{"n": %d}' % number
    if INTEGER_MIN <= number <= INTEGER_MAX:
        assert decode(body, LIMITS) == {"n": number}
    else:
        with pytest.raises(InvalidParams):
            decode(body, LIMITS)


@pytest.mark.parametrize("number", [INTEGER_MIN, INTEGER_MAX])
def test_the_outermost_integers_pass(number: int) -> None:
    assert decode(b"%d" % number, LIMITS) == number


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a":1,"a":2}', {"a": 2}),
        (b'"\\u0000"', "\0"),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        (b"1e-400", 0.0),
        (b"12345678901234567890.5", 12345678901234567890.5),
        (b'"id 123456789012345678901234567890"', "id 123456789012345678901234567890"),
        (b'":18446744073709551616"', ":18446744073709551616"),
        (b" \r\n\t[1]\n", [1]),
    ],
)
def test_harmless_oddities_pass(body: bytes, value: Any) -> None:
    assert decode(body, LIMITS) == value
    check_raw(body, LIMITS)


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_depth_64_passes_and_65_does_not(opening: bytes, closing: bytes) -> None:
    decode(opening * 64 + b"0" + closing * 64, LIMITS)
    for depth in (65, 900, 100_000):
        body = opening * depth + b"0" + closing * depth
        for check in (decode, check_raw):
            with pytest.raises(TooLarge) as caught:
                check(body, LIMITS)
            assert caught.value.data["limit"] == 64


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 500_000 + b"]" * 500_000,
        b'"[' * 500_000,
        b'{"%b":[%b%d]}' % (b"k" * 500_000, b"0," * 200_000, 2**64),
    ],
    ids=["deep", "quotes", "long_path"],
)
def test_a_body_of_any_shape_is_refused_in_a_step_for_each_of_its_bytes(body: bytes) -> None:
    with at_most_lines(len(body) + 1_000), pytest.raises(KaijuError) as caught:
        decode(body, LIMITS)
    assert len(str(caught.value)) < 500


def test_brackets_in_text_are_not_depth() -> None:
    value = {"a": "[" * 1000, 'b"]': ["{" * 1000 + '"', "\\"]}
    assert decode(json.dumps(value).encode(), LIMITS) == value


def test_many_siblings_are_not_depth() -> None:
    value: list[Any] = [[{}] for _ in range(1000)]
    assert decode(json.dumps(value).encode(), LIMITS) == value


def test_a_body_over_the_size_limit_is_refused_unread() -> None:
    limits = Limits(max_body_bytes=10)
    assert decode(b'"12345678"', limits) == "12345678"
    with pytest.raises(TooLarge) as caught:
        decode(b"\xff" * 11, limits)
    assert caught.value.code == 413
    assert caught.value.data["limit"] == 10


def test_a_carried_value_has_its_own_size_limit() -> None:
    limits = Limits(max_body_bytes=1000, max_result_bytes=4)
    check_raw(b"1234", limits)
    with pytest.raises(TooLarge):
        check_raw(b"12345", limits)


@pytest.mark.parametrize("number", [b"9e300", b"1.7777777777777777e-300"])
def test_numbers_that_take_long_are_bounded(number: bytes) -> None:
    few, many = (b"[" + b",".join([number] * count) + b"]" for count in (5_000, 20_000))
    assert len(decode(few, Limits())) == 5_000
    with pytest.raises(TooLarge, match="5000 numbers"):
        decode(many, Limits())


def test_texts_that_look_like_numbers_are_not_counted() -> None:
    texts = [f'1e300\\"{number}e400' for number in range(20_000)]
    body = msgspec.json.encode(texts)
    assert decode(body, Limits()) == texts
