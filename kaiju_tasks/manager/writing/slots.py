"""Slots of concurrency keys: counted in the transactions in which runs begin and end to execute.

For each stream of a key in which tasks wait, its used slots and the tasks of that stream that may
be acquired are together at least the limit: whoever takes one away puts the first waiter in its
place. So no slot stays free while somebody waits for it, and a crash can leak none.
"""

from collections import Counter
from collections.abc import Iterable

from kaiju_tasks.lifecycle import Definition, GateOpened, Row, SlotFull, TaskState, slot_gate
from kaiju_tasks.manager.writing.changes import Change
from kaiju_tasks.manager.writing.states import States
from kaiju_tasks.store.base import Transaction
from kaiju_tasks.types import Concurrency, TaskStatus

UNSETTLED_AT_ONCE = 100
MOST_AT_ONCE = 500


class Slots:
    """The slots of one transaction."""

    def __init__(self, states: States, tx: Transaction) -> None:
        self._states = states
        self._tx = tx
        self._used: dict[str, int] = {}
        self._wide: dict[str, int] = {}

    async def _lock(self, keys: Iterable[str]) -> None:
        wanted = {key for key in keys if key not in self._used}
        if wanted:
            self._used |= await self._tx.lock_slots(wanted)

    async def admit(self, states: Iterable[TaskState], places: int) -> tuple[list[str], set[str]]:
        """Which of some tasks may be acquired, taken in order, and which find their slots full.

        :param places: that executors have; a task that a pause holds takes none
        """
        states = list(states)
        await self._lock(key for state in states if (key := state.definition.slot_key) is not None)
        taken: Counter[str] = Counter()
        admitted: list[str] = []
        full: set[str] = set()
        for state in states:
            row, definition = state.row, state.definition
            if places == 0:
                break
            if state.pauses and state.pauses.holding(definition, row.stage, self._tx.now):
                admitted.append(row.id)  # where it is held
                continue
            key, concurrency = definition.slot_key, definition.concurrency
            if key is not None and concurrency is not None:
                if self._used[key] + taken[key] >= concurrency.limit:
                    full.add(row.id)
                    continue
                taken[key] += 1
            admitted.append(row.id)
            places -= 1
        return admitted, full

    async def settle(self, changes: Iterable[Change]) -> list[Change]:
        """Count what changed, let waiters take the places of those that left, and save that.

        :returns: what changed by it
        """
        tally = _Tally()
        for change in changes:
            tally.add(change)
        if not tally.keys:
            return []
        await self._lock(tally.keys)
        before = {key: self._used[key] for key in tally.keys}
        for key, delta in tally.executed.items():
            self._used[key] += delta
        dropped = await self._drop(tally)
        opened, unsettled = await self._open(tally)
        written = {key: self._used[key] for key in tally.keys if self._used[key] != before[key]}
        written |= {key: self._used[key] for key in unsettled}
        if written:
            await self._tx.save_slots(written, unsettled)
        return dropped + opened

    async def _drop(self, tally: "_Tally") -> list[Change]:
        """Runs that would have to wait, and do not want to."""
        late = [
            task_id
            for key, task_id in tally.droppable
            if self._used[key] >= tally.limits[key].limit
        ]
        if not late:
            return []
        states = await self._states.lock(self._tx, late)
        changes = self._states.advance(self._tx, states.values(), lambda state: SlotFull())
        await self._tx.save([change.step for change in changes])
        return changes

    async def _open(self, tally: "_Tally") -> tuple[list[Change], set[str]]:
        """Let as many of each stream go on as have left, or one where somebody waits in vain."""
        wanted: dict[str, int] = {}
        for key in tally.keys:
            free = tally.limits[key].limit - self._used[key]
            if not tally.places(key) or free <= 0:
                continue
            wanted[slot_gate(key)] = min(free, tally.places(key))
            if key in tally.opened_in_vain:  # there may be many like them
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
        return changes, unsettled

    async def settle_unsettled(self) -> list[Change]:
        """Look again at keys of which a waiter was passed over."""
        keys = await self._tx.unsettled_slots(UNSETTLED_AT_ONCE)
        await self._lock(keys)
        changes, unsettled = await self._open_gates({slot_gate(key): 1 for key in keys})
        unsettled |= {c.definition.slot_key or "" for c in changes if not c.step.row.ready}
        await self._tx.save_slots({key: self._used[key] for key in keys}, unsettled)
        return changes


class _Tally:
    """What changes mean for slots.

    :ivar executed: by how much the number of executing runs rises, by key
    :ivar opened_in_vain: keys of which a waiter left the gate, and a pause holds it
    :ivar droppable: key and id of tasks that have come to stand in their stream, and whose runs
        are dropped when no slot is free
    """

    def __init__(self) -> None:
        self.executed: Counter[str] = Counter()
        self.droppable: list[tuple[str, str]] = []
        self.limits: dict[str, Concurrency] = {}
        self.opened_in_vain: set[str] = set()
        self._left: Counter[str] = Counter()

    @property
    def keys(self) -> list[str]:
        return sorted(self.limits)

    def places(self, key: str) -> int:
        """How many places somebody left, who executed or could be acquired."""
        return self._left[key]

    def add(self, change: Change) -> None:
        """Count a change; one of the key is two: somebody leaves, and somebody comes."""
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
            return
        gate = slot_gate(key)
        executed, was_ready, waited = _stood(before, gate)
        executes, is_ready, waits = _stood(after, gate)
        if executes != executed:
            self.limits[key] = concurrency
            self.executed[key] += int(executes) - int(executed)
        if (executed and not executes) or (was_ready and not is_ready and not executes):
            self.limits[key] = concurrency
            self._left[key] += 0 if was_ready and waits else 1
        elif waits and waited:
            self.limits[key] = concurrency  # whoever freed a slot meanwhile passed it over
            self._left[key] = max(1, self._left[key])
        if after is None:
            return
        if waited and not waits and after.gate is not None:
            self.limits[key] = concurrency
            self._left[key] += 1
            self.opened_in_vain.add(key)
        comes = is_ready and not was_ready and after.run_started_at is None
        if comes and concurrency.on_full == "drop":
            self.limits[key] = concurrency
            self.droppable.append((key, after.id))


def _stood(row: Row | None, gate: str) -> tuple[bool, bool, bool]:
    """Whether it executes, may be acquired, waits at the gate."""
    if row is None:
        return False, False, False
    return row.status is TaskStatus.EXECUTED, row.ready > 0, row.gate == gate
