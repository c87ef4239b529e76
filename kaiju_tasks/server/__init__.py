"""The manager on a socket: HTTP and WebSocket, health, metrics, executors as child processes."""

from kaiju_tasks.server.app import create_app
from kaiju_tasks.server.run import CannotServe, serve

__all__ = ["CannotServe", "create_app", "serve"]
