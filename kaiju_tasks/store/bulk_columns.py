"""Converts between database columns and bulk calls, for both stores."""

from collections.abc import Sequence
from typing import Any

import msgspec

from kaiju_tasks.store.bulks import BulkOrder, BulkProgress, StoredBulk
from kaiju_tasks.store.columns import storable
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
    """:param values: in the order of BULK_COLUMNS; further values are ignored"""
    fields = dict(zip(BULK_COLUMNS, values, strict=False))
    body, progress = fields.pop("body"), fields.pop("progress")
    fields["state"] = BulkState(fields["state"])
    return StoredBulk(**fields, order=_decode_order(body), progress=_decode_progress(progress))


def _text(value: Any) -> str:
    return storable(_encode(value).decode())
