"""Plays the manager against any executor, and reports which parts of the protocol it implements."""

from kaiju_tasks.conformance.report import Outcome, Report
from kaiju_tasks.conformance.run import check_executor

__all__ = ["Outcome", "Report", "check_executor"]
