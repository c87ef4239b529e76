"""The environment of the processes that tests start."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def environment() -> dict[str, str]:
    """This process's, without its KAIJU_ settings. It finds this checkout's packages first."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("KAIJU_")}
    path = os.pathsep.join(filter(None, [str(ROOT), ours.get("PYTHONPATH")]))
    return {**ours, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
