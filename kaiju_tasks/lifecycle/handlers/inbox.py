"""Handlers for messages."""

from kaiju_tasks.lifecycle.events import MessageCame
from kaiju_tasks.lifecycle.hooks import can_be_taken, offer
from kaiju_tasks.lifecycle.move import Move
from kaiju_tasks.lifecycle.run import proceed
from kaiju_tasks.lifecycle.state import InboxMessage

RUN_IS_OVER = "the run is over"


def message_came(move: Move, event: MessageCame) -> None:
    """Deliver the message to the waiting hook, or store it for a later hook."""
    if _is_repeat(move, event):
        return
    message = InboxMessage(
        event.message_id, event.name, event.data, sender=event.sender, at=move.now
    )
    refusal = _refusal(move, event, message)
    if refusal is not None:
        _reject(move, event, refusal)
        return
    move.inbox = (*move.inbox, message)
    move.step.message = message
    if offer(move, message):
        move.receipt("delivered", event.message_id)
        proceed(move)
    else:
        move.receipt("buffered", event.message_id)


def message_late(move: Move, event: MessageCame) -> None:
    if not _is_repeat(move, event):
        _reject(move, event, RUN_IS_OVER)


def _is_repeat(move: Move, event: MessageCame) -> bool:
    """Answer a message that this run or an earlier run has received already."""
    if not move.task.has_received(event.message_id):
        return False
    move.nothing()
    move.receipt("duplicate", event.message_id)
    return True


def _refusal(move: Move, event: MessageCame, message: InboxMessage) -> str | None:
    row = move.row
    if event.job_id is not None and event.job_id != row.job_id:
        return f"the current run is {row.job_id}"
    if event.job_id is not None and not row.open:
        return RUN_IS_OVER
    if not can_be_taken(move, message):
        named = "without a name" if message.name is None else f"named {message.name!r:.300}"
        return f"no remaining Message stage takes a message {named}"
    kept = sum(len(m.data) for m in move.inbox if not m.consumed)
    if row.result_bytes + kept + len(event.data) > event.max_run_bytes:
        return f"the results of the run would exceed {event.max_run_bytes} bytes"
    return None


def _reject(move: Move, event: MessageCame, reason: str) -> None:
    move.nothing()
    move.receipt("rejected", event.message_id, reason)
