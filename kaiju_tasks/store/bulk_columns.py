"""Converts between database columns and bulk calls, for both stores."""

from collections.abc import Sequence
from typing import Any

import msgspec

from kaiju_tasks.errors import reason_of
from kaiju_tasks.store.bulks import BrokenOrder, BulkOrder, BulkProgress, StoredBulk
from kaiju_tasks.store.columns import log_once, storable
from kaiju_tasks.types import BulkState

BULK_COLUMNS = tuple({"order": "body"}.get(name, name) for name in StoredBulk.__struct_fields__)

_encode = msgspec.json.Encoder().encode
_decode_order = msgspec.json.Decoder(BulkOrder).decode
_decode_progress = msgspec.json.Decoder(BulkProgress).decode


def bulk_values(bulk: StoredBulk) -> tuple[Any, ...]:
    """The values of a new bulk call, in the order of BULK_COLUMNS."""
    b = bulk
    state, body, progress = str(b.state), _text(b.order), _text(b.progress)
    return (
        b.id, b.method, b.user_id, state, b.started, b.ended, b.manager_id, b.epoch, b.cursor,
        body, progress,
    )  # fmt: skip


def changed_values(bulk: StoredBulk) -> tuple[Any, ...]:
    """Its id, and the values that change: state, ended, manager_id, epoch, cursor, progress."""
    b = bulk
    return (b.id, str(b.state), b.ended, b.manager_id, b.epoch, b.cursor, _text(b.progress))


def bulk_of(values: Sequence[Any]) -> StoredBulk:
    """Read a bulk call. Of one that cannot be read, the readable columns are left.

    :param values: in the order of BULK_COLUMNS; further values are ignored
    """
    fields = dict(zip(BULK_COLUMNS, values, strict=False))
    body, progress = fields.pop("body"), fields.pop("progress")
    fields["state"] = _state(fields["id"], fields["state"])
    order, progress = _order(fields["id"], body), _progress(fields["id"], progress)
    return StoredBulk(**fields, order=order, progress=progress)


def _state(bulk_id: str, state: str) -> BulkState:
    """A call whose state is unknown does not go on."""
    try:
        return BulkState(state)
    except ValueError:
        log_once("the state of the bulk call %s is unknown: %.100r", bulk_id, state)
        return BulkState.FAILED


def _order(bulk_id: str, body: str) -> BulkOrder:
    try:
        return _decode_order(body)
    except (msgspec.DecodeError, UnicodeError) as error:
        log_once("the order of the bulk call %s cannot be read: %s", bulk_id, error)
        return BrokenOrder(conditions=[], audit_id=bulk_id, problem=reason_of(error))


def _progress(bulk_id: str, progress: str) -> BulkProgress:
    try:
        return _decode_progress(progress)
    except (msgspec.DecodeError, UnicodeError) as error:
        log_once("the progress of the bulk call %s cannot be read: %s", bulk_id, error)
        return BulkProgress(expected=0)


def _text(value: Any) -> str:
    return storable(_encode(value).decode())
