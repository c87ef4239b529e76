"""The outcome of an authentication."""

from msgspec import Struct

from kaiju_tasks.rights import EVERYTHING, Principal, Scope, TokenParts, rights_of, same_hash
from kaiju_tasks.store.credentials import Credential

__all__ = ["Admission", "admit", "admit_without_token"]


class Admission(Struct, frozen=True):
    """A caller that was admitted, until something about tokens changes.

    :param parts: the token; None for a caller without one
    :param expires_at: UNIX seconds; None if the admission does not expire
    :param revision: the revision of principals and tokens on which it is based
    :param scope: what the token is limited to
    """

    principal: Principal
    revision: int
    parts: TokenParts | None = None
    expires_at: float | None = None
    scope: Scope = Scope()

    def expired(self, now: float) -> bool:
        """:param now: the store's clock"""
        return self.expires_at is not None and self.expires_at <= now


def admit(parts: TokenParts, known: Credential) -> Admission | None:
    """Admit a token, or refuse it with None.

    :param known: what the store knows about it
    """
    token, principal = known.token, known.principal
    same = same_hash(parts.hash, None if token is None else token.hash)
    if token is None or principal is None or not same:
        return None
    if token.ended(known.now) or principal.disabled_at is not None:
        return None
    if principal.kind is not parts.kind:
        return None
    limits = {rights_of(principal.kind, scope): None for scope in (principal.scope, token.scope)}
    return Admission(
        Principal(principal.id, principal.kind, tuple(limits), token.id),
        known.revision,
        parts,
        token.expires_at,
        token.scope,
    )


def admit_without_token(known: Credential) -> Admission | None:
    """Admit a caller without a token: as long as no token exists, everybody may do everything."""
    return None if known.any_tokens else Admission(EVERYTHING, known.revision)
