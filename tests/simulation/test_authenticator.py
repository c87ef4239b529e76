"""Who a caller is, and how soon a change is known, in virtual time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest

from kaiju_tasks.errors import Unauthorized, Unavailable
from kaiju_tasks.manager.auth import (
    REFUSAL,
    Admission,
    Authenticator,
    Issuer,
    PrincipalChanges,
    TokenOrder,
    database_issuer,
)
from kaiju_tasks.manager.dice import Dice
from kaiju_tasks.rights import EVERYTHING, Kind, Principal, Scope, new_token
from kaiju_tasks.store import Store, StoreUnavailable
from kaiju_tasks.store.credentials import Credential
from kaiju_tasks.store.open import make_store
from tests.simulation.loop import SimLoop

T = TypeVar("T")
PROMISED_SECONDS = 3.0
BEGIN = 1_000_000.0


class Seat:
    """An open connection that notes what happens to it."""

    def __init__(self) -> None:
        self.over = asyncio.Event()
        self.principals: list[Principal] = []

    def changed(self, principal: Principal) -> None:
        self.principals.append(principal)

    def ended(self) -> None:
        self.over.set()


class World:
    """A manager's authenticator, and a database that others change, too.

    :ivar away: whether the authenticator cannot reach the database
    """

    def __init__(self, loop: SimLoop, store: Store) -> None:
        self.loop = loop
        self.issuer: Issuer = database_issuer(store)
        self.away = False
        self.queries = 0
        self._ask = store.credential
        store.credential = self._credential  # type: ignore[method-assign]
        self.auth = Authenticator(store, store.clock, Dice().secret)

    async def _credential(self, token_id: str | None) -> Credential:
        self.queries += 1
        if self.away:
            raise StoreUnavailable("the cable is cut")
        return await self._ask(token_id)

    async def token(self, name: str = "ann", kind: Kind = Kind.USER, **fields: Any) -> Any:
        return await self.issuer.create(TokenOrder(principal=name, kind=kind, **fields))

    async def refuses(self, token: str | None) -> bool:
        try:
            await self.auth.admit(token)
        except Unauthorized as error:
            return str(error) == REFUSAL
        return False

    async def seconds_until(self, over: Callable[[], Awaitable[Any]]) -> float:
        """How long something takes, in virtual seconds."""
        began = self.loop.now
        await over()
        return self.loop.now - began

    async def refused_after(self, token: str) -> float:
        """How long it takes until a token is refused that is presented again and again."""

        async def refused() -> None:
            while not await self.refuses(token):
                await asyncio.sleep(0.01)

        return await self.seconds_until(refused)


@asynccontextmanager
async def world(loop: SimLoop) -> AsyncIterator[World]:
    store = make_store("sqlite://:memory:", clock=lambda: BEGIN + loop.now, inline=True)
    await store.open()
    made = World(loop, store)
    await made.auth.start()
    yield made
    await made.auth.stop()
    await store.close()


def simulated(test: Callable[[World], Awaitable[None]]) -> Callable[[], None]:
    """Run a test in virtual time."""

    def run() -> None:
        loop = SimLoop()

        async def main() -> None:
            async with world(loop) as made:
                await test(made)

        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(main())
        finally:
            asyncio.set_event_loop(None)
            loop.close()

    run.__name__ = test.__name__
    run.__doc__ = test.__doc__
    return run


@simulated
async def test_without_tokens_everybody_may_do_everything(w: World) -> None:
    for token in (None, "nonsense", new_token(Kind.USER, Dice().secret)):
        assert (await w.auth.admit(token)).principal is EVERYTHING
    assert w.auth.local


@simulated
async def test_the_first_token_ends_that_at_once_for_who_makes_it(w: World) -> None:
    issued = await w.token()
    w.auth.changed()
    assert await w.refuses(None)
    assert not w.auth.local
    admission = await w.auth.admit(issued.token)
    assert (admission.principal.id, admission.principal.kind) == ("ann", Kind.USER)
    assert admission.principal.token_id == issued.id
    assert admission.expires_at == issued.expires_at


@simulated
async def test_only_the_exact_token_is_admitted(w: World) -> None:
    issued = await w.token()
    w.auth.changed()
    other = new_token(Kind.USER, Dice().secret)
    same_id = issued.token[:18] + other[18:]
    for wrong in (None, "", "x", other, same_id, issued.token[:-1], issued.token + "a"):
        assert await w.refuses(wrong)
    assert not await w.refuses(issued.token)


@simulated
async def test_both_scopes_limit_a_token(w: World) -> None:
    issued = await w.token(scope=Scope(streams=("billing.*",)))
    w.auth.changed()
    principal = (await w.auth.admit(issued.token)).principal
    assert principal.has_stream("billing.eu")
    assert not principal.has_stream("orders")


@simulated
async def test_a_known_token_costs_a_query_only_when_the_revision_is_old(w: World) -> None:
    issued = await w.token()
    w.auth.changed()
    await w.auth.admit(issued.token)
    before = w.queries
    for _ in range(1000):
        await w.auth.admit(issued.token)
    assert w.queries == before
    for _ in range(100):
        w.auth.seen((await w.auth.admit(issued.token)).revision, w.loop.time())
        await asyncio.sleep(1.0)
    assert w.queries <= before + 1


@simulated
async def test_a_revision_is_as_old_as_the_question(w: World) -> None:
    issued = await w.token()
    w.auth.changed()
    revision, asked_at = (await w.auth.admit(issued.token)).revision, w.loop.time()
    await w.issuer.revoke(issued.id)
    for _ in range(4):
        await asyncio.sleep(0.6)
        w.auth.seen(revision, asked_at)  # the answer was long under way
    assert await w.refuses(issued.token)


@pytest.mark.parametrize("change", ["revoke", "expire", "disable", "rotate"])
@pytest.mark.parametrize("phase", [0.0, 0.4, 0.9, 1.3, 1.99, 2.0, 2.2, 2.49])
def test_a_token_is_dead_within_3_seconds_without_any_message(change: str, phase: float) -> None:
    async def run(w: World) -> None:
        issued = await w.token(lifetime=60.0)
        w.auth.changed()
        admission = await w.auth.admit(issued.token)
        seat, anonymous = Seat(), Seat()
        with w.auth.seated(seat, admission), w.auth.seated(anonymous, Admission(EVERYTHING, -1)):
            await asyncio.sleep(20 + phase)
            assert not seat.over.is_set()
            assert anonymous.over.is_set()
            if change == "revoke":
                await w.issuer.revoke(issued.id)
            elif change == "disable":
                await w.issuer.update("ann", PrincipalChanges(disabled=True))
            elif change == "rotate":
                await w.issuer.rotate(issued.id, 0.0)
            else:
                await asyncio.sleep(40 - phase)
            closing = asyncio.create_task(w.seconds_until(seat.over.wait))
            assert await w.refused_after(issued.token) <= PROMISED_SECONDS
            assert await closing <= PROMISED_SECONDS

    simulated(run)()


@pytest.mark.parametrize("phase", [0.0, 0.7, 1.9, 2.3])
def test_anonymous_callers_are_out_within_3_seconds_of_the_first_token(phase: float) -> None:
    async def run(w: World) -> None:
        seat = Seat()
        with w.auth.seated(seat, await w.auth.admit(None)):
            await asyncio.sleep(10 + phase)
            await w.token()
            assert await w.seconds_until(seat.over.wait) <= PROMISED_SECONDS
            assert await w.refuses(None)

    simulated(run)()


@simulated
async def test_a_message_makes_it_immediate(w: World) -> None:
    issued = await w.token()
    w.auth.changed()
    seat = Seat()
    with w.auth.seated(seat, await w.auth.admit(issued.token)):
        await w.issuer.revoke(issued.id)
        w.auth.changed()
        assert await w.seconds_until(seat.over.wait) == 0.0
        assert await w.refuses(issued.token)


@simulated
async def test_a_change_elsewhere_disturbs_no_other_connection(w: World) -> None:
    mine, other = await w.token(), await w.token("bob")
    w.auth.changed()
    seat = Seat()
    with w.auth.seated(seat, await w.auth.admit(mine.token)):
        await w.issuer.revoke(other.id)
        w.auth.changed()
        await asyncio.sleep(10)
        assert not seat.over.is_set()
        assert seat.principals == []


@simulated
async def test_a_revocation_between_admission_and_seat_is_seen(w: World) -> None:
    issued = await w.token()
    w.auth.changed()
    admission = await w.auth.admit(issued.token)
    await w.issuer.revoke(issued.id)
    w.auth.changed()
    assert await w.refuses(issued.token)
    seat = Seat()
    with w.auth.seated(seat, admission):
        assert await w.seconds_until(seat.over.wait) == 0.0


@simulated
async def test_a_closed_connection_is_not_ended_again(w: World) -> None:
    issued = await w.token()
    w.auth.changed()
    seat = Seat()
    with w.auth.seated(seat, await w.auth.admit(issued.token)):
        pass
    await w.issuer.revoke(issued.id)
    w.auth.changed()
    await asyncio.sleep(10)
    assert not seat.over.is_set()


@simulated
async def test_while_the_database_is_away_known_tokens_live_for_a_minute(w: World) -> None:
    known, unknown = await w.token(), await w.token("bob")
    w.auth.changed()
    seat = Seat()
    with w.auth.seated(seat, await w.auth.admit(known.token)):
        w.away = True
        for _ in range(5):
            await asyncio.sleep(10)
            assert not await w.refuses(known.token)
            with pytest.raises(Unavailable):
                await w.auth.admit(unknown.token)
            assert await w.refuses(None)
        await asyncio.sleep(15)
        with pytest.raises(Unavailable):
            await w.auth.admit(known.token)
        await w.issuer.revoke(known.id)
        await asyncio.sleep(60)
        assert not seat.over.is_set()
        w.away = False
        assert await w.seconds_until(seat.over.wait) <= PROMISED_SECONDS


@simulated
async def test_without_tokens_an_outage_changes_nothing(w: World) -> None:
    w.away = True
    await asyncio.sleep(600)
    assert (await w.auth.admit(None)).principal is EVERYTHING


@simulated
async def test_a_house_token_is_known_to_one_process_only(w: World) -> None:
    house = w.auth.house_token(Kind.EXECUTOR, "serve")
    seat = Seat()
    with w.auth.seated(seat, await w.auth.admit(house)):
        await w.token("bob")
        await asyncio.sleep(10)
        assert await w.refuses(None)
        assert not seat.over.is_set()
    principal = (await w.auth.admit(house)).principal
    assert (principal.id, principal.kind) == ("serve", Kind.EXECUTOR)
    other = Authenticator(w.auth._store, w.auth._clock, Dice().secret)
    with pytest.raises(Unauthorized):
        await other.admit(house)


@simulated
async def test_last_uses_are_written_together_and_seldom(w: World) -> None:
    ann, bob = await w.token(), await w.token("bob")
    w.auth.changed()
    writes: list[int] = []
    write = w.auth._store.tokens_used

    async def counted(uses: Any) -> None:
        writes.append(len(uses))
        await write(uses)

    w.auth._store.tokens_used = counted  # type: ignore[method-assign]
    for _ in range(300):
        await w.auth.admit(ann.token, "10.0.0.1")
        await w.auth.admit(bob.token, "10.0.0.2")
        await asyncio.sleep(0.5)
    assert 2 <= len(writes) <= 4
    assert set(writes) == {2}
    uses = {use.token_id: use for _, use in await w.auth._store.tokens() if use is not None}
    assert uses[ann.id].remote == "10.0.0.1"
    assert BEGIN + 60 < uses[bob.id].at <= BEGIN + 150


@simulated
async def test_many_callers_share_one_query(w: World) -> None:
    issued = await w.token()
    w.auth.changed()
    await w.auth.admit(issued.token)
    await asyncio.sleep(2.2)
    before = w.queries
    await asyncio.gather(*(w.auth.admit(issued.token) for _ in range(100)))
    assert w.queries <= before + 1
