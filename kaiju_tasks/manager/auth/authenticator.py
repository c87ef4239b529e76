"""Decides who a caller is, and ends open connections when their token ends.

Admissions are kept as long as the revision of principals and tokens has not changed. The revision
is read with the summary of the manager's work, and here if that has not come for a while, so that
a revocation is known within 3 seconds even without any message between managers.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Protocol

from kaiju_tasks.errors import Unauthorized, Unavailable, reason_of
from kaiju_tasks.manager.auth.admission import (
    REFUSAL,
    Admission,
    admit,
    admit_without_token,
    is_valid,
    principal_of_run,
)
from kaiju_tasks.manager.loop import Loop
from kaiju_tasks.rights import (
    Kind,
    Principal,
    TokenParts,
    hash_token,
    new_token,
    read_token,
    rights_of,
)
from kaiju_tasks.store.base import Store, StoreError
from kaiju_tasks.store.credentials import TokenUse

FRESH_SECONDS = 2.0
"""The time for which what is known about tokens is used without a look at their revision."""
WATCH_SECONDS = 2.5
"""The time after which open connections are checked, if the revision was not read meanwhile."""
OUTAGE_SECONDS = 60.0
"""How long known tokens are accepted while the database cannot be reached."""
OUTAGE_PAUSE_SECONDS = 0.25
"""The time between two attempts to reach the database."""
USES_SECONDS = 60.0
"""The time between two records of the last uses of tokens."""
ADMISSIONS_MAX = 10_000


class Seat(Protocol):
    """An open connection of an admitted caller."""

    def changed(self, principal: Principal) -> None:
        """The rights of the caller have changed."""
        ...

    def ended(self) -> None:
        """The caller is not admitted any more."""
        ...


class Authenticator:
    """Authenticates the callers of one manager.

    :param clock: the store's clock without a query, UNIX seconds
    :param random_bytes: a source of secrets
    :param on_change: called when principals or tokens have changed
    """

    def __init__(
        self,
        store: Store,
        clock: Callable[[], float],
        random_bytes: Callable[[int], bytes],
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._random_bytes = random_bytes
        self._on_change = on_change
        self._known: OrderedDict[bytes, Admission] = OrderedDict()
        self._valid: OrderedDict[bytes, None] = OrderedDict()
        self._without_token: Admission | None = None
        self._house: dict[bytes, Principal] = {}
        self._seats: dict[Seat, Admission] = {}
        self._uses: dict[str, TokenUse] = {}
        self._uses_written_at = float("-inf")
        self._revision = -1
        self._read_at = float("-inf")
        self._doubts = 0
        self._settled = -1
        self._reading: asyncio.Task[None] | None = None
        self._failure: StoreError | None = None
        self._retry_at = 0.0
        self._look = asyncio.Event()
        self._loop = Loop(
            "checking tokens",
            wait=self._until_doubt,
            work=self._work,
            retry_seconds=OUTAGE_PAUSE_SECONDS,
        )

    async def start(self) -> None:
        """:raises StoreError: the database cannot be reached"""
        await self._refresh()
        self._loop.start()

    async def stop(self) -> None:
        await self._loop.stop()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    @property
    def local(self) -> bool:
        """Whether no token exists, so that everybody may do everything."""
        return self._without_token is not None

    # -- callers ---------------------------------------------------------------------------

    async def admit(self, token: str | None, remote: str | None = None) -> Admission:
        """Authenticate a caller.

        :param token: what it has presented
        :param remote: the address that it calls from
        :raises Unauthorized: it needs a valid token
        :raises Unavailable: the database cannot be reached
        """
        if not self._fresh:
            await self._refresh_for_callers()
        parts = None if token is None else read_token(token)
        admission = self._admitted(parts)
        if admission is None and parts is not None:
            admission = await self._ask(parts)
        now = self._clock()
        if admission is None or admission.expired(now):
            raise Unauthorized(REFUSAL)
        self._use(admission, remote, now)
        return admission

    def admit_now(self, token: str | None, remote: str | None = None) -> Admission | None:
        """Authenticate a caller like `admit`, if what is known is enough to admit it: no caller of
        a busy manager costs a coroutine and a query. Nobody is refused here.

        :returns: None if only `admit` can decide
        """
        if not self._fresh:
            return None
        if self._without_token is not None:
            return self._without_token if token is None else None
        if token is None or not token.isascii():
            return None
        key = hash_token(token)
        admission = self._known.get(key)
        if admission is None:
            return None
        now = self._clock()
        if admission.expired(now):
            return None
        self._known.move_to_end(key)
        self._use(admission, remote, now)
        return admission

    def _admitted(self, parts: TokenParts | None) -> Admission | None:
        """The admission of a caller that is known, which may have expired."""
        if parts is not None and parts.hash in self._house:
            return self._admit_house(parts)
        if self._without_token is not None:
            return self._without_token
        return None if parts is None else self.remembered(parts)

    async def admit_again(self, admission: Admission) -> Admission:
        """Authenticate a caller that was admitted a while ago, with the rights that it has now.

        :raises Unauthorized: its token has ended
        :raises Unavailable: the database cannot be reached
        """
        if not self._fresh:
            await self._refresh_for_callers()
        if admission.revision == self._revision and admission.expires_at is None:
            return admission
        now = await self._admission_now(admission)
        if now is None:
            raise Unauthorized(REFUSAL)
        return now

    async def _admission_now(self, admission: Admission) -> Admission | None:
        """None: the caller is not admitted any more."""
        if admission.parts is None:
            return self._without_token
        now = self.remembered(admission.parts) or await self._ask(admission.parts)
        return None if now is None or now.expired(self._clock()) else now

    def remembered(self, parts: TokenParts) -> Admission | None:
        """The admission of a token that was admitted before, without a query."""
        if parts.hash in self._house:
            return self._admit_house(parts)
        admission = self._known.get(parts.hash)
        if admission is not None:
            self._known.move_to_end(parts.hash)
        return admission

    def has_admitted(self, parts: TokenParts) -> bool:
        """Whether a token was valid when it was last looked at, in whatever revision. Who has it
        does not guess."""
        return parts.hash in self._house or parts.hash in self._valid

    async def of_run(self, owner: str | None, token_id: str | None) -> Principal:
        """On whose behalf a run acts. What was defined without tokens may do everything.

        :param owner: of the task
        :param token_id: the token that created the task
        :raises StoreError: the database cannot be reached
        """
        if token_id is None:
            return Principal(owner, kind=None)
        return principal_of_run(await self._store.credential(token_id))

    async def of_call(self, owner: str | None, token_id: str | None) -> Principal:
        """On whose behalf a call goes on that was made with a token.

        :param owner: the principal of the token
        :raises Unauthorized: the token has ended
        :raises StoreError: the database cannot be reached
        """
        if token_id is None:
            return Principal(owner, kind=None)
        known = await self._store.credential(token_id)
        if not is_valid(known):
            raise Unauthorized(REFUSAL)
        return principal_of_run(known)

    def _admit_house(self, parts: TokenParts) -> Admission:
        return Admission(self._house[parts.hash], self._revision, parts)

    @contextlib.contextmanager
    def seated(self, seat: Seat, admission: Admission) -> Iterator[None]:
        """Watch an open connection until the end of the block."""
        self.sit(seat, admission)
        try:
            yield
        finally:
            self.leave(seat)

    def sit(self, seat: Seat, admission: Admission) -> None:
        """Watch an open connection until `leave`."""
        self._seats[seat] = admission
        if admission.revision != self._revision:
            self._look.set()

    def leave(self, seat: Seat) -> None:
        """End the watch of a connection."""
        self._seats.pop(seat, None)

    def house_token(self, kind: Kind, name: str) -> str:
        """Make a token that only this process knows, for processes that it starts.

        :param name: of its principal
        """
        text = new_token(kind, self._random_bytes)
        parts = read_token(text)
        assert parts is not None
        self._house[parts.hash] = Principal(name, kind, (rights_of(kind),), parts.id)
        return text

    # -- changes ---------------------------------------------------------------------------

    def seen(self, revision: int, asked_at: float) -> None:
        """Take a revision into account that was read from the store.

        :param asked_at: when the read began, in seconds of the event loop
        """
        if revision == self._revision:
            self._read_at = max(self._read_at, asked_at)
        else:
            self.changed()

    def changed(self) -> None:
        """Tokens have changed, or may have."""
        self._doubts += 1
        self._look.set()

    @property
    def _fresh(self) -> bool:
        now = asyncio.get_running_loop().time()
        return self._settled == self._doubts and now - self._read_at < FRESH_SECONDS

    async def _refresh(self) -> None:
        """Read the revision, unless it was read within FRESH_SECONDS and nothing was reported to
        have changed since the begin of that read.

        :raises StoreError: the database cannot be reached
        """
        while not self._fresh:
            if self._failure is not None and asyncio.get_running_loop().time() < self._retry_at:
                raise self._failure
            if self._reading is None or self._reading.done():
                self._reading = asyncio.create_task(self._read())
                self._reading.add_done_callback(self._read_ended)
            await asyncio.shield(self._reading)

    def _read_ended(self, reading: "asyncio.Task[None]") -> None:
        """Keep the error of a read for a moment, so that an outage delays only some callers."""
        if reading.cancelled():
            return
        error = reading.exception()
        self._failure = error if isinstance(error, StoreError) else None
        self._retry_at = asyncio.get_running_loop().time() + OUTAGE_PAUSE_SECONDS

    async def _refresh_for_callers(self) -> None:
        """:raises Unavailable: the database cannot be reached, and was not for too long"""
        try:
            await self._refresh()
        except StoreError as error:
            if not self.local and self._age() > OUTAGE_SECONDS:
                raise Unavailable(f"the database cannot be reached: {reason_of(error)}") from error

    async def _read(self) -> None:
        doubts, asked_at = self._doubts, asyncio.get_running_loop().time()
        known = await self._store.credential(None)
        if known.revision != self._revision:
            self._known.clear()
            self._revision = known.revision
            self._without_token = admit_without_token(known)
            self._look.set()
            self._on_change()
        self._settled, self._read_at = doubts, asked_at

    async def _ask(self, parts: TokenParts) -> Admission | None:
        try:
            known = await self._store.credential(parts.id)
        except StoreError as error:
            raise Unavailable(f"the database cannot be reached: {reason_of(error)}") from error
        admission = admit(parts, known)
        self._remember_valid(parts, admission is not None)
        if known.revision != self._revision:
            self.changed()
        elif admission is not None:
            self._known[parts.hash] = admission
            while len(self._known) > ADMISSIONS_MAX:
                self._known.popitem(last=False)
        return admission

    def _remember_valid(self, parts: TokenParts, valid: bool) -> None:
        self._valid.pop(parts.hash, None)
        if valid:
            self._valid[parts.hash] = None
            while len(self._valid) > ADMISSIONS_MAX:
                self._valid.popitem(last=False)

    def _age(self) -> float:
        return asyncio.get_running_loop().time() - self._read_at

    # -- last uses ---------------------------------------------------------------------------

    def _use(self, admission: Admission, remote: str | None, now: float) -> None:
        parts = admission.parts
        if parts is not None and parts.hash not in self._house:
            self._uses[parts.id] = TokenUse(parts.id, now, remote)

    async def _write_uses(self) -> None:
        now = asyncio.get_running_loop().time()
        if not self._uses or now - self._uses_written_at < USES_SECONDS:
            return
        uses, self._uses = list(self._uses.values()), {}
        self._uses_written_at = now
        await self._store.tokens_used(uses)

    # -- open connections --------------------------------------------------------------------

    async def _until_doubt(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, WATCH_SECONDS - self._age())):
                await self._look.wait()

    async def _work(self) -> None:
        await self._check_seats()
        await self._write_uses()

    async def _check_seats(self) -> None:
        """End the connections of callers that are not admitted any more."""
        self._look.clear()
        try:
            await self._refresh()
            asked: dict[bytes, Admission | None] = {}
            for seat, admission in list(self._seats.items()):
                if admission.revision != self._revision or admission.expired(self._clock()):
                    await self._check(seat, admission, asked)
        except BaseException:
            self._look.set()
            raise

    async def _check(
        self, seat: Seat, admission: Admission, asked: dict[bytes, Admission | None]
    ) -> None:
        parts = admission.parts
        if parts is not None and parts.hash in asked:
            now = asked[parts.hash]
        else:
            now = await self._admission_now(admission)
            if parts is not None:
                asked[parts.hash] = now
        if seat not in self._seats:  # it was closed meanwhile
            return
        if now is None:
            del self._seats[seat]
            seat.ended()
        else:
            self._seats[seat] = now
            if now.principal != admission.principal:
                seat.changed(now.principal)
