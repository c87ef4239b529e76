"""`tokens.*` and `principals.*`"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from msgspec import Struct, field

from kaiju_tasks.api.caller import Caller
from kaiju_tasks.api.params import AuditReason
from kaiju_tasks.errors import Forbidden, InvalidParams
from kaiju_tasks.manager import Manager
from kaiju_tasks.manager.auth import (
    DAY,
    Issuer,
    TokenOrder,
    list_tokens,
    principal_info,
)
from kaiju_tasks.manager.auth.orders import Name, Overlap, PrincipalChanges, TokenId
from kaiju_tasks.manager.writing.changes import Written
from kaiju_tasks.rights import Kind, Principal, Scope, access, may_call
from kaiju_tasks.store.base import Transaction
from kaiju_tasks.types import AuditRecord, IssuedToken, Moment, PrincipalInfo, TokenInfo

T = TypeVar("T")


class CreateTokenParams(Struct, forbid_unknown_fields=True):
    """
    :param data: what the token is to be
    :param reason: why, for the audit
    """

    data: TokenOrder
    reason: AuditReason | None = None


class TokenParams(Struct, forbid_unknown_fields=True):
    """
    :param id: id of the token
    :param reason: why, for the audit
    """

    id: TokenId
    reason: AuditReason | None = None


class RotateParams(Struct, forbid_unknown_fields=True):
    """
    :param id: id of the token; by default, that of the caller
    :param overlap: seconds for which the old token remains valid
    :param reason: why, for the audit
    """

    id: TokenId | None = None
    overlap: Overlap = DAY
    reason: AuditReason | None = None


class PrincipalUpdateParams(Struct, forbid_unknown_fields=True):
    """
    :param id: name of the principal
    :param data: the changes
    :param reason: why, for the audit
    """

    id: Name
    data: PrincipalChanges
    reason: AuditReason | None = None


class QuotaUse(Struct, kw_only=True):
    """A quota of the caller.

    :param limit: the quota
    :param used: how much of it is used, as the manager knows it
    """

    limit: float
    used: float


class WhoAmI(Struct, kw_only=True):
    """The caller.

    :param principal: name of the principal; null if there are no tokens, so that everybody may do
        everything
    :param kind: kind of the principal; null if there are no tokens
    :param token_id: id of the token
    :param scope: what the token is limited to
    :param expires_at: time at which the token expires
    :param quotas: the quotas of the principal that limit it, by name: `open_tasks`,
        `creates_per_second` and `pauses`
    """

    principal: str | None
    kind: Kind | None
    token_id: str | None
    scope: Scope | None = None
    expires_at: Moment | None = None
    quotas: dict[str, QuotaUse] = field(default_factory=dict)


class TokensApi:
    """The methods on principals and tokens."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._store = manager.store

    async def whoami(self, caller: Caller) -> WhoAmI:
        """Return on whose behalf the caller calls, and with which token."""
        principal = caller.principal
        me = WhoAmI(principal=principal.id, kind=principal.kind, token_id=principal.token_id)
        if principal.token_id is not None:
            token = (await self._store.credential(principal.token_id)).token
            if token is not None:
                me.scope, me.expires_at = token.scope, token.expires_at
        me.quotas = await self._use_of(principal.id)
        return me

    async def _use_of(self, owner: str | None) -> dict[str, QuotaUse]:
        if owner is None:
            return {}
        uses = await self._manager.committer.accounts.uses(owner)
        if pauses := self._manager.pauses.use(owner):
            uses["pauses"] = pauses
        return {name: QuotaUse(limit=limit, used=used) for name, (limit, used) in uses.items()}

    async def create(self, caller: Caller, params: CreateTokenParams) -> IssuedToken:
        """Create a token, and its principal if that does not exist.

        Only this answer contains the token itself. The first token ends all access without a token.
        """
        return await self._changed(self._issuer(caller, params.reason).create(params.data))

    async def list(self, caller: Caller) -> "list_[TokenInfo]":
        """List all tokens in the order in which they were created, without their secrets."""
        return await list_tokens(self._store)

    async def rotate(self, caller: Caller, params: RotateParams) -> IssuedToken:
        """Replace a token by one with the same scope and lifetime.

        Everybody may rotate the own token. Only this answer contains the new token itself.
        """
        token_id = params.id or caller.principal.token_id
        if token_id is None:
            raise InvalidParams("`id` is required: you have no token", field="id")
        maker = caller.principal
        if token_id == maker.token_id:
            maker = Principal(maker.id, kind=None)
        elif not may_call(maker, access.MANAGE):
            raise Forbidden("your token does not allow to rotate other tokens")
        return await self._changed(
            self._issuer(caller, params.reason, maker).rotate(token_id, params.overlap)
        )

    async def revoke(self, caller: Caller, params: TokenParams) -> TokenInfo:
        """Refuse a token from now on.

        All managers do so within 3 seconds, close its connections, and return the tasks of its
        executors to their streams.
        """
        return await self._changed(self._issuer(caller, params.reason).revoke(params.id))

    async def list_principals(self, caller: Caller) -> "list_[PrincipalInfo]":
        """List all principals by name."""
        return [principal_info(one) for one in await self._store.principals()]

    async def update_principal(
        self, caller: Caller, params: PrincipalUpdateParams
    ) -> PrincipalInfo:
        """Disable a principal with `disabled` true, enable it again, or set its quotas.

        All tokens of a disabled principal are refused, and its tasks are held before their next
        stage, as by a pause. A quota below what is used ends nothing: it refuses more.
        """
        issuer = self._issuer(caller, params.reason)
        return await self._changed(issuer.update(params.id, params.data))

    def _issuer(self, caller: Caller, reason: str | None, maker: Principal | None = None) -> Issuer:
        """:param maker: on whose behalf; None for the caller"""
        dice = self._manager.dice

        def record(action: str, target: str | None = None, /, **data: object) -> AuditRecord:
            return caller.audit(dice.new_id(), action, target, reason=reason, **data)

        return Issuer(self._transact, dice.secret, maker or caller.principal, record)

    async def _transact(self, work: Callable[[Transaction], Awaitable[T]], /) -> T:
        async def written(tx: Transaction) -> Written[T]:
            return Written(await work(tx), [])

        return await self._manager.committer.transact(written)

    async def _changed(self, change: Awaitable[T]) -> T:
        """Make a change known to this manager at once, and to the others soon."""
        result = await change
        self._manager.auth.changed()
        self._manager.committer.accounts.changed()
        self._manager.wakes.tokens()
        return result


list_ = list
