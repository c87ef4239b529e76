"""Circles of `next_task`, found before they run.

A circle is refused only if none of its tasks can wait. What a template or a condition decides is
not known yet: such a circle is accepted, and broken when it runs without a wait.
"""

from collections.abc import Container, Iterable, Iterator, Mapping

import msgspec

from kaiju_tasks.errors import TemplateError
from kaiju_tasks.lifecycle import WAIT_SECONDS, Command, Definition
from kaiju_tasks.templates import compiled_template
from kaiju_tasks.types import TIMER

_SHOWN = 10
HIDDEN = "…"
"""Stands for the id of a task that must not be named."""
_KNOWN = frozenset({"id", "kws"})


def circles(made: Mapping[str, Definition], known: Mapping[str, str | None]) -> Iterator[list[str]]:
    """Find the circles that new or changed tasks are part of.

    :param made: the definitions of these tasks, by id
    :param known: the tasks that exist, each with its `next_task`; `made` takes precedence
    :returns: the ids of each circle, in order
    """
    next_of = {**known, **{task_id: one.next_task for task_id, one in made.items()}}
    passed: set[str] = set()
    for task_id in made:
        path: dict[str, int] = {}
        at: str | None = task_id
        while at is not None and at not in passed:
            passed.add(at)
            path[at] = len(path)
            at = next_of.get(at)
        if at is not None and at in path:
            circle = list(path)[path[at] :]
            if not made.keys().isdisjoint(circle):
                yield circle


def waits(circle: Iterable[str], definitions: Mapping[str, Definition]) -> bool:
    """Whether a task of a circle can wait for WAIT_SECONDS. An unknown task can."""
    return any(
        task_id not in definitions
        or any(_can_wait(one, definitions[task_id]) for one in definitions[task_id].commands)
        for task_id in circle
    )


def hide_others(circle: Iterable[str], seen: Container[str]) -> list[str]:
    """A circle for somebody who does not see all its tasks.

    :param seen: the ids of those that may be named
    """
    return [one if one in seen else HIDDEN for one in circle]


def without_wait(circle: list[str]) -> str:
    """The problem of a circle, as text."""
    shown = [f"{one!r:.100}" for one in (*circle[:_SHOWN], circle[0])]
    if len(circle) > _SHOWN:
        shown[_SHOWN:_SHOWN] = ["…"]
    return (
        f"the next tasks {' → '.join(shown)} form a circle that never waits: add a Timer of at "
        f"least {WAIT_SECONDS:g} second to one of them"
    )


def _can_wait(command: Command, definition: Definition) -> bool:
    if not command.is_hook:
        return False
    if command.max_timeout is not None and command.max_timeout < WAIT_SECONDS:
        return False
    if command.method != TIMER:
        return True
    params = compiled_template(bytes(command.params))
    if not params.refs <= _KNOWN:
        return True
    try:
        seconds = params.fill({"id": definition.id, "kws": msgspec.json.decode(definition.kws)})
    except TemplateError:
        return False
    timer = seconds.get("timer")
    return isinstance(timer, int | float) and timer >= WAIT_SECONDS
