"""Scopes: what they allow, and that a scope within another never allows more."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiju_tasks.rights import Kind, Principal, Rights, Scope, Verb, rights_of
from kaiju_tasks.rights.globs import any_matches

GLOB = st.text("ab*?", min_size=1, max_size=4)
GLOBS = st.none() | st.lists(GLOB, max_size=3).map(tuple)
SCOPES = st.builds(
    Scope,
    streams=GLOBS,
    methods=GLOBS,
    verbs=st.none() | st.lists(st.sampled_from(Verb), max_size=3, unique=True).map(tuple),
    message=GLOBS,
    executors=GLOBS,
    webhook_hosts=GLOBS,
    stages=GLOBS,
    capacity=st.none() | st.integers(0, 3),
    see_data=st.none() | st.booleans(),
)
KINDS = st.sampled_from(Kind)
NAMES = st.text("ab", max_size=4)
GLOB_LIMITS = ("streams", "methods", "message", "executors", "webhook_hosts", "stages")


def allowed(rights: Rights, name: str) -> dict[str, Any]:
    """All that some rights say about a name."""
    answers: dict[str, Any] = {
        limit: any_matches(getattr(rights, limit), name) for limit in GLOB_LIMITS
    }
    return answers | {verb: verb in rights.verbs for verb in Verb} | {"data": rights.see_data}


@given(KINDS, SCOPES, KINDS, SCOPES, NAMES)
def test_rights_that_exceed_nothing_allow_nothing_more(
    wide_kind: Kind, wide: Scope, kind: Kind, narrow: Scope, name: str
) -> None:
    maker, made = rights_of(wide_kind, wide), rights_of(kind, narrow)
    if maker.excess(made) is not None:
        return
    before, after = allowed(maker, name), allowed(made, name)
    assert all(before[key] for key, allows in after.items() if allows)
    if maker.capacity is not None:
        assert made.capacity is not None
        assert made.capacity <= maker.capacity


@given(KINDS, SCOPES)
def test_rights_do_not_exceed_themselves(kind: Kind, scope: Scope) -> None:
    rights = rights_of(kind, scope)
    assert rights.excess(rights) is None


@given(KINDS, SCOPES)
def test_every_scope_of_every_kind_is_within_an_admins(kind: Kind, scope: Scope) -> None:
    assert rights_of(Kind.ADMIN).excess(rights_of(kind, scope)) is None


@given(st.lists(SCOPES, min_size=1, max_size=3), SCOPES, KINDS, NAMES)
def test_a_further_limit_never_allows_more(
    scopes: list[Scope], further: Scope, kind: Kind, name: str
) -> None:
    limits = tuple(rights_of(kind, scope) for scope in scopes)
    before = Principal("p", kind, limits)
    after = Principal("p", kind, (*limits, rights_of(kind, further)))
    for test in (
        Principal.has_stream,
        Principal.has_method,
        Principal.has_stage,
        Principal.may_message,
        Principal.may_be,
        Principal.may_call_host,
    ):
        assert test(before, name) or not test(after, name)
    for verb in Verb:
        assert before.has_verb(verb) or not after.has_verb(verb)
    assert before.sees_data or not after.sees_data
    if before.capacity is not None:
        assert after.capacity is not None
        assert after.capacity <= before.capacity


@pytest.mark.parametrize(
    ("limit", "narrow"),
    [
        ("streams", Scope(streams=("billing.*",))),
        ("methods", Scope(methods=("invoice.*",))),
        ("verbs", Scope(verbs=(Verb.READ,))),
        ("executors", Scope(executors=("e-*",))),
        ("webhook_hosts", Scope(webhook_hosts=())),
        ("capacity", Scope(capacity=5)),
        ("see_data", Scope(see_data=False)),
    ],
)
def test_what_is_exceeded_is_named(limit: str, narrow: Scope) -> None:
    assert rights_of(Kind.ADMIN, narrow).excess(rights_of(Kind.ADMIN)) == limit


def test_an_empty_list_allows_nothing_and_an_absent_one_is_the_default_of_the_kind() -> None:
    assert rights_of(Kind.USER).has_stream("anything")
    assert not rights_of(Kind.USER, Scope(streams=())).has_stream("anything")
    assert not rights_of(Kind.VIEWER).see_data
    assert rights_of(Kind.VIEWER, Scope(see_data=True)).see_data
    assert rights_of(Kind.EXECUTOR).verbs == {Verb.SERVE}


@given(SCOPES)
def test_a_scope_is_stored_as_json_and_read_back(scope: Scope) -> None:
    assert msgspec.json.decode(msgspec.json.encode(scope), type=Scope) == scope


@pytest.mark.parametrize(
    "text",
    [
        '{"streams": [""]}',
        '{"streams": ["a\\u0000"]}',
        '{"streams": ["a\\n"]}',
        '{"streams": "a"}',
        '{"stream": ["a"]}',
        '{"verbs": ["delete"]}',
        '{"capacity": -1}',
        '{"streams": [' + ",".join(['"a"'] * 101) + "]}",
        '{"streams": ["' + "a" * 256 + '"]}',
    ],
)
def test_a_scope_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=Scope)
