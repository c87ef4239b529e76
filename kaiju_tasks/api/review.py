"""Warnings and problems of a task, before it is created."""

from msgspec import Struct

from kaiju_tasks.api.known import Finding, KnownMethods, template_warnings
from kaiju_tasks.api.params import Problem
from kaiju_tasks.define import Defined
from kaiju_tasks.errors import InvalidParams

__all__ = ["Review", "review"]


class Review(Struct):
    """:param problems: the reasons to refuse the task"""

    problems: list[Problem]
    warnings: list[str]

    def accepted(self) -> list[str]:
        """Return the warnings.

        :raises InvalidParams: there is a problem; `field` is the field of the first
        """
        for problem in self.problems:
            raise InvalidParams(problem.message, field=problem.field)
        return self.warnings


async def review(
    known: KnownMethods, defined: Defined, *, strict: bool, prefix: str = "data"
) -> Review:
    """Check a task, and the tasks that its stages will create, against their executors.

    :param strict: report commands that executors cannot run as problems, otherwise as warnings
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
        colon = "" if one.warning.startswith("`") else ":"  # a separate sentence
        problems.append(Problem(field, f"`{field}`{colon} {one.what}"))
    return Review(problems, others)


def _at(place: str, finding: Finding) -> Finding:
    """Return a finding about a task inside another task, with its path."""
    path = f"{place}.{finding.path}"
    of_path = finding.warning.startswith("`")
    warning = f"`{path}` {finding.what}" if of_path else f"{place}: {finding.what}"
    return Finding(path, finding.what, warning)
