"""Tokens are created, rotated and revoked: what is stored, what is refused, what is audited."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import pytest

from kaiju_tasks.errors import Conflict, Forbidden, InvalidParams, NotFound, Unauthorized
from kaiju_tasks.manager.auth import (
    DAY,
    HOUR,
    Issuer,
    PrincipalChanges,
    TokenOrder,
    database_issuer,
    list_tokens,
)
from kaiju_tasks.rights import ALL_SIGHT, Kind, Principal, Scope, Verb, read_token, rights_of
from kaiju_tasks.store import PageQuery, Store, Transaction
from kaiju_tasks.store.open import make_store
from kaiju_tasks.types import AuditRecord
from tests.support.clock import HandClock

T = TypeVar("T")
ADMIN = Principal("root", Kind.ADMIN, (rights_of(Kind.ADMIN),))


@pytest.fixture
def clock() -> HandClock:
    return HandClock(1_000_000.0)


@pytest.fixture
async def store(clock: HandClock) -> AsyncIterator[Store]:
    made = make_store("sqlite://:memory:", clock=clock, inline=True)
    await made.open()
    yield made
    await made.close()


@pytest.fixture
def issuer(store: Store) -> Issuer:
    return issuer_of(store, ADMIN)


def issuer_of(store: Store, maker: Principal, *, tries: int = 1) -> Issuer:
    """An issuer whose transactions are run several times, as after commits of unknown outcome."""
    ids = iter(range(1000))

    async def transact(work: Callable[[Transaction], Awaitable[T]], /) -> T:
        for _ in range(tries - 1):
            async with store.transaction() as tx:
                await work(tx)
        async with store.transaction() as tx:
            return await work(tx)

    def record(action: str, target: str | None = None, /, **data: object) -> AuditRecord:
        return AuditRecord(
            id=f"{maker.id}-{next(ids)}", user_id=maker.id, remote="10.0.0.1", action=action,
            target=target, data=data,
        )  # fmt: skip

    secrets = iter(range(1000))

    def random_bytes(size: int) -> bytes:
        return f"{maker.id}{next(secrets)}".encode().ljust(size, b"-")[::-1][:size]

    return Issuer(transact, random_bytes, maker, record)


def order(principal: str = "ann", kind: Kind | None = Kind.USER, **fields: Any) -> TokenOrder:
    return TokenOrder(principal=principal, kind=kind, **fields)


async def actions(store: Store) -> list[tuple[str, str | None]]:
    records, _ = await store.audit(PageQuery(sort=[("at", False)]), ALL_SIGHT)
    return [(one.action, one.target) for one in records]


async def test_a_token_is_stored_as_its_hash(
    store: Store, issuer: Issuer, clock: HandClock
) -> None:
    issued = await issuer.create(order(scope=Scope(streams=("billing",)), note="CI"))
    parts = read_token(issued.token)
    assert parts is not None
    assert (parts.id, parts.kind) == (issued.id, Kind.USER)
    ((stored, _),) = await store.tokens()
    assert stored.hash == parts.hash
    assert (stored.principal_id, stored.note, stored.created_by) == ("ann", "CI", "root")
    assert stored.expires_at == clock.now + 90 * DAY
    (principal,) = await store.principals()
    assert (principal.id, principal.kind, principal.scope) == ("ann", Kind.USER, Scope())
    assert await actions(store) == [("tokens.create", issued.id)]


async def test_lifetimes_are_of_the_kind_unless_they_are_given(
    store: Store, issuer: Issuer, clock: HandClock
) -> None:
    executor = await issuer.create(order("e", Kind.EXECUTOR))
    short = await issuer.create(order(lifetime=HOUR))
    assert executor.expires_at == clock.now + 365 * DAY
    assert short.expires_at == clock.now + HOUR


async def test_a_principal_has_many_tokens_of_one_kind(store: Store, issuer: Issuer) -> None:
    first = await issuer.create(order())
    second = await issuer.create(order(kind=None))
    assert first.id != second.id
    assert second.kind is Kind.USER
    with pytest.raises(Conflict, match="a kind never changes"):
        await issuer.create(order(kind=Kind.ADMIN))
    with pytest.raises(InvalidParams, match="`kind` is required"):
        await issuer.create(order("bob", None))
    assert len(await store.principals()) == 1


@pytest.mark.parametrize(
    ("scope", "limit"),
    [
        (Scope(), "streams"),
        (Scope(streams=("billing", "orders")), "streams"),
        (Scope(streams=("billing",), webhook_hosts=("*",)), None),
        (Scope(streams=("billing",)), None),
    ],
)
async def test_nobody_gives_more_than_he_has(store: Store, scope: Scope, limit: str | None) -> None:
    rights = rights_of(Kind.ADMIN, Scope(streams=("billing",)))
    limited = issuer_of(store, Principal("lead", Kind.ADMIN, (rights,)))
    if limit is None:
        await limited.create(order(scope=scope))
        return
    with pytest.raises(Forbidden) as refused:
        await limited.create(order(scope=scope))
    assert refused.value.data["limit"] == limit
    assert await store.principals() == []
    assert await actions(store) == []


async def test_tokens_of_more_rights_cannot_be_touched(store: Store, issuer: Issuer) -> None:
    strong = await issuer.create(order("root2", Kind.ADMIN))
    rights = rights_of(Kind.ADMIN, Scope(verbs=(Verb.MANAGE,)))
    limited = issuer_of(store, Principal("lead", Kind.ADMIN, (rights,)))
    for refused in (
        limited.revoke(strong.id),
        limited.rotate(strong.id, HOUR),
        limited.update("root2", PrincipalChanges(disabled=True)),
    ):
        with pytest.raises(Forbidden):
            await refused
    ((stored, _),) = await store.tokens()
    assert (stored.revoked_at, stored.successor) == (None, None)


async def test_a_rotated_token_lives_on_for_the_overlap(
    store: Store, issuer: Issuer, clock: HandClock
) -> None:
    old = await issuer.create(order(scope=Scope(streams=("a",)), note="n", lifetime=10 * DAY))
    clock.now += 4 * DAY
    new = await issuer.rotate(old.id, HOUR)
    assert (new.principal, new.scope, new.note) == ("ann", old.scope, "n")
    assert new.expires_at == clock.now + 10 * DAY
    stored = {one.id: one for one, _ in await store.tokens()}
    assert stored[old.id].successor == new.id
    assert stored[old.id].expires_at == clock.now + HOUR
    assert not stored[old.id].ended(clock.now + HOUR - 1)
    assert stored[old.id].ended(clock.now + HOUR)
    with pytest.raises(Conflict, match="already has the successor"):
        await issuer.rotate(old.id, HOUR)
    assert (await actions(store))[-1] == ("tokens.rotate", old.id)


async def test_an_overlap_never_lengthens_a_life(
    store: Store, issuer: Issuer, clock: HandClock
) -> None:
    old = await issuer.create(order(lifetime=HOUR))
    await issuer.rotate(old.id, 30 * DAY)
    stored = {one.id: one for one, _ in await store.tokens()}
    assert stored[old.id].expires_at == old.expires_at


async def test_what_has_ended_is_not_rotated(
    store: Store, issuer: Issuer, clock: HandClock
) -> None:
    revoked, expired = [await issuer.create(order(lifetime=HOUR)) for _ in range(2)]
    await issuer.revoke(revoked.id)
    with pytest.raises(Conflict, match="revoked or has expired"):
        await issuer.rotate(revoked.id, HOUR)
    clock.now += HOUR
    with pytest.raises(Conflict, match="revoked or has expired"):
        await issuer.rotate(expired.id, HOUR)


async def test_a_revocation_keeps_its_first_moment(
    store: Store, issuer: Issuer, clock: HandClock
) -> None:
    issued = await issuer.create(order())
    first = await issuer.revoke(issued.id)
    assert first.revoked_at == clock.now
    clock.now += 5
    assert (await issuer.revoke(issued.id)).revoked_at == first.revoked_at
    assert await actions(store) == [("tokens.create", issued.id), ("tokens.revoke", issued.id)]


async def test_a_disabled_principal_gets_no_tokens(
    store: Store, issuer: Issuer, clock: HandClock
) -> None:
    issued = await issuer.create(order())
    assert (await issuer.update("ann", PrincipalChanges(disabled=True))).disabled_at == clock.now
    for refused in (issuer.create(order()), issuer.rotate(issued.id, HOUR)):
        with pytest.raises(Conflict, match="is disabled"):
            await refused
    assert (await issuer.update("ann", PrincipalChanges(disabled=False))).disabled_at is None
    await issuer.create(order())


async def test_what_does_not_exist_is_not_found(issuer: Issuer) -> None:
    for missing in (
        issuer.revoke("x"),
        issuer.rotate("x", 1.0),
        issuer.update("x", PrincipalChanges(disabled=True)),
    ):
        with pytest.raises(NotFound):
            await missing


async def test_a_repeated_transaction_makes_one_token(store: Store) -> None:
    repeated = issuer_of(store, ADMIN, tries=3)
    issued = await repeated.create(order())
    rotated = await repeated.rotate(issued.id, HOUR)
    await repeated.revoke(rotated.id)
    stored = {one.id: one for one, _ in await store.tokens()}
    assert stored.keys() == {issued.id, rotated.id}
    parts = read_token(rotated.token)
    assert parts is not None
    assert stored[rotated.id].hash == parts.hash
    assert len(await actions(store)) == 3


async def test_a_database_is_its_own_administrator(store: Store) -> None:
    issued = await database_issuer(store).create(order("root", Kind.ADMIN))
    (listed,) = await list_tokens(store)
    assert (listed.id, listed.created_by) == (issued.id, None)
    (record,), _ = await store.audit(PageQuery(), ALL_SIGHT)
    assert (record.user_id, record.remote) == (None, "database")


async def test_no_token_lives_longer_than_the_one_that_makes_it(
    store: Store, issuer: Issuer, clock: HandClock
) -> None:
    short = await issuer.create(order("root", Kind.ADMIN, lifetime=HOUR))
    maker = Principal("root", Kind.ADMIN, (rights_of(Kind.ADMIN),), short.id)
    limited = issuer_of(store, maker)
    made = await limited.create(order())
    assert made.expires_at == short.expires_at
    with pytest.raises(Forbidden) as refused:
        await limited.create(order(lifetime=DAY))
    assert refused.value.data["field"] == "lifetime"
    long = await issuer.create(order("bob"))
    rotated = await limited.rotate(long.id, 0)
    assert rotated.expires_at == short.expires_at
    clock.now += 2 * HOUR
    with pytest.raises(Unauthorized):
        await limited.create(order())
