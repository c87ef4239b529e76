"""Serves a manager over HTTP and WebSocket, with health checks, metrics and child executors."""

from kaiju_tasks.server.app import create_app
from kaiju_tasks.server.run import CannotServe, serve

__all__ = ["CannotServe", "create_app", "serve"]
