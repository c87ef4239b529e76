"""Concurrency keys: whose runs are counted together."""

import msgspec

TASK, ARGUMENTS = "task", "arguments"
"""Kinds of keys that are digests."""
_encode = msgspec.json.encode


def slot_key(owner: str | None, kind: str, value: str) -> str:
    """The key under which runs are counted. Those of different owners or kinds are different.

    :param owner: of the task; None while there are no owners
    :param kind: `key` for a filled template
    """
    # A plain text is the key of a template without an owner, also in older databases. It does not
    # begin as the others do.
    if owner is None and kind == "key" and not value.startswith("["):
        return value
    return _encode([owner, kind, value]).decode()


def shown_slot_key(key: str) -> str:
    """A key as people know it: the filled text, or the name of the kind instead of a digest."""
    if not key.startswith("["):
        return key
    try:
        _, kind, value = msgspec.json.decode(key, type=tuple[str | None, str, str])
    except msgspec.DecodeError:  # a long one is cut
        return key
    return kind if kind in (TASK, ARGUMENTS) else value
