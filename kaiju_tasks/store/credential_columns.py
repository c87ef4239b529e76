"""Converts between database columns and principals and tokens, for both stores."""

from collections.abc import Sequence
from typing import Any

import msgspec

from kaiju_tasks.rights import Kind, Quotas, Scope
from kaiju_tasks.rights.scope import NOTHING_SCOPE
from kaiju_tasks.store.columns import log_once
from kaiju_tasks.store.credentials import Credential, StoredPrincipal, StoredToken, TokenUse

_encode = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.Decoder(Scope).decode
_decode_quotas = msgspec.json.Decoder(Quotas).decode

_PRINCIPAL = tuple(StoredPrincipal.__struct_fields__)
_TOKEN = tuple(StoredToken.__struct_fields__)


def principal_values(principal: StoredPrincipal) -> tuple[Any, ...]:
    """The values of a principal, in the order of StoredPrincipal."""
    fields = msgspec.structs.asdict(principal)
    texts = {"scope": _text(principal.scope), "quotas": _quotas_text(principal.quotas)}
    return tuple({**fields, "kind": str(principal.kind), **texts}.values())


def token_values(token: StoredToken) -> tuple[Any, ...]:
    """The values of a token, in the order of StoredToken."""
    fields = msgspec.structs.asdict(token)
    return tuple({**fields, "scope": _text(token.scope), "hash": token.hash.hex()}.values())


def principal_of(values: Sequence[Any]) -> StoredPrincipal:
    """:param values: in the order of StoredPrincipal"""
    fields = dict(zip(_PRINCIPAL, values, strict=True))
    fields["scope"] = _scope("principal", fields["id"], fields["scope"])
    fields["quotas"] = _quotas(fields["id"], fields["quotas"])
    try:
        fields["kind"] = Kind(fields["kind"])
    except ValueError:  # it may be one of a later version
        log_once("the kind of the principal %s is unknown: %.100r", fields["id"], fields["kind"])
        fields["kind"], fields["scope"] = Kind.VIEWER, NOTHING_SCOPE
    return StoredPrincipal(**fields)


def token_of(values: Sequence[Any]) -> StoredToken:
    """:param values: in the order of StoredToken"""
    fields = dict(zip(_TOKEN, values, strict=True))
    fields["scope"] = _scope("token", fields["id"], fields["scope"])
    fields["hash"] = _hash(fields["id"], fields["hash"])
    return StoredToken(**fields)


def _hash(token_id: str, text: str) -> bytes:
    """A hash that cannot be read fits no secret."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        log_once("the hash of the token %s cannot be read", token_id)
        return b""


def used_token_of(values: Sequence[Any]) -> tuple[StoredToken, TokenUse | None]:
    """:param values: of a token, then time and address of its last use"""
    *columns, at, remote = values
    token = token_of(columns)
    return token, None if at is None else TokenUse(token.id, at, remote)


def credential_of(now: float, values: Sequence[Any]) -> Credential:
    """:param values: revision, whether there are tokens, then the values of a principal and of a
    token, null if there is none
    """
    revision, any_tokens, *columns = values
    principal, token = columns[: len(_PRINCIPAL)], columns[len(_PRINCIPAL) :]
    return Credential(
        now,
        revision,
        bool(any_tokens),
        None if token[0] is None else token_of(token),
        None if principal[0] is None else principal_of(principal),
    )


def _text(scope: Scope) -> str:
    return _encode(scope).decode()


def _scope(kind: str, id_: str, text: str) -> Scope:
    """A scope that cannot be read allows nothing: it may have limits of a later version."""
    try:
        return _decode(text)
    except msgspec.DecodeError as error:
        log_once("the scope of the %s %s cannot be read: %s", kind, id_, error)
        return NOTHING_SCOPE


def _quotas_text(quotas: Quotas) -> str | None:
    """None if all are those of the settings."""
    return None if quotas == Quotas() else _encode(quotas).decode()


def _quotas(principal_id: str, text: str | None) -> Quotas:
    """Quotas that cannot be read are those of the settings."""
    try:
        return Quotas() if text is None else _decode_quotas(text)
    except msgspec.DecodeError as error:
        log_once("the quotas of the principal %s cannot be read: %s", principal_id, error)
        return Quotas()
