"""Keys of concurrency and uniqueness, as a definition keeps them."""

from typing import Any

import pytest

from kaiju_tasks.define import Defined, define, redefine
from kaiju_tasks.lifecycle import slot_key
from kaiju_tasks.types import Concurrency, NewTask, TaskCommand


def defined(key: str, user_id: str | None = None, **kws: Any) -> Defined:
    new = NewTask(commands=[TaskCommand("work")], kws=kws, concurrency=Concurrency(key, 1))
    return define(new, now=0.0, new_id="t", default_app="default", user_id=user_id)


@pytest.mark.parametrize("key", ["warehouse", "task", "arguments"])
def test_keys_of_different_owners_are_apart(key: str) -> None:
    owners = (None, "ann", "bob")
    assert len({defined(key, owner).definition.slot_key for owner in owners}) == 3


def test_no_text_is_filled_to_the_key_of_another_owner_or_of_the_manager() -> None:
    others = [
        defined("warehouse", "ann").definition.slot_key,
        defined("task").definition.slot_key,
        slot_key(None, "webhooks", "example.com"),
    ]
    for other in others:
        assert defined("[kws.text]", text=other).definition.slot_key != other


def test_a_template_without_an_owner_keeps_the_key_that_older_tasks_have() -> None:
    assert defined("warehouse-[kws.n]", n=7).definition.slot_key == "warehouse-7"


@pytest.mark.parametrize(
    ("changes", "kept"), [({"description": "x"}, True), ({"kws": {"n": 1}}, False)]
)
def test_a_stored_key_stays_until_what_it_depends_on_changes(
    changes: dict[str, Any], kept: bool
) -> None:
    old = defined("arguments").definition
    old.slot_key = "arguments"
    new, changed = redefine(old, True, changes, now=0.0, default_app="default")
    assert (new.definition.slot_key == "arguments") is kept
    assert changed - {"slot_key"} == changes.keys()
    assert ("slot_key" in changed) is not kept
