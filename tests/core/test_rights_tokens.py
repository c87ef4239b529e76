"""The text of tokens."""

import hashlib
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaiju_tasks.rights import Kind, hide_tokens, new_token, read_token, same_hash

SECRETS = st.binary(min_size=40, max_size=40)
KINDS = st.sampled_from(Kind)


def token_of(kind: Kind, secret: bytes) -> str:
    return new_token(kind, lambda size: secret[:8] if size == 8 else secret[-size:])


@given(KINDS, SECRETS)
def test_a_token_is_read_as_it_was_made(kind: Kind, secret: bytes) -> None:
    token = token_of(kind, secret)
    assert len(token) == 67
    assert token.startswith(f"kt_{kind.letter}_")
    read = read_token(token)
    assert read is not None
    assert (read.kind, read.id) == (kind, token[5:17])
    assert read.hash == hashlib.sha256(token.encode()).digest()


@given(KINDS, SECRETS, st.integers(0, 66), st.characters())
def test_a_changed_character_is_refused(kind: Kind, secret: bytes, at: int, other: str) -> None:
    token = token_of(kind, secret)
    changed = token[:at] + other + token[at + 1 :]
    assert (read_token(changed) is None) == (changed != token)


@given(st.text())
def test_other_text_is_no_token(text: str) -> None:
    assert read_token(text) is None


@pytest.mark.parametrize("change", [" {}", "{}\n", "{}a", "Bearer {}", "{}{}"])
def test_text_around_a_token_is_refused(change: str) -> None:
    token = new_token(Kind.USER, os.urandom)
    assert read_token(change.format(token, token)) is None


def test_tokens_differ() -> None:
    tokens = {new_token(Kind.EXECUTOR, os.urandom) for _ in range(100)}
    assert len({token[5:17] for token in tokens}) == 100


def test_only_the_stored_hash_is_the_same() -> None:
    one, other = (read_token(new_token(Kind.ADMIN, os.urandom)) for _ in range(2))
    assert one is not None
    assert other is not None
    assert same_hash(one.hash, one.hash)
    assert not same_hash(one.hash, other.hash)
    assert not same_hash(one.hash, None)
    assert not same_hash(bytes(32), None)


@given(KINDS, SECRETS, st.integers(23, 67), st.text(), st.sampled_from(["", "Bearer ", '"', "="]))
def test_a_hidden_token_keeps_its_name_and_loses_its_secret(
    kind: Kind, secret: bytes, length: int, after: str, before: str
) -> None:
    token = token_of(kind, secret)
    hidden = hide_tokens(f"{before}{token[:length]} {after}")
    assert hidden.startswith(f"{before}{token[:17]} ")
    assert token[18:length] not in hidden


@pytest.mark.parametrize("secret", ["abc", "my.jwt-token_1"])
def test_whatever_follows_bearer_is_hidden(secret: str) -> None:
    text = f"bad header 'authorization: bearer {secret}' at line 3"
    assert secret not in hide_tokens(text)
    assert hide_tokens(text).endswith("' at line 3")


def test_other_text_stays() -> None:
    text = "kt_ is the prefix, and kt_z_abc has no kind"
    assert hide_tokens(text) == text
