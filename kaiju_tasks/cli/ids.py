"""Ids as users give them: whole, shortened as in a table on a narrow terminal, or the beginning."""

import re
from typing import Any

from kaiju_tasks.cli.fail import Failed, not_found
from kaiju_tasks.cli.remote import call
from kaiju_tasks.cli.text import ELLIPSIS, one_line
from kaiju_tasks.errors import NotFound
from kaiju_tasks.reads import READS

__all__ = ["call_with_id", "whole_ids"]

SHORTEST = 4
"""The least number of characters of an id by which it is found."""
CANDIDATES = 5
PAGED = ("bulk", "notifications", "tasks")
"""What is found by a condition. Of other objects, the whole list is read."""
_SPECIAL = re.compile(r"([\\%_])")


def call_with_id(method: str, id: str, /, **params: Any) -> Any:
    """Call a method for the object with this id.

    If there is none, an id that a table has shortened (`ee42c492…1cad039`) stands for the only id
    that has this beginning and end. For a method that only reads, the beginning alone is enough.

    :param method: a method whose parameter `id` is the id of an object of its prefix
    :raises Failed: as `call`; there is no such object, or several match
    """
    try:
        return _call(method, id, params)
    except Failed as error:
        if error.code != NotFound.code or error.data.get("id") != id:
            raise
        kind = method.partition(".")[0]
        found = _find(kind, id, shown_only=method not in READS)
        if found is None:
            raise
    return _call(method, found, params)


def whole_ids(kind: str, ids: tuple[str, ...]) -> list[str]:
    """Return ids with shortened ones replaced as in `call_with_id`, each only once.

    :param kind: the prefix of the methods, for example `tasks`
    :raises Failed: several ids match a shortened id
    """
    return list(dict.fromkeys(_whole(kind, id) for id in ids))


def _whole(kind: str, id: str) -> str:
    if ELLIPSIS not in id or call(f"{kind}.list", conditions={"id": id}, limit=1)["count"]:
        return id
    return _find(kind, id, shown_only=True) or id


def _call(method: str, id: str, params: dict[str, Any]) -> Any:
    result = call(method, id=id, **params)
    if isinstance(result, dict) and result.get("deleted") is False:
        raise not_found(_none(method.partition(".")[0], id), id=id)
    return result


def _none(kind: str, id: str) -> str:
    return f"there is no {kind.removesuffix('s')} {id!r}"


def _find(kind: str, id: str, *, shown_only: bool) -> str | None:
    """Return the only id that is meant, or None.

    :param shown_only: accept only what a table shows
    :raises Failed: several ids match
    """
    head, ellipsis, tail = id.partition(ELLIPSIS)
    if len(head + tail) < SHORTEST or (shown_only and not (ellipsis and head and tail)):
        return None
    matching, count = _matching(kind, head, tail)
    if count > 1:
        listed = ", ".join(matching[:CANDIDATES]) + (", …" if count > CANDIDATES else "")
        raise not_found(one_line(f"{_none(kind, id)}; {count} ids match it: {listed}"), id=id)
    return matching[0] if matching else None


def _matching(kind: str, head: str, tail: str) -> tuple[list[str], int]:
    if kind in PAGED:
        like = "%".join(_SPECIAL.sub(r"\\\1", part) for part in (head, tail))
        page = call(f"{kind}.list", conditions={"id": {"like": like}}, limit=CANDIDATES)
        return [entry["id"] for entry in page["data"]], page["count"]
    ids = [entry["id"] for entry in call(f"{kind}.list")]
    ids = [id for id in ids if id.startswith(head) and id.endswith(tail)]
    return ids, len(ids)
