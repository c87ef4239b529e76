"""Every method, called by every kind of principal that sees its object, does not see it, or may not
call it.

What is not seen is answered as if it did not exist, in the same words, and what is refused has
changed nothing.
"""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from kaiju_tasks.api import Caller, method_registry
from kaiju_tasks.errors import Conflict, Forbidden, KaijuError, NotFound, StaleLease
from kaiju_tasks.manager import Manager
from kaiju_tasks.manager.auth import TokenOrder, database_issuer
from kaiju_tasks.rights import Kind, Principal, Scope, Verb, access, may_call, rights_of
from tests.api.matrix import CALLERS, KINDS, OTHER, OWNER, ROWS, STREAM, Asker, Outcome, Row
from tests.manager.hand import Calls, HandExecutor, pinging

SECRET = "canary-of-the-owner"
WORK = {"method": "work", "params": {"text": SECRET}}
ENDED = {"bulk.stop": Conflict, "manager.call": StaleLease, "manager.declare": Forbidden}
"""Methods whose object has ended, and the error of those who may call them."""


class World:
    """A manager with objects of `bob` in one stream: one for each method, so that calls do not
    disturb each other.

    :ivar root: calls of somebody who may do everything
    """

    def __init__(self, manager: Manager) -> None:
        self.manager = manager
        self.root = Calls(manager)
        self.executor = HandExecutor(manager, "e-seen")
        self._owner: Calls

    async def call_as(self, asker: Asker) -> Calls:
        """Calls of somebody over a connection."""
        scope = Scope(streams=(OTHER,) if asker.elsewhere else ("bill*",))
        if asker == CALLERS["admin"]:
            scope = Scope()
        principal = await self.principal(asker.name, asker.kind, scope)
        connection = HandExecutor(self.manager, "e-connect")
        connection.caller.principal = principal
        return connection.call

    async def principal(self, name: str, kind: Kind, scope: Scope) -> Principal:
        order = TokenOrder(principal=name, kind=kind, scope=scope)
        issued = await database_issuer(self.manager.store).create(order)
        self.manager.auth.changed()
        return (await self.manager.auth.admit(issued.token)).principal

    async def begin(self) -> None:
        owner = await self.principal(OWNER, Kind.USER, Scope())
        self._owner = self.root.by(Caller(owner, remote="10.0.0.1"))

    async def make(self, method: str, what: str) -> str:
        """Make the object of a method. Returns its id."""
        id = f"of-{method}"
        make = getattr(self, f"_make_{what}")
        return await make(id) or id

    async def _task(self, id: str, **fields: Any) -> None:
        kws = {"kws": {"text": SECRET}}
        await self._owner.create(WORK, id=id, app_name=STREAM, **kws, **fields)

    async def _make_queued(self, id: str) -> None:
        await self._task(id)

    async def _make_idle(self, id: str) -> None:
        await self._task(id, delay=3600)

    async def _make_cron(self, id: str) -> None:
        await self._task(id, cron="0 * * * *")

    async def _make_suspended(self, id: str) -> None:
        await self._task(id)
        await self._owner("tasks.suspend", id=id)

    async def _make_ended(self, id: str) -> None:
        await self._task(id, notify=True)
        await self._owner("tasks.cancel", id=id)

    async def _make_counted(self, id: str) -> None:
        await self._make_ended(id)
        await self._owner.manager.stats.write()

    async def _make_run(self, id: str) -> str:
        timer = {"method": "_TIMER_", "params": {"timer": 0}}
        await self._owner.create(timer, WORK, id=id, app_name=STREAM, kws={"text": SECRET})
        await self._owner.until(id, "QUEUED")
        await self._owner("tasks.cancel", id=id)
        return str((await self._owner.get(id))["job_id"])

    async def _make_notification(self, id: str) -> str:
        await self._make_ended(id)
        return str((await self._owner.get(id))["job_id"])

    async def _make_hook(self, id: str) -> None:
        hook = {"method": "_MESSAGE_"}
        await self._owner.create(hook, WORK, id=id, app_name=STREAM, kws={"text": SECRET})

    async def _make_bulk(self, id: str) -> None:
        await self._task(id)
        await self._owner("tasks.m_suspend", conditions={"id": id}, bulk_id=id)

    async def _make_mark(self, id: str) -> None:
        await self.root("marks.add", label=id, app_name=STREAM)

    async def _make_pause(self, id: str) -> None:
        await self.root("pauses.add", id=id, reason=f"of {STREAM}", app_name=STREAM)

    async def _make_executor(self, id: str) -> str:
        return self.executor.id

    async def _make_connection(self, id: str) -> None:
        """What belongs to the caller itself."""

    async def _make_token(self, id: str) -> str:
        principal = await self.principal("of-revoke", Kind.VIEWER, Scope())
        return str(principal.token_id)

    async def _make_principal(self, id: str) -> str:
        return str((await self.principal("of-update", Kind.VIEWER, Scope())).id)


