"""Removes each guard in a copy of the project, and runs its tests: `python -m tests.mutants`."""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.mutants.guards import GUARDS, Guard

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("kaiju_tasks", "tests", "schemas", "docs", "pyproject.toml", "README.md")
TESTS_FAILED = 1


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", help="parts of the names of guards; default: all")
    names = parser.parse_args().names
    chosen = [g for g in GUARDS if not names or any(name in g.name for name in names)]
    with tempfile.TemporaryDirectory(prefix="kaiju-mutants-") as folder:
        copy = _copy(Path(folder))
        survived = [guard for guard in chosen if not _is_missed(copy, guard)]
    print(f"{len(chosen) - len(survived)} of {len(chosen)} guards are missed by a test")
    return 1 if survived else 0


def _copy(folder: Path) -> Path:
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            ignore = shutil.ignore_patterns("__pycache__", "node_modules")
            shutil.copytree(source, folder / name, ignore=ignore)
        else:
            shutil.copy(source, folder / name)
    return folder


def _is_missed(copy: Path, guard: Guard) -> bool:
    """Remove a guard, and return whether one of its tests fails."""
    file = copy / "kaiju_tasks" / guard.path
    whole = file.read_text()
    assert whole.count(guard.text) == 1, f"{guard.path} has not once: {guard.text}"
    file.write_text(whole.replace(guard.text, guard.without))
    try:
        ran = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", *guard.tests],
            cwd=copy,
            env={**os.environ, "PYTHONPATH": str(copy)},
            capture_output=True,
            text=True,
        )
    finally:
        file.write_text(whole)
    failed = [line for line in ran.stdout.splitlines() if line.startswith("FAILED")]
    missed = ran.returncode == TESTS_FAILED and bool(failed)
    end = ran.stdout[-2000:] + ran.stderr[-2000:]
    print(f"{'missed  ' if missed else 'SURVIVED'}  {guard.name}", flush=True)
    print(f"          {failed[0][:150]}" if missed else end, flush=True)
    return missed


if __name__ == "__main__":
    sys.exit(main())
