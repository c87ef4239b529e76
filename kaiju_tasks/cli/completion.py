"""Shell completion: ids and names that the manager knows, statuses, files."""

from collections.abc import Callable, Iterable
from typing import Any

import click
from click.shell_completion import CompletionItem

from kaiju_tasks.cli.fail import Failed
from kaiju_tasks.cli.remote import call_within

__all__ = [
    "Complete",
    "complete_app",
    "complete_bulk",
    "complete_executor",
    "complete_file",
    "complete_method",
    "complete_notification",
    "complete_pause",
    "complete_task",
    "complete_token",
    "complete_words",
]

TAB_SECONDS = 2.0
TAB_TASKS = 100
"""The most ids offered. Typing more of the id reaches the others."""

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]
Offer = tuple[str, str | None]


def complete_task(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete ids of tasks, with their statuses."""
    conditions = {"id": {"like": f"{incomplete}%"}}
    page = _asked("tasks.list", conditions=conditions, limit=TAB_TASKS) or {"data": []}
    return _offered(((task["id"], task["status"]) for task in page["data"]), incomplete)


def complete_notification(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete ids of notifications, with the tasks that they belong to."""
    page = _asked("notifications.list", limit=TAB_TASKS) or {"data": []}
    return _offered(((note["id"], note["task_id"]) for note in page["data"]), incomplete)


def complete_bulk(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete ids of bulk calls, with their methods."""
    page = _asked("bulk.list", limit=TAB_TASKS) or {"data": []}
    return _offered(((one["id"], one["method"]) for one in page["data"]), incomplete)


def _of_list(method: str, offer: Callable[[dict[str, Any]], Iterable[Offer]]) -> Complete:
    def complete(
        ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        entries = _asked(method) or []
        return _offered((found for entry in entries for found in offer(entry)), incomplete)

    return complete


complete_executor = _of_list("executors.list", lambda one: [(one["id"], one["status"])])
complete_app = _of_list("executors.list", lambda one: [(name, None) for name in one["app_names"]])
complete_method = _of_list("executors.commands", lambda one: [(one["method"], one["app_name"])])
complete_token = _of_list("tokens.list", lambda one: [(one["id"], one["principal"])])
complete_pause = _of_list("pauses.list", lambda one: [(one["id"], one["reason"])])


def complete_words(words: Iterable[str], *, separator: str = "\0") -> Complete:
    """Return a completer for a fixed set of words.

    :param separator: separates several words in one argument; the default never occurs, so that
        the argument is a single word
    """
    offered = list(words)

    def complete(
        ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        before = "".join(incomplete.rpartition(separator)[:2])
        return _offered(((before + word, None) for word in offered), incomplete)

    return complete


def complete_file(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Let the shell complete the names of files."""
    return [CompletionItem(incomplete, type="file")]


def _asked(method: str, **params: Any) -> Any:
    try:
        return call_within(TAB_SECONDS, method, **params)
    except Failed:
        return None  # an error message would disturb the command line; offer nothing instead


def _offered(offers: Iterable[Offer], incomplete: str) -> list[CompletionItem]:
    found = dict(offers)
    return [CompletionItem(v, help=found[v]) for v in found if v.startswith(incomplete)]
