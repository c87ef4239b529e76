"""Registers commands, runs them as stages and reports their results to the managers."""

from kaiju_tasks.executor.batch_signature import BatchCall
from kaiju_tasks.executor.context import Context, Stopped
from kaiju_tasks.executor.dependencies import Depends
from kaiju_tasks.executor.registry import Executor

__all__ = ["BatchCall", "Context", "Depends", "Executor", "Stopped"]
