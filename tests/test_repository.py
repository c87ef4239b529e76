"""What is committed."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_no_file_is_committed_that_a_run_leaves_behind() -> None:
    """`make run` and the tests leave files; `.gitignore` names them all."""
    left = subprocess.run(
        ["git", "ls-files", "--cached", "--ignored", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert left == ""


def test_every_file_of_an_embedded_database_is_ignored() -> None:
    names = [f"kaiju-tasks.db{end}" for end in ("", "-wal", "-shm", "-journal", ".lock")]
    ignored = subprocess.run(
        ["git", "check-ignore", "--no-index", *names],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert ignored.splitlines() == names


def test_no_conflict_is_committed() -> None:
    marks = subprocess.run(
        ["git", "grep", "-lE", "^(<{7}|>{7})( |$)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (marks.returncode, marks.stdout) == (1, ""), "a merge has left its marks"