@pytest.fixture
async def world(manager: Manager) -> AsyncIterator[World]:
    world = World(manager)
    await world.executor.connect(app=STREAM, commands=[{"method": "seen"}])
    await world.root("executors.drain", id=world.executor.id)
    await world.begin()
    async with pinging(world.executor):
        yield world


def test_every_method_has_a_row() -> None:
    assert ROWS.keys() == {one.name for one in method_registry()}


@pytest.mark.parametrize("who", CALLERS)
async def test_everybody_reaches_what_the_table_says_and_nothing_else(
    world: World, who: str
) -> None:
    asker = CALLERS[who]
    calls = await world.call_as(asker)
    wrong = []
    for method, row in ROWS.items():
        outcome = row.outcome(asker)
        if not outcome.allowed and outcome.unseen is None:  # nothing is looked at
            found = await _call(calls, method, row.params("u"))
            if type(found) is not Forbidden:
                wrong.append(f"{method}: its kind may not call it: {found!r}")
            continue
        id = await world.make(method, row.made)
        before = None if outcome.allowed else await _state(world, id)
        found = await _call(calls, method, row.params(id))
        if problem := await _problem(calls, method, row, id, outcome, found):
            wrong.append(f"{method}: {problem}")
        if not outcome.allowed and (after := await _state(world, id)) != before:
            wrong.append(f"{method}: it has changed something: {before} {after}")
        if (asker.kind is Kind.VIEWER or not outcome.allowed) and SECRET in _text(found):
            wrong.append(f"{method}: it shows data: {_text(found)}")
    assert not wrong, "\n".join(wrong)


async def _call(calls: Calls, method: str, params: dict[str, Any]) -> Any:
    """The result, or the error."""
    try:
        return await calls(method, **params)
    except KaijuError as error:
        return error


async def _problem(
    calls: Calls, method: str, row: Row, id: str, outcome: Outcome, found: Any
) -> str | None:
    if outcome.allowed:
        if isinstance(found, KaijuError) and type(found) is not ENDED.get(method):
            return f"it is refused: {found!r}"
        hidden = not isinstance(row.unseen, type) and row.unseen is not None
        if hidden and row.unseen(found):  # type: ignore[misc]
            return f"it finds nothing: {found}"
        return None
    expected = outcome.unseen
    assert expected is not None
    if not isinstance(expected, type):
        if isinstance(found, KaijuError) or not expected(found):
            return f"it does not hide the object: {found!r}"
        return None
    if type(found) is not expected:
        return f"it is not refused with {expected.__name__}: {found!r}"
    if expected is NotFound and row.params(id) != row.params("u"):
        missing = await _call(calls, method, row.params("u"))
        if _text(found).replace(id, "u") != _text(missing):
            return f"what is not seen differs from what does not exist: {found!r}, {missing!r}"
    return None


def _text(found: Any) -> str:
    return f"{found} {found.data}" if isinstance(found, KaijuError) else str(found)


async def _state(world: World, id: str) -> Any:
    """All that is known about an object and the number of others."""
    root = world.root
    tokens = [(one["id"], one["revoked_at"]) for one in await root("tokens.list")]
    return [
        await root("tasks.m_get", ids=[id]),
        _text(await _call(root, "notifications.get", {"id": id})),
        [await root(f"{name}.list") for name in ("pauses", "marks", "principals")],
        (await root("executors.get", id=world.executor.id))["status"],
        (await root("tasks.count"))["count"],
        tokens,
    ]


@pytest.mark.parametrize("verb", Verb)
@pytest.mark.parametrize("kind", KINDS)
def test_a_token_without_a_verb_calls_no_method_that_needs_it(kind: Kind, verb: Verb) -> None:
    full = rights_of(kind)
    rights = rights_of(kind, Scope(verbs=tuple(full.verbs - {verb})))
    caller = Caller(Principal("ann", kind, (rights,)))
    registry = method_registry()
    for method in registry:
        refused = method.access.verb is verb or not may_call(
            Principal("ann", kind, (full,)), method.access
        )
        try:
            registry.find_for(caller, method.name)
        except Forbidden:
            assert refused, method.name
        else:
            assert not refused, method.name


def test_nobody_without_a_token_calls_a_method() -> None:
    for method in method_registry():
        assert not may_call(None, method.access), method.name


async def test_executors_do_nothing_by_post(world: World) -> None:
    principal = await world.principal("ex", Kind.EXECUTOR, Scope(streams=(STREAM,)))
    calls = world.root.by(Caller(principal, remote="10.0.0.1"))
    served = [method for method in method_registry() if method.access == access.SERVE]
    for method in served:
        found = await _call(calls, method.name, ROWS[method.name].params(world.executor.id))
        assert isinstance(found, KaijuError), (method.name, found)
    assert len(served) == 7
