"""Who may act on what: by kind, by scope, and what is not seen."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiju_tasks.rights import (
    ALL_SIGHT,
    EVERYTHING,
    NO_SIGHT,
    Access,
    Decision,
    Kind,
    Principal,
    Reach,
    Scope,
    Sight,
    Target,
    Verb,
    access,
    may,
    may_call,
    rights_of,
    sight_of,
)

ACCESSES = {name: one for name, one in vars(access).items() if isinstance(one, Access)}
KINDS = st.sampled_from(Kind)
ALLOWED, FORBIDDEN, UNSEEN = Decision.ALLOWED, Decision.FORBIDDEN, Decision.UNSEEN


def principal(kind: Kind, id: str = "ann", **limits: Any) -> Principal:
    return Principal(id, kind, (rights_of(kind, Scope(**limits)),))


def task(owner: str | None = "ann", *streams: str, id: str = "t") -> Target:
    return Target(id=id, owner=owner, streams=streams or ("billing",))


@pytest.mark.parametrize("name", ACCESSES)
@given(kind=KINDS)
def test_a_kind_that_is_not_named_may_call_nothing(name: str, kind: Kind) -> None:
    one = ACCESSES[name]
    named = one.reach(kind) is not Reach.NONE
    assert may_call(principal(kind, verbs=tuple(Verb)), one) is named
    decision = may(principal(kind, verbs=tuple(Verb)), one, task())
    assert decision is ALLOWED or not named


@pytest.mark.parametrize("name", ACCESSES)
def test_without_a_token_only_what_is_public_may_be_called(name: str) -> None:
    assert may_call(None, ACCESSES[name]) is (name == "PUBLIC")


@pytest.mark.parametrize("name", ACCESSES)
def test_who_may_do_everything_may_do_everything(name: str) -> None:
    assert may_call(EVERYTHING, ACCESSES[name])
    assert may(EVERYTHING, ACCESSES[name], task("bob")) is ALLOWED
    assert sight_of(EVERYTHING, ACCESSES[name]) == ALL_SIGHT


@pytest.mark.parametrize("name", [name for name, one in ACCESSES.items() if one.verb is not None])
@given(kind=KINDS)
def test_a_verb_that_is_not_in_scope_is_refused(name: str, kind: Kind) -> None:
    one = ACCESSES[name]
    others = tuple(verb for verb in Verb if verb != one.verb)
    assert not may_call(principal(kind, verbs=others), one)
    assert sight_of(principal(kind, verbs=others), one) == NO_SIGHT


def test_an_executor_may_do_nothing_but_serve() -> None:
    executor = principal(Kind.EXECUTOR, verbs=tuple(Verb))
    callable_ = {name for name, one in ACCESSES.items() if may_call(executor, one)}
    assert callable_ == {"SERVE", "ACKNOWLEDGE", "OWN_TOKEN", "SIGNED_IN", "PUBLIC"}


def test_only_an_executor_serves() -> None:
    assert [
        kind for kind in Kind if may_call(principal(kind, verbs=tuple(Verb)), access.SERVE)
    ] == [Kind.EXECUTOR]


def test_only_an_admin_manages_tokens() -> None:
    managing = [
        kind for kind in Kind if may_call(principal(kind, verbs=tuple(Verb)), access.MANAGE)
    ]
    assert managing == [Kind.ADMIN]


@pytest.mark.parametrize(
    ("kind", "limits", "target", "decision"),
    [
        (Kind.USER, {}, task("ann"), ALLOWED),
        (Kind.USER, {}, task("bob"), UNSEEN),
        (Kind.USER, {}, task(None), UNSEEN),
        (Kind.USER, {"streams": ["orders"]}, task("ann"), UNSEEN),
        (Kind.USER, {"verbs": ["read"]}, task("ann"), FORBIDDEN),
        (Kind.OPERATOR, {}, task("bob"), ALLOWED),
        (Kind.OPERATOR, {"streams": ["bill*"]}, task("bob"), ALLOWED),
        (Kind.OPERATOR, {"streams": ["orders"]}, task("bob"), UNSEEN),
        (Kind.OPERATOR, {"verbs": ["read"]}, task("bob"), FORBIDDEN),
        (Kind.VIEWER, {}, task("bob"), FORBIDDEN),
        (Kind.VIEWER, {"streams": ["orders"]}, task("bob"), UNSEEN),
        (Kind.EXECUTOR, {}, task("ann"), UNSEEN),
        (Kind.ADMIN, {}, task("bob"), ALLOWED),
        (Kind.ADMIN, {"streams": ["orders"]}, task("bob"), UNSEEN),
    ],
)
def test_who_may_operate_a_task(
    kind: Kind, limits: dict[str, Any], target: Target, decision: Decision
) -> None:
    scope = msgspec.convert(limits, Scope)
    one = Principal("ann", kind, (rights_of(kind, scope),))
    assert may(one, access.OPERATE_TASKS, target) is decision


def test_a_grant_reaches_messages_to_tasks_of_others_and_nothing_else() -> None:
    ann = principal(Kind.USER, message=("approval-*",))
    other = task("bob", id="approval-7")
    assert may(ann, access.MESSAGE_TASKS, other) is ALLOWED
    assert may(ann, access.MESSAGE_TASKS, task("bob", id="payment-7")) is UNSEEN
    assert may(ann, access.READ_TASKS, other) is UNSEEN
    assert may(ann, access.OPERATE_TASKS, other) is UNSEEN
    reader = principal(Kind.USER, message=("approval-*",), verbs=(Verb.READ,))
    assert may(reader, access.MESSAGE_TASKS, other) is UNSEEN


def test_one_stream_is_enough_to_see_an_executor_and_all_are_needed_to_operate_it() -> None:
    executor = Target(id="e1", streams=("billing", "orders"))
    one = principal(Kind.OPERATOR, streams=("billing",))
    both = principal(Kind.OPERATOR, streams=("billing", "orders"))
    assert may(one, access.READ_STREAMS, executor) is ALLOWED
    assert may(one, access.OPERATE_STREAMS, executor) is FORBIDDEN
    assert may(both, access.OPERATE_STREAMS, executor) is ALLOWED


def test_what_holds_every_stream_needs_a_scope_of_every_stream() -> None:
    everywhere = Target(id="pause", streams=None)
    assert may(principal(Kind.OPERATOR), access.OPERATE_STREAMS, everywhere) is ALLOWED
    limited = principal(Kind.OPERATOR, streams=("a*", "?*"))
    assert may(limited, access.OPERATE_STREAMS, everywhere) is UNSEEN


@pytest.mark.parametrize(
    ("limits", "id", "streams", "decision"),
    [
        ({}, "e1", ["billing"], ALLOWED),
        ({"executors": ("e?",)}, "e1", ["billing"], ALLOWED),
        ({"executors": ("e?",)}, "e10", ["billing"], UNSEEN),
        ({"executors": ()}, "e1", ["billing"], UNSEEN),
        ({"streams": ("billing",)}, "e1", ["billing", "orders"], UNSEEN),
        ({"streams": ("billing", "orders")}, "e1", ["billing", "orders"], ALLOWED),
    ],
)
def test_an_executor_serves_its_own_id_and_streams(
    limits: dict[str, Any], id: str, streams: list[str], decision: Decision
) -> None:
    target = Target(id=id, streams=tuple(streams))
    assert may(principal(Kind.EXECUTOR, **limits), access.SERVE, target) is decision


def test_all_limits_must_allow() -> None:
    rights = (rights_of(Kind.USER), rights_of(Kind.USER, Scope(streams=("orders",))))
    ann = Principal("ann", Kind.USER, rights)
    assert may(ann, access.READ_TASKS, task("ann", "orders")) is ALLOWED
    assert may(ann, access.READ_TASKS, task("ann", "billing")) is UNSEEN


LIMITS = st.lists(
    st.lists(st.text("ab*", min_size=1, max_size=3), max_size=2).map(tuple), max_size=3
)


@given(KINDS, LIMITS, st.sampled_from(["ann", "bob", None]), st.text("ab", max_size=3))
def test_sight_and_decision_agree(
    kind: Kind, limits: list[tuple[str, ...]], owner: str | None, stream: str
) -> None:
    ann = Principal("ann", kind, tuple(rights_of(kind, Scope(streams=one)) for one in limits))
    seen = sight_of(ann, access.READ_TASKS).sees(owner, stream)
    target = Target(id="t", owner=owner, streams=(stream,))
    assert seen is (may(ann, access.READ_TASKS, target) is ALLOWED)


def test_a_sight_sees_everything_only_without_conditions() -> None:
    assert ALL_SIGHT.everything
    assert not Sight(owner="ann").everything
    assert not NO_SIGHT.everything
    assert not NO_SIGHT.sees_stream("billing")
