"""The manager's own executor: public methods as stages of the stream `manager`."""

from kaiju_tasks.own.presence import own_executor

__all__ = ["own_executor"]
