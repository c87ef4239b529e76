"""The command line: `kaiju-tasks`."""

from kaiju_tasks.cli.main import main

__all__ = ["main"]
