"""What a user should know of a task before waiting for it."""

from msgspec import Struct

from kaiju_tasks.api.known import Finding, KnownMethods, template_warnings
from kaiju_tasks.api.params import Problem
from kaiju_tasks.define import Defined
from kaiju_tasks.errors import InvalidParams

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
    known: KnownMethods, defined: Defined, *, strict: bool, prefix: str = "data"
) -> Review:
    """Look at a task, and at those its stages will create, as their executors will.

    :param strict: what they cannot run is a problem, else a warning
    :param prefix: path of the task in the parameters
    """
    found = await known.findings(defined.definition, sure=strict)
    for place, child in defined.children:
        found += [_at(place, one) for one in await known.findings(child, sure=strict)]
    others = template_warnings(defined.definition)
    if not strict:
        return Review([], [one.warning for one in found] + others)
    problems: list[Problem] = []
    for one in found:
        field = f"{prefix}.{one.path}"
        colon = "" if one.warning.startswith("`") else ":"  # a sentence of its own
        problems.append(Problem(field, f"`{field}`{colon} {one.what}"))
    return Review(problems, others)


def _at(place: str, finding: Finding) -> Finding:
    """What was found of a task, as it stands inside another one."""
    path = f"{place}.{finding.path}"
    of_path = finding.warning.startswith("`")
    warning = f"`{path}` {finding.what}" if of_path else f"{place}: {finding.what}"
    return Finding(path, finding.what, warning)
