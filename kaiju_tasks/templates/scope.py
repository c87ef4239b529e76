"""The data and the bounds of one fill."""

from collections.abc import Mapping
from typing import Any

from kaiju_tasks.errors import TemplateError

__all__ = ["MAX_BUILT_TEXT", "MAX_FILLED_DEPTH", "MAX_OUTPUT", "MAX_WORK", "Scope"]

MAX_OUTPUT = 1_048_576
MAX_WORK = 1_048_576
MAX_BUILT_TEXT = 1_048_576
MAX_FILLED_DEPTH = 128


class Scope:
    """The data of one fill, and what remains of its bounds.

    :param data: the values by root key
    """

    __slots__ = ("_output_left", "_work_left", "data")

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.data = data
        self._output_left = MAX_OUTPUT
        self._work_left = MAX_WORK

    def emit(self, value: Any) -> None:
        """Count a value that a template inserts into its output.

        :raises TemplateError: the output is too large or too deep
        """
        if isinstance(value, (str, dict, list)):
            self._output_left -= self._measure(value, self._output_left)
        else:
            self._output_left -= 8
        if self._output_left < 0:
            raise _too_large()

    def work(self, units: int) -> None:
        """Count work done.

        :param units: about one for each list item, pattern step or 64 characters touched
        :raises TemplateError: more than :data:`MAX_WORK` in this fill
        """
        self._work_left -= units
        if self._work_left < 0:
            raise TemplateError(
                f"Filling this takes more than {MAX_WORK} steps: use less data, or do the work"
                " in a command."
            )

    def weigh(self, value: Any) -> None:
        """Count the work of visiting every part of a value.

        :raises TemplateError: the value is too large or too deep
        """
        self.work(self._measure(value, MAX_OUTPUT) // 8)

    @staticmethod
    def room_for(characters: int) -> None:
        """Check the length of a text before it is built.

        :raises TemplateError: longer than :data:`MAX_BUILT_TEXT`
        """
        if characters > MAX_BUILT_TEXT:
            raise TemplateError(f"The filled text is longer than {MAX_BUILT_TEXT} characters.")

    @staticmethod
    def _measure(value: Any, most: int) -> int:
        total = 0
        depth = 0
        level = [value]
        while level:
            depth += 1
            if depth > MAX_FILLED_DEPTH:
                raise TemplateError(f"The filled value is nested deeper than {MAX_FILLED_DEPTH}.")
            below: list[Any] = []
            for item in level:
                if isinstance(item, str):
                    total += len(item) + 2
                elif isinstance(item, dict):
                    total += 2 + sum(4 + len(key) for key in item)
                    below.extend(item.values())
                elif isinstance(item, list):
                    total += 2 + len(item)
                    below.extend(item)
                else:
                    total += 8
                if total > most:
                    raise _too_large()
            level = below
        return total


def _too_large() -> TemplateError:
    return TemplateError(
        f"The filled value is larger than {MAX_OUTPUT} characters: pass less data, or a reference."
    )
