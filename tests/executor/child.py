"""An executor in a process of its own: `python -m tests.executor.child URL OPTIONS`."""

import asyncio
import json
import sys

from kaiju_tasks.executor.load import load_executor
from kaiju_tasks.executor.process import run_executor


def main() -> int:
    url, options = sys.argv[1], json.loads(sys.argv[2])
    executor = load_executor("tests.executor.commands:executor")
    return asyncio.run(run_executor(executor, [url], **options))


if __name__ == "__main__":
    sys.exit(main())
