"""Handlers for gates, which hold a task in its stream: concurrency slots, methods and pauses."""

from kaiju_tasks.lifecycle.events import GateOpened, MethodLacking, PauseBegan, SlotFull
from kaiju_tasks.lifecycle.move import Move
from kaiju_tasks.lifecycle.run import abort, proceed
from kaiju_tasks.lifecycle.slot_keys import shown_slot_key
from kaiju_tasks.lifecycle.state import acquirable, at_slot
from kaiju_tasks.lifecycle.statuses import QUEUED
from kaiju_tasks.types import ErrorType, Outcome


def slot_full(move: Move, event: SlotFull) -> None:
    """Wait for a slot, or drop the run if `on_full` is "drop" and it has not executed yet."""
    row, concurrency = move.row, move.definition.concurrency
    if not acquirable(row) or concurrency is None:
        move.nothing()
    elif concurrency.on_full == "drop" and row.run_started_at is None:
        abort(
            move,
            ErrorType.CANCELLED,
            f"dropped: {concurrency.limit} runs with this concurrency key are already executing",
            Outcome.CANCELLED,
            {
                "reason": "concurrency",
                "key": shown_slot_key(move.definition.slot_key or ""),
                "limit": concurrency.limit,
            },
        )
    else:
        move.wait_for_slot()


def method_lacking(move: Move, event: MethodLacking) -> None:
    """Wait for an executor that has the method. Others then need not look at the task again."""
    if not move.row.ready:
        move.nothing()
    elif move.pause is not None:
        move.queue()
    else:
        move.wait_for_method()


def gate_opened(move: Move, event: GateOpened) -> None:
    """Return to the stream at the same place: acquirable, or held by another gate."""
    if move.row.gate != event.gate:
        move.nothing()
        return
    move.queue()


def pause_began(move: Move, event: PauseBegan) -> None:
    row = move.row
    if (acquirable(row) or at_slot(row)) and move.pause is not None:
        move.queue()
    else:
        move.nothing()


def recalled(move: Move, event: PauseBegan) -> None:
    """Stop a running stage that a pause holds; it runs again after the pause."""
    if not event.recall or move.pause is None:
        move.nothing()
        return
    hold = move.row.hold_next
    move.interrupt(Outcome.SUSPENDED)
    if hold:
        move.hold(QUEUED)
    else:
        proceed(move)
