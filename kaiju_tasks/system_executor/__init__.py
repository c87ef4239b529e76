"""Provides the manager's own executor: public methods as stages of the stream `manager`."""

from kaiju_tasks.system_executor.on_call import system_executor

__all__ = ["system_executor"]
