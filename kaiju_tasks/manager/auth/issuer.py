"""Creates, rotates and revokes tokens, each in one transaction with its audit record."""

from collections.abc import Awaitable, Callable
from copy import copy
from typing import Protocol, TypeVar

from kaiju_tasks.errors import Conflict, Forbidden, InvalidParams, NotFound, Unauthorized
from kaiju_tasks.lifecycle import owner_pause, owner_pause_id
from kaiju_tasks.manager.auth.admission import REFUSAL
from kaiju_tasks.manager.auth.orders import PrincipalChanges, QuotaChanges, TokenOrder
from kaiju_tasks.manager.auth.views import principal_info, token_info
from kaiju_tasks.rights import (
    Kind,
    Principal,
    Scope,
    TokenParts,
    new_token,
    read_token,
    rights_of,
)
from kaiju_tasks.store.base import Transaction
from kaiju_tasks.store.credentials import StoredPrincipal, StoredToken
from kaiju_tasks.types import AuditRecord, IssuedToken, PrincipalInfo, TokenInfo

T = TypeVar("T")


class Transact(Protocol):
    """Runs a transaction, again after a conflict or an outage."""

    def __call__(self, work: Callable[[Transaction], Awaitable[T]], /) -> Awaitable[T]: ...


class MakeRecord(Protocol):
    """Makes an audit record of an action; see `Caller.audit`."""

    def __call__(
        self, action: str, target: str | None = None, /, **data: object
    ) -> AuditRecord: ...


