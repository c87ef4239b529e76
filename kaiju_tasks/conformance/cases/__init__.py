"""What an executor must do, one case for each rule of docs/protocol.md."""

from kaiju_tasks.conformance.cases import core, full, templates
from kaiju_tasks.conformance.cases.case import Case, Under

__all__ = ["CASES", "Case", "Under"]

CASES: tuple[Case, ...] = (*core.CASES, *templates.CASES, *full.CASES)
