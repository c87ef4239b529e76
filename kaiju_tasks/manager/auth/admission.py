"""The outcome of an authentication."""

from msgspec import Struct

from kaiju_tasks.rights import (
    EVERYTHING,
    NOBODY,
    Principal,
    Scope,
    TokenParts,
    same_hash,
)
from kaiju_tasks.store.credentials import Credential, acting, acting_in_runs

__all__ = ["REFUSAL", "Admission", "admit", "admit_without_token", "is_valid", "principal_of_run"]


REFUSAL = "a valid token is required, in the header `Authorization: Bearer`"
"""The same text whatever is wrong: it must not help to guess."""


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
    if not is_valid(known) or principal.kind is not parts.kind:
        return None
    return Admission(
        acting(principal, token),
        known.revision,
        parts,
        token.expires_at,
        token.scope,
    )


def is_valid(known: Credential) -> bool:
    """Whether a token may be used now."""
    token, principal = known.token, known.principal
    if token is None or principal is None:
        return False
    return not token.ended(known.now) and principal.disabled_at is None


def principal_of_run(known: Credential) -> Principal:
    """On whose behalf a run acts: its owner, with the rights that the owner has now and that the
    token had that created the task. The token itself may have ended since.

    :param known: what the store knows about that token
    """
    token, principal = known.token, known.principal
    if token is None or principal is None or principal.disabled_at is not None:
        return NOBODY
    return acting_in_runs(principal, token)


def admit_without_token(known: Credential) -> Admission | None:
    """Admit a caller without a token: as long as no token exists, everybody may do everything."""
    return None if known.any_tokens else Admission(EVERYTHING, known.revision)
