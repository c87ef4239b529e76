"""What a run has received, and which tasks belong together."""

from typing import Any

import pytest

from kaiju_tasks.api import family as family_module
from kaiju_tasks.errors import NotFound
from kaiju_tasks.rights import Kind
from tests.api.test_rights import as_, failure
from tests.manager.hand import Calls, HandExecutor

AT_ONCE = {"method": "_TIMER_", "params": {"timer": 0}}
LATER = {"method": "_TIMER_", "params": {"timer": 600}}
MESSAGE = {"method": "_MESSAGE_", "params": {"name": "paid"}}


async def test_an_inbox_has_each_message_with_its_sender_and_time(call: Calls) -> None:
    ann = await as_(call, "ann", Kind.USER)
    await ann.create(MESSAGE, MESSAGE, MESSAGE, "work", id="t")
    assert await ann("tasks.inbox", id="t") == []
    before = await call.manager.store.now()
    for number in range(2):
        await ann("tasks.message", id="t", data={"n": number}, name="paid", message_id=f"m{number}")
    await ann("tasks.suspend", id="t")
    await ann("tasks.message", id="t", data=None, name="paid", message_id="m2")
    first, second, third = await ann("tasks.inbox", id="t")
    assert before <= first["at"] <= second["at"] <= third["at"]
    assert [one["state"] for one in (first, second, third)] == ["consumed", "consumed", "buffered"]
    assert {name: first[name] for name in ("message_id", "name", "data", "sender")} == {
        "message_id": "m0",
        "name": "paid",
        "data": {"n": 0},
        "sender": "ann",
    }
    viewer = await as_(call, "vic", Kind.VIEWER)
    hidden = (await viewer("tasks.inbox", id="t"))[0]
    assert (hidden["message_id"], hidden["name"], hidden["data"]) == ("m0", None, None)
    await ann("tasks.cancel", id="t")
    assert await ann("tasks.inbox", id="t") == []


async def test_without_tokens_a_sender_is_unknown(call: Calls) -> None:
    await call.create(LATER, MESSAGE, id="t")
    await call("tasks.message", id="t", data=1, name="paid")
    (message,) = await call("tasks.inbox", id="t")
    assert (message["sender"], message["state"]) == (None, "buffered")


def child(id: str, *commands: Any, **fields: Any) -> dict[str, Any]:
    return {"id": id, "commands": list(commands) or [AT_ONCE], **fields}


def creating(*tasks: dict[str, Any]) -> dict[str, Any]:
    return {"method": "_TASKS_", "params": {"create": list(tasks), "on_error": "continue"}}


async def test_a_family_is_listed_from_whichever_member(
    call: Calls, executor: HandExecutor
) -> None:
    await call.create("work", id="after", delay=600)
    grandchild = child("g", LATER, next_task="after")
    await call.create(creating(child("a", creating(grandchild)), child("b", LATER)), id="root")
    await call.until("g", "WAITING")
    await call.create("work", id="stranger", delay=600)
    for id in ("root", "a", "b", "g"):
        family = await call("tasks.family", id=id)
        assert not family["more"]
        assert [(one["id"], one["depth"], one["parent_id"]) for one in family["data"]] == [
            ("root", 0, None),
            ("a", 1, "root"),
            ("b", 1, "root"),
            ("g", 2, "a"),
        ]
    last = family["data"][-1]
    assert (last["status"], last["status_reason"], last["next_task"]) == (
        "WAITING",
        "timer",
        "after",
    )
    await call("tasks.delete", id="root")
    family = await call("tasks.family", id="stranger")
    assert [one["id"] for one in family["data"]] == ["stranger"]


async def test_a_large_family_is_cut(call: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(family_module, "MEMBERS_MAX", 3)
    await call.create(creating(*(child(f"c{n}", LATER) for n in range(4))), id="root")
    family = await call("tasks.family", id="c3")
    assert (len(family["data"]), family["more"]) == (3, True)
    await call("tasks.delete", id="c0")
    await call("tasks.delete", id="c1")
    family = await call("tasks.family", id="c3")
    assert ([one["id"] for one in family["data"]], family["more"]) == (["root", "c2", "c3"], False)


async def test_what_is_not_seen_has_no_inbox_and_no_family(call: Calls) -> None:
    bob = await as_(call, "bob", Kind.USER)
    await bob.create(MESSAGE, id="t")
    ann = await as_(call, "ann", Kind.USER)
    for method in ("tasks.inbox", "tasks.family"):
        assert isinstance(await failure(ann, method, {"id": "t"}), NotFound)
        assert isinstance(await failure(bob, method, {"id": "nobody"}), NotFound)
