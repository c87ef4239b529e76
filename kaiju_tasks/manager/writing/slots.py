"""Counts the used slots of concurrency keys, and releases waiting tasks when slots become free.

The slots are counted in the transactions in which runs begin and stop executing. For each stream
in which tasks wait for a key, the used slots and the ready tasks of the stream together are at
least the limit: a transaction that reduces this sum releases the first waiting task. Therefore no
slot stays free while a task waits for it, and a crash leaks no slot.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Protocol

from kaiju_tasks.lifecycle import (
    BrokenDefinition,
    Definition,
    GateOpened,
    Row,
    SlotFull,
    TaskState,
    executes,
    slot_gate,
)
from kaiju_tasks.manager.writing.changes import Change
from kaiju_tasks.manager.writing.states import States
from kaiju_tasks.store.base import Transaction
from kaiju_tasks.types import Concurrency

UNSETTLED_AT_ONCE = 100
MOST_AT_ONCE = 500


class Room(Protocol):
    """What an executor can take."""

    @property
    def full(self) -> bool: ...

    def take(self, state: TaskState) -> bool:
        """Count a task, unless there is no room for it."""
        ...


class Slots:
    """The slots that one transaction has locked."""

    def __init__(self, states: States, tx: Transaction) -> None:
        self._states = states
        self._tx = tx
        self._used: dict[str, int] = {}
        self._wide: dict[str, int] = {}

    async def _lock(self, keys: Iterable[str]) -> None:
        wanted = {key for key in keys if key not in self._used}
        if wanted:
            self._used |= await self._tx.lock_slots(wanted)

    async def admit(self, states: Iterable[TaskState], room: Room) -> tuple[list[str], set[str]]:
        """Decide, in order, which tasks may be acquired.

        :param room: free capacity of the executor; a task that a pause holds uses none
        :returns: the ids of the tasks that may be acquired, and of those without a free slot
        """
        states = list(states)
        await self._lock(key for state in states if (key := state.definition.slot_key) is not None)
        taken: Counter[str] = Counter()
        admitted: list[str] = []
        full: set[str] = set()
        for state in states:
            row, definition = state.row, state.definition
            if room.full:
                break
            if state.pauses and state.pauses.holding(definition, row.stage, self._tx.now):
                admitted.append(row.id)  # the pause holds it there
                continue
            key, concurrency = definition.slot_key, definition.concurrency
            limit = None if key is None or concurrency is None else concurrency.limit
            if key is not None and limit is not None and self._used[key] + taken[key] >= limit:
                full.add(row.id)
                continue
            if not room.take(state):
                break
            if key is not None:
                taken[key] += 1
            admitted.append(row.id)
        return admitted, full

    async def settle(self, changes: Iterable[Change]) -> list[Change]:
        """Count the changes, release waiting tasks for freed slots, and save both.

        :returns: the resulting changes
        """
        tally = _Tally()
        for change in changes:
            tally.add(change)
        if not tally.keys and not tally.lost_key:
            return []
        await self._lock(tally.keys)
        before = {key: self._used[key] for key in tally.keys}
        for key, delta in tally.executed.items():
            self._used[key] += delta
        leaked = await self._recount() if tally.lost_key else set()
        dropped = await self._drop(tally)
        opened, unsettled = await self._open(tally)
        written = {key: self._used[key] for key in tally.keys if self._used[key] != before[key]}
        unsettled |= leaked
        written |= {key: self._used[key] for key in unsettled}
        if written:
            await self._tx.save_slots(written, unsettled)
        return dropped + opened

    async def _recount(self) -> set[str]:
        """Count the used slots of all keys by the tasks that execute. If the key of one of these
        cannot be read, leave the slots to the transaction in which that task fails.

        :returns: the keys of which fewer slots are used than were counted
        """
        keys = await self._tx.used_slots()
        await self._lock(keys)
        leased = await self._tx.definitions(await self._tx.leased_ids())
        executing: Counter[str] = Counter()
        for stored in leased.values():
            if _has_lost_key(stored.definition):
                return set()
            if (key := stored.definition.slot_key) is not None:
                executing[key] += 1
        leaked = {key for key in keys if self._used[key] > executing[key]}
        self._used |= {key: executing[key] for key in leaked}
        return leaked

    async def _drop(self, tally: "_Tally") -> list[Change]:
        """Drop runs that find no free slot and have `on_full` "drop"."""
        to_drop = [
            task_id
            for key, task_id in tally.droppable
            if self._used[key] >= tally.limits[key].limit
        ]
        if not to_drop:
            return []
        states = await self._states.lock(self._tx, to_drop)
        changes = self._states.advance(self._tx, states.values(), SlotFull())
        await self._tx.save([change.step for change in changes])
        return changes

    async def _open(self, tally: "_Tally") -> tuple[list[Change], set[str]]:
        """Release as many waiting tasks of each stream as slots were freed."""
        wanted: dict[str, int] = {}
        for key in tally.keys:
            free = tally.limits[key].limit - self._used[key]
            if not tally.places(key) or free <= 0:
                continue
            wanted[slot_gate(key)] = min(free, tally.places(key))
            if key in tally.opened_in_vain:  # a pause may hold many more of them
                self._wide[key] = min(MOST_AT_ONCE, 4 * self._wide.get(key, 1))
                wanted[slot_gate(key)] = self._wide[key]
        return await self._open_gates(wanted)

    async def _open_gates(self, wanted: dict[str, int]) -> tuple[list[Change], set[str]]:
        gated = await self._tx.lock_gated(wanted) if wanted else {}
        rows = [row for one in gated.values() for row in one.rows]
        unsettled = {gate[2:] for gate, one in gated.items() if one.passed_over}
        if not rows:
            return [], unsettled
        states = await self._states.load(self._tx, rows)
        changes = self._states.advance(
            self._tx, states.values(), lambda state: GateOpened(gate=state.row.gate or "")
        )
        await self._tx.save([change.step for change in changes])
        for change in changes:  # one whose key cannot be read has left the gate, without its slot
            gate = None if change.before is None else change.before.gate
            if gate is not None and _has_lost_key(change.definition):
                unsettled.add(gate[2:])
        return changes, unsettled

    async def settle_unsettled(self) -> list[Change]:
        """Retry the keys of which a waiting task was locked by another transaction, or has left the
        gate in vain."""
        keys = await self._tx.unsettled_slots(UNSETTLED_AT_ONCE)
        await self._lock(keys)
        changes, unsettled = await self._open_gates({slot_gate(key): 1 for key in keys})
        unsettled |= {
            key for c in changes if not c.step.row.ready and (key := c.definition.slot_key)
        }
        await self._tx.save_slots({key: self._used[key] for key in keys}, unsettled)
        return changes


class _Tally:
    """The effect of changes on slots.

    :ivar executed: the change of the number of executing runs, by key
    :ivar opened_in_vain: keys of which a task left the gate but is now held by a pause
    :ivar lost_key: whether a task has stopped executing whose key cannot be read
    :ivar droppable: key and id of newly queued tasks whose runs are dropped if no slot is free
    """

    def __init__(self) -> None:
        self.executed: Counter[str] = Counter()
        self.droppable: list[tuple[str, str]] = []
        self.limits: dict[str, Concurrency] = {}
        self.opened_in_vain: set[str] = set()
        self.lost_key = False
        self._left: Counter[str] = Counter()

    @property
    def keys(self) -> list[str]:
        return sorted(self.limits)

    def places(self, key: str) -> int:
        """The number of tasks that stopped executing or being ready."""
        return self._left[key]

    def add(self, change: Change) -> None:
        """Count a change. A change of the key counts as a removal and an addition."""
        definition, replaced = change.definition, change.replaced
        after = None if change.step.deleted else change.step.row
        if replaced is None or replaced.slot_key == definition.slot_key:
            self._count(definition, change.before, after)
        else:
            self._count(replaced, change.before, None)
            self._count(definition, None, after)

    def _count(self, definition: Definition, before: Row | None, after: Row | None) -> None:
        key, concurrency = definition.slot_key, definition.concurrency
        if key is None or concurrency is None:
            stopped = before is not None and executes(before)
            self.lost_key |= stopped and _has_lost_key(definition)
            return
        gate = slot_gate(key)
        executed, was_ready, waited = _position(before, gate)
        runs, is_ready, waits = _position(after, gate)
        if runs != executed:
            self.limits[key] = concurrency
            self.executed[key] += int(runs) - int(executed)
        if (executed and not runs) or (was_ready and not is_ready and not runs):
            self.limits[key] = concurrency
            self._left[key] += 0 if was_ready and waits else 1
        elif waits and waited:
            self.limits[key] = concurrency  # a slot freed meanwhile may have passed it over
            self._left[key] = max(1, self._left[key])
        if after is None:
            return
        if waited and not waits and after.gate is not None:
            self.limits[key] = concurrency
            self._left[key] += 1
            self.opened_in_vain.add(key)
        newly_queued = is_ready and not was_ready and after.run_started_at is None
        if newly_queued and concurrency.on_full == "drop":
            self.limits[key] = concurrency
            self.droppable.append((key, after.id))


def _position(row: Row | None, gate: str) -> tuple[bool, bool, bool]:
    """Whether the task executes, is ready, and waits at the gate."""
    if row is None:
        return False, False, False
    return executes(row), row.ready > 0, row.gate == gate


def _has_lost_key(definition: Definition) -> bool:
    """Whether it cannot be known which slot a task with this definition uses."""
    if not isinstance(definition, BrokenDefinition):
        return False
    return definition.slot_key is None or definition.concurrency is None
