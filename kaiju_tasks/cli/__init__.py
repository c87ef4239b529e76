"""The command line: `kaiju-tasks`."""

import os
import sys
from importlib import import_module

__all__ = ["main"]

INIT = 1
"""The process that has to reap orphans: the first one of a container."""


def main() -> None:
    """Run the command line."""
    if os.getpid() == INIT:
        import_module("kaiju_tasks.cli.init").become_init()
    try:
        import_module("kaiju_tasks.cli.main").main()
    except KeyboardInterrupt:  # during the imports, before a command can handle it
        print("Interrupted.", file=sys.stderr)
        sys.exit(130)
