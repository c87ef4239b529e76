"""Selects the fires that a step of the clock has jumped over."""

from collections.abc import Iterable, Iterator

from kaiju_tasks.lifecycle import Definition, Row, pass_over


def fires_after_step(
    tasks: Iterable[tuple[Row, Definition]], now: float
) -> Iterator[tuple[str, float | None, float | None, float | None]]:
    """The id, the next fire, `next_run` and `due_at` of the tasks that change.

    :param now: the clock after the step
    """
    for row, definition in tasks:
        try:
            changed = pass_over(row, definition, now)
        except Exception:  # the scheduler fails the task when it is due
            continue
        if changed is not None:
            yield changed.id, changed.fire_at, changed.next_run, changed.due_at
