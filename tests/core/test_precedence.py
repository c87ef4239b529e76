"""Which of two versions is newer."""

import itertools

import pytest

from kaiju_tasks.define import is_newer

ORDERED = [
    "0.9",
    "1.0.dev1",
    "1.0a1",
    "1.0b2",
    "1.0rc1",
    "1.0rc2",
    "1.0rc10",
    "1.0",
    "1.0.post1",
    "1.0.1",
    "1.9",
    "1.10",
    "2",
    "v3.1",
    "2024.11.3",
    "2024.12",
]


def test_versions_are_ordered() -> None:
    for (i, one), (j, other) in itertools.product(enumerate(ORDERED), repeat=2):
        assert is_newer(one, other) == (i > j), (one, other)


@pytest.mark.parametrize(
    ("one", "other"), [("1", "1.0"), ("v2.0.0", "2"), ("", ""), ("a1b2c3", "ffee00"), ("1.0", "1")]
)
def test_of_equal_versions_none_is_newer(one: str, other: str) -> None:
    assert not is_newer(one, other)
    assert not is_newer(other, one)


@pytest.mark.parametrize("text", ["", "main", "deadbeef"])
def test_a_number_is_newer_than_a_text(text: str) -> None:
    assert is_newer("0.1", text)
    assert not is_newer(text, "0.1")
