"""Shows principals and tokens as public types."""

from kaiju_tasks.rights import Kind
from kaiju_tasks.store.credentials import StoredPrincipal, StoredToken, TokenUse
from kaiju_tasks.types import PrincipalInfo, TokenInfo


def principal_info(stored: StoredPrincipal) -> PrincipalInfo:
    return PrincipalInfo(
        id=stored.id,
        kind=stored.kind,
        scope=stored.scope,
        created=stored.created,
        created_by=stored.created_by,
        disabled_at=stored.disabled_at,
        quotas=stored.quotas,
    )


def token_info(stored: StoredToken, kind: Kind, use: TokenUse | None = None) -> TokenInfo:
    """:param kind: of the token's principal"""
    return TokenInfo(
        id=stored.id,
        principal=stored.principal_id,
        kind=kind,
        scope=stored.scope,
        note=stored.note,
        created=stored.created,
        created_by=stored.created_by,
        expires_at=stored.expires_at,
        revoked_at=stored.revoked_at,
        successor=stored.successor,
        last_used=None if use is None else use.at,
        last_remote=None if use is None else use.remote,
    )
