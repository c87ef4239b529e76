"""Principals and tokens, as they are kept: both stores."""

import asyncio
from typing import Any

import pytest

from kaiju_tasks.rights import Kind, Quotas, Scope, Verb
from kaiju_tasks.store import Store, StoreError
from kaiju_tasks.store.credentials import StoredPrincipal, StoredToken, TokenUse
from kaiju_tasks.store.open import make_store

HASH = bytes(range(32))


def principal(id: str = "ann", **fields: Any) -> StoredPrincipal:
    defaults: dict[str, Any] = {"kind": Kind.USER, "scope": Scope(), "created": 1.5}
    return StoredPrincipal(id=id, **{**defaults, **fields})


def token(id: str = "t", **fields: Any) -> StoredToken:
    defaults: dict[str, Any] = {
        "principal_id": "ann",
        "scope": Scope(),
        "hash": HASH,
        "created": 2.5,
        "expires_at": 9e9,
    }
    return StoredToken(id=id, **{**defaults, **fields})


async def put(store: Store, *rows: StoredPrincipal | StoredToken) -> None:
    async with store.transaction() as tx:
        await tx.lock_tokens()
        for row in rows:
            if isinstance(row, StoredPrincipal):
                await tx.put_principal(row)
            else:
                await tx.put_token(row)


async def test_an_empty_store_knows_no_tokens(store: Store) -> None:
    before = await store.now()
    known = await store.credential("t")
    assert before <= known.now <= await store.now()
    assert (known.revision, known.any_tokens, known.token, known.principal) == (
        0,
        False,
        None,
        None,
    )
    assert (await store.credential(None)).revision == 0
    assert await store.principals() == []
    assert await store.tokens() == []


async def test_principals_and_tokens_come_back_as_they_were(store: Store) -> None:
    ann = principal(
        scope=Scope(streams=("billing.*", "é"), verbs=(Verb.READ,), see_data=False, capacity=3),
        created_by="root",
        disabled_at=7.5,
        quotas=Quotas(open_tasks=0, creates_per_second=0.5),
    )
    one = token(
        scope=Scope(methods=()),
        note="für CI",
        created_by="root",
        revoked_at=3.5,
        successor="u",
    )
    await put(store, ann, one)
    known = await store.credential("t")
    assert (known.token, known.principal, known.any_tokens) == (one, ann, True)
    assert await store.principals() == [ann]
    assert await store.tokens() == [(one, None)]
    async with store.transaction() as tx:
        assert (await tx.principal("ann"), await tx.token("t")) == (ann, one)
        assert (await tx.principal("bob"), await tx.token("x")) == (None, None)
        assert (await tx.principal("a\0"), await tx.token("\ud800")) == (None, None)


async def test_of_a_token_only_what_may_change_is_changed(store: Store) -> None:
    await put(store, principal(), token())
    changed = token(
        hash=bytes(32),
        principal_id="bob",
        scope=Scope(streams=("x",)),
        created=9.0,
        note="n",
        expires_at=100.0,
        revoked_at=50.0,
        successor="u",
    )
    await put(store, changed)
    expected = token(note="n", expires_at=100.0, revoked_at=50.0, successor="u")
    assert await store.tokens() == [(expected, None)]


async def test_of_a_principal_only_what_may_change_is_changed(store: Store) -> None:
    await put(store, principal())
    await put(
        store,
        principal(
            kind=Kind.ADMIN,
            scope=Scope(streams=()),
            created=9,
            disabled_at=4.0,
            quotas=Quotas(pauses=1),
        ),
    )
    expected = principal(scope=Scope(streams=()), disabled_at=4.0, quotas=Quotas(pauses=1))
    assert await store.principals() == [expected]
    await put(store, principal())
    assert await store.principals() == [principal()]


async def test_every_change_raises_the_revision(store: Store) -> None:
    revisions = [(await store.credential(None)).revision]
    for row in (principal(), token(), token(revoked_at=3.0), principal(disabled_at=4.0)):
        await put(store, row)
        revisions.append((await store.credential(None)).revision)
        assert (await store.work_summary()).tokens_revision == revisions[-1]
    assert revisions == [0, 1, 2, 3, 4]


async def test_a_change_that_fails_changes_nothing(store: Store) -> None:
    async def fail() -> None:
        async with store.transaction() as tx:
            await tx.lock_tokens()
            await tx.put_token(token())
            raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        await fail()
    known = await store.credential("t")
    assert (known.revision, known.any_tokens) == (0, False)


async def test_changes_wait_for_each_other(store_url: str) -> None:
    stores = [make_store(store_url) for _ in range(1 if store_url.startswith("sqlite") else 2)]
    for store in stores:
        await store.open()

    async def count(store: Store) -> None:
        async with store.transaction() as tx:
            await tx.lock_tokens()
            found = await tx.principal("ann")
            created = 1.0 if found is None else (found.disabled_at or 0.0) + 1
            await tx.put_principal(principal(disabled_at=created))

    try:
        await asyncio.gather(*(count(store) for store in stores * 5))
        (found,) = await stores[0].principals()
        assert found.disabled_at == len(stores) * 5
    finally:
        for store in stores:
            await store.close()


async def test_the_last_use_of_a_token_is_kept(store: Store) -> None:
    await put(store, principal(), token("a"), token("b", created=3.0), token("c", created=4.0))
    await store.tokens_used([TokenUse("b", 20.0, None), TokenUse("a", 10.0, "10.0.0.1")])
    await store.tokens_used([TokenUse("a", 12.0, "10.0.0.2"), TokenUse("b", 19.0, "late")])
    uses = [use for _, use in await store.tokens()]
    assert uses == [TokenUse("a", 12.0, "10.0.0.2"), TokenUse("b", 20.0, None), None]
    assert (await store.credential(None)).revision == 1
    await store.tokens_used([])


async def test_a_scope_that_cannot_be_read_allows_nothing(store: Store) -> None:
    class Later(Scope, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
        planets: tuple[str, ...] | None = None

    await put(store, principal(scope=Later(planets=("mars",))), token())
    known = await store.credential("t")
    assert known.principal is not None
    assert known.principal.scope.verbs == ()
    assert known.principal.scope.streams == ()


@pytest.mark.parametrize(
    "row",
    [token(hash=b"short"), token(expires_at=1.0), principal(kind="root")],
    ids=["a short hash", "an expiry before the creation", "an unknown kind"],
)
async def test_the_schema_refuses_impossible_credentials(store: Store, row: Any) -> None:
    with pytest.raises(StoreError, match="refused"):
        await put(store, row)
    assert (await store.credential(None)).revision == 0