class Issuer:
    """Issues tokens on behalf of one principal, which never gives more than it has.

    :param transact: runs a transaction
    :param random_bytes: a source of secrets, such as `os.urandom`
    :param maker: on whose behalf
    :param record: makes the audit records
    """

    def __init__(
        self,
        transact: Transact,
        random_bytes: Callable[[int], bytes],
        maker: Principal,
        record: MakeRecord,
    ) -> None:
        self._transact = transact
        self._random_bytes = random_bytes
        self._maker = maker
        self._record = record

    async def create(self, order: TokenOrder) -> IssuedToken:
        """Create a token, and its principal if that does not exist.

        :raises InvalidParams: a new principal without a kind
        :raises Conflict: the principal has another kind, or is disabled
        :raises Forbidden: the token would have rights that the maker does not have
        """
        texts = {kind: self._new(kind) for kind in ([order.kind] if order.kind else Kind)}
        record = self._record("tokens.create")

        async def work(tx: Transaction) -> IssuedToken:
            await tx.lock_tokens()
            principal = await tx.principal(order.principal)
            if principal is None:
                principal = self._new_principal(order, tx.now)
                await tx.put_principal(principal)
            self._check_order(order, principal)
            ends = await self._end_of_maker(tx)
            text, parts = texts[principal.kind]
            token = StoredToken(
                id=parts.id,
                principal_id=principal.id,
                scope=order.scope,
                hash=parts.hash,
                note=order.note,
                created=tx.now,
                created_by=self._maker.id,
                expires_at=_within(ends, tx.now + order.lifetime_of(principal.kind), order),
            )
            await tx.put_token(token)
            record.target = token.id
            record.data |= {"principal": principal.id, "kind": principal.kind}
            await tx.add_audit([record])
            return _issued(text, token, principal)

        return await self._transact(work)

    async def rotate(self, token_id: str, overlap: float) -> IssuedToken:
        """Replace a token by one with the same scope and lifetime.

        :param overlap: seconds for which the old token remains valid
        :raises NotFound: no such token
        :raises Conflict: the token has ended or has a successor, or its principal is disabled
        :raises Forbidden: the token has rights that the maker does not have
        """
        texts = {kind: self._new(kind) for kind in Kind}
        record = self._record("tokens.rotate", token_id, overlap=overlap)

        async def work(tx: Transaction) -> IssuedToken:
            await tx.lock_tokens()
            old, principal = await self._find(tx, token_id)
            text, parts = texts[principal.kind]
            if old.successor != parts.id:  # otherwise a try whose outcome was unknown has done it
                self._check_rotation(old, principal, tx.now)
            ends = await self._end_of_maker(tx)
            new = StoredToken(
                id=parts.id,
                principal_id=principal.id,
                scope=old.scope,
                hash=parts.hash,
                note=old.note,
                created=tx.now,
                created_by=self._maker.id,
                expires_at=_within(ends, tx.now + (old.expires_at - old.created)),
            )
            await tx.put_token(new)
            old.successor = new.id
            old.expires_at = min(old.expires_at, tx.now + overlap)
            await tx.put_token(old)
            record.data["successor"] = new.id
            await tx.add_audit([record])
            return _issued(text, new, principal)

        return await self._transact(work)

    async def revoke(self, token_id: str) -> TokenInfo:
        """Refuse a token from now on. A token that was revoked earlier stays as it is.

        :raises NotFound: no such token
        :raises Forbidden: the token has rights that the maker does not have
        """
        record = self._record("tokens.revoke", token_id)

        async def work(tx: Transaction) -> TokenInfo:
            await tx.lock_tokens()
            token, principal = await self._find(tx, token_id)
            if token.revoked_at is None:
                token.revoked_at = tx.now
                await tx.put_token(token)
                await tx.add_audit([record])
            return token_info(token, principal.kind)

        return await self._transact(work)

    async def update(self, principal_id: str, changes: PrincipalChanges) -> PrincipalInfo:
        """Refuse all tokens of a principal and hold its tasks, or accept and release them again; or
        set its quotas.

        :raises InvalidParams: there is no change
        :raises NotFound: no such principal
        :raises Forbidden: the principal has rights that the maker does not have
        """
        details: dict[str, object] = {}
        if isinstance(changes.disabled, bool):
            details["disabled"] = changes.disabled
        if isinstance(changes.quotas, QuotaChanges):
            details["quotas"] = changes.quotas.given()
        if not details:
            raise InvalidParams("`data` must have `disabled` or `quotas`", field="data")
        record = self._record("principals.update", principal_id, **details)

        async def work(tx: Transaction) -> PrincipalInfo:
            await tx.lock_tokens()
            principal = await tx.principal(principal_id)
            if principal is None:
                raise NotFound(f"there is no principal {principal_id!r:.100}", id=principal_id)
            self._check_excess(principal.kind, principal.scope)
            old = copy(principal)
            if isinstance(changes.quotas, QuotaChanges):
                principal.quotas = changes.quotas.of(principal.quotas)
            if isinstance(changes.disabled, bool):
                await self._disable(tx, principal, changes.disabled)
            if principal != old:
                await tx.put_principal(principal)
                await tx.add_audit([record])
            return principal_info(principal)

        return await self._transact(work)

    async def _disable(self, tx: Transaction, principal: StoredPrincipal, disabled: bool) -> None:
        if (principal.disabled_at is not None) == disabled:
            return
        principal.disabled_at = tx.now if disabled else None
        if disabled:
            await tx.put_pause(owner_pause(principal.id, self._maker.id, tx.now))
        else:
            await tx.delete_pause(owner_pause_id(principal.id))

    async def _end_of_maker(self, tx: Transaction) -> float | None:
        """The time at which the token of the maker ends; None if it makes tokens without one.

        :raises Unauthorized: it has ended since the maker was admitted
        """
        if self._maker.token_id is None:
            return None
        token = await tx.token(self._maker.token_id)
        if token is None or token.ended(tx.now):
            raise Unauthorized(REFUSAL)
        return token.expires_at

    def _new(self, kind: Kind) -> tuple[str, TokenParts]:
        text = new_token(kind, self._random_bytes)
        parts = read_token(text)
        assert parts is not None
        return text, parts

    def _new_principal(self, order: TokenOrder, now: float) -> StoredPrincipal:
        if order.kind is None:
            raise InvalidParams(
                f"there is no principal {order.principal!r:.100}; to create it, `kind` is required",
                field="kind",
            )
        return StoredPrincipal(
            id=order.principal,
            kind=order.kind,
            scope=Scope(),
            created=now,
            created_by=self._maker.id,
        )

    def _check_order(self, order: TokenOrder, principal: StoredPrincipal) -> None:
        if order.kind not in (None, principal.kind):
            raise Conflict(
                f"the principal {principal.id!r:.100} is of the kind `{principal.kind}`, and a "
                "kind never changes: use another name",
                field="kind",
            )
        _refuse_disabled(principal)
        self._check_excess(principal.kind, order.scope)

    def _check_rotation(self, old: StoredToken, principal: StoredPrincipal, now: float) -> None:
        if old.successor is not None:
            raise Conflict(f"the token {old.id} already has the successor {old.successor}")
        if old.ended(now):
            raise Conflict(f"the token {old.id} is revoked or has expired: create another one")
        _refuse_disabled(principal)

    async def _find(self, tx: Transaction, token_id: str) -> tuple[StoredToken, StoredPrincipal]:
        token = await tx.token(token_id)
        principal = None if token is None else await tx.principal(token.principal_id)
        if token is None or principal is None:
            raise NotFound(f"there is no token {token_id!r:.100}", id=token_id)
        self._check_excess(principal.kind, token.scope)
        return token, principal

    def _check_excess(self, kind: Kind, scope: Scope) -> None:
        limit = self._maker.excess(rights_of(kind, scope))
        if limit is not None:
            raise Forbidden(
                f"this exceeds your own rights: `{limit}` of the token must be within yours",
                limit=limit,
            )


def _within(ends: float | None, expires_at: float, order: TokenOrder | None = None) -> float:
    """The time at which a token expires: not after the token that makes it.

    :param ends: when that expires; None for no limit
    :param order: that asks for the token
    :raises Forbidden: it asks for a longer lifetime
    """
    if ends is None or expires_at <= ends:
        return expires_at
    if order is not None and order.lifetime is not None:
        raise Forbidden(
            "this exceeds your own rights: the token must not live longer than yours",
            limit="lifetime",
            field="lifetime",
        )
    return ends


def _refuse_disabled(principal: StoredPrincipal) -> None:
    if principal.disabled_at is not None:
        raise Conflict(f"the principal {principal.id!r:.100} is disabled")


def _issued(text: str, token: StoredToken, principal: StoredPrincipal) -> IssuedToken:
    info = token_info(token, principal.kind)
    return IssuedToken(**{name: getattr(info, name) for name in info.__struct_fields__}, token=text)
