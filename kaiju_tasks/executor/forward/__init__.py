"""Serves a stream by calling an existing service over HTTP, in any language."""

from kaiju_tasks.executor.forward.executor import ForwardExecutor

__all__ = ["ForwardExecutor"]
