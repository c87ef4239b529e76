"""What a user should know of a task before waiting for it."""

from msgspec import Struct

from kaiju_tasks.api.known import KnownMethods, template_warnings
from kaiju_tasks.api.params import Problem
from kaiju_tasks.errors import InvalidParams
from kaiju_tasks.lifecycle import Definition

__all__ = ["Review", "review"]


class Review(Struct):
    """:param problems: what the task is refused for"""

    problems: list[Problem]
    warnings: list[str]

    def accepted(self) -> list[str]:
        """The warnings.

        :raises InvalidParams: there is a problem; names the field of the first
        """
        for problem in self.problems:
            raise InvalidParams(problem.message, field=problem.field)
        return self.warnings


async def review(
    known: KnownMethods, definition: Definition, *, strict: bool, prefix: str = "data"
) -> Review:
    """Look at a task as its executors will.

    :param strict: what they cannot run is a problem, else a warning
    :param prefix: path of the task in the parameters
    """
    found = await known.findings(definition, sure=strict)
    others = template_warnings(definition)
    if not strict:
        return Review([], [one.warning for one in found] + others)
    problems = []
    for one in found:
        field = f"{prefix}.{one.path}"
        colon = ":" if one.what == one.warning else ""  # a sentence of its own
        problems.append(Problem(field, f"`{field}`{colon} {one.what}"))
    return Review(problems, others)
