"""Runs a Python block: `python -m tests.docs.run_python FILE`.

`await` may stand outside of functions, and `client` is a client of the page's manager.
"""

import ast
import asyncio
import inspect
import os
import sys
from pathlib import Path

from kaiju_tasks import Client


async def main(path: str) -> None:
    """Run the block in this file to its end."""
    sys.path.insert(0, str(Path(path).parent))
    code = compile(Path(path).read_text(), path, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    async with Client(os.environ["KAIJU_URL"]) as client:
        ran = eval(code, {"__name__": "__main__", "client": client})
        if inspect.isawaitable(ran):
            await ran


if __name__ == "__main__":
    program = sys.argv[1]
    if "asyncio.run(" in Path(program).read_text():
        sys.path.insert(0, str(Path(program).parent))
        exec(compile(Path(program).read_text(), program, "exec"), {"__name__": "__main__"})
    else:
        asyncio.run(main(program))
