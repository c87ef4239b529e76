"""Principals and tokens as they are stored."""

from msgspec import Struct
from msgspec.structs import replace

from kaiju_tasks.rights import Kind, Principal, Quotas, Scope, most_of, rights_of

__all__ = ["Credential", "StoredPrincipal", "StoredToken", "TokenUse", "acting"]


class StoredPrincipal(Struct, kw_only=True):
    """A principal. Times are UNIX seconds.

    :param id: its name, which owns tasks and is in the audit; it never changes
    :param scope: what all its tokens are limited to
    :param created_by: the principal that created it; None if it was created in the database
    :param disabled_at: since when its tokens are refused; None if they are not
    :param quotas: those that differ from the settings
    """

    id: str
    kind: Kind
    scope: Scope
    created: float
    created_by: str | None = None
    disabled_at: float | None = None
    quotas: Quotas = Quotas()


class StoredToken(Struct, kw_only=True):
    """A token without its secret. Times are UNIX seconds.

    :param hash: SHA-256 of the whole token
    :param scope: what this token is limited to, in addition to its principal's scope
    :param note: what it is for, for people
    :param successor: the id of the token that replaces it
    """

    id: str
    principal_id: str
    scope: Scope
    hash: bytes
    note: str | None = None
    created: float
    created_by: str | None = None
    expires_at: float
    revoked_at: float | None = None
    successor: str | None = None

    def ended(self, now: float) -> bool:
        """Whether it is revoked or has expired.

        :param now: the store's clock
        """
        return self.revoked_at is not None or self.expires_at <= now


class Credential(Struct, frozen=True):
    """What the store knows about a token that was presented.

    :param now: the store's clock
    :param revision: the revision of all principals and tokens
    :param any_tokens: whether any token was ever made
    :param token: None if there is no such token
    """

    now: float
    revision: int
    any_tokens: bool
    token: StoredToken | None = None
    principal: StoredPrincipal | None = None


def acting(principal: StoredPrincipal, token: StoredToken) -> Principal:
    """A principal as one of its tokens acts for it, whether it is valid now or not."""
    kind = principal.kind
    limits = (most_of(kind, principal.scope), rights_of(kind, token.scope))
    return Principal(principal.id, kind, limits, token.id)


def acting_in_runs(owner: StoredPrincipal, token: StoredToken) -> Principal:
    """On whose behalf the runs of a task act: its owner, as the token acts that created the task.

    The runs of a schedule that an executor has declared reach what those of a user reach: the
    executor itself reaches no tasks.
    """
    found = acting(owner, token)
    return replace(found, kind=Kind.USER) if found.kind is Kind.EXECUTOR else found


class TokenUse(Struct, frozen=True):
    """The last use of a token.

    :param at: UNIX seconds
    :param remote: the address that it was used from
    """

    token_id: str
    at: float
    remote: str | None
