"""The command line: `kaiju-tasks`."""

import sys
from importlib import import_module

__all__ = ["main"]


def main() -> None:
    """Run the command line."""
    try:
        import_module("kaiju_tasks.cli.main").main()
    except KeyboardInterrupt:  # during the imports, before a command can handle it
        print("Interrupted.", file=sys.stderr)
        sys.exit(130)
