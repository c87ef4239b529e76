"""The rules of `task_retention_days`."""

import pytest

from kaiju_tasks.errors import SettingsError
from kaiju_tasks.kept import KEEP, kept_of
from kaiju_tasks.settings import load_settings

DAY = 86_400


def test_nothing_is_deleted_by_default() -> None:
    assert kept_of(load_settings(environ={}).task_retention_days) == KEEP
    assert KEEP.seconds("any", {}) is None


def test_a_number_is_for_all_tasks() -> None:
    assert kept_of("1.5").seconds("any", {"a": "b"}) == 1.5 * DAY


@pytest.mark.parametrize("order", [1, -1])
def test_labels_count_before_streams_and_those_before_all_others(order: int) -> None:
    rules = ["30", "billing=2", "label.tier:batch=1", "label.keep:yes=never"][::order]
    kept = kept_of(", ".join(rules))
    assert kept.seconds("other", {}) == 30 * DAY
    assert kept.seconds("billing", {"tier": "batched"}) == 2 * DAY
    assert kept.seconds("billing", {"tier": "batch"}) == DAY
    assert kept.seconds("billing", {"keep": "yes"}) is None


def test_tasks_without_a_rule_are_kept() -> None:
    assert kept_of("billing=2").seconds("other", {}) is None


def test_values_of_labels_may_have_signs_of_rules() -> None:
    assert kept_of("label.a:b:c=d=3").seconds("any", {"a": "b:c=d"}) == 3 * DAY


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("soon", "must be a number from 0.01 to 36500, or never"),
        ("billing", "must be a number"),
        ("billing=0", "must be a number from 0.01"),
        ("billing=nan", "must be a number from 0.01"),
        ("label.tier=3", "like label.tier:batch=1"),
        ("label.Tier:batch=1", "like label.tier:batch=1"),
        ("label.:batch=1", "like label.tier:batch=1"),
        ("1, 2", "two of its rules are for all other tasks"),
        ("a=1, a=2", "two of its rules are for the stream a"),
        ("label.a:b=1, label.a:b=2", "two of its rules are for the label a:b"),
    ],
)
def test_a_wrong_rule_is_refused_with_what_would_be_right(text: str, problem: str) -> None:
    with pytest.raises(SettingsError, match=problem) as caught:
        load_settings(environ={"KAIJU_TASK_RETENTION_DAYS": text})
    assert caught.value.data["field"] == "task_retention_days"


def test_a_number_is_accepted_where_values_have_types() -> None:
    assert load_settings(environ={}, overrides={"task_retention_days": 30}).task_retention_days
    with pytest.raises(SettingsError, match="task_retention_days must be"):
        load_settings(environ={}, overrides={"task_retention_days": True})
