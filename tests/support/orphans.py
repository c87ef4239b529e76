"""Nothing outlives a test run, not even one that was killed."""

import subprocess


class OrphanGuard:
    """Runs a shell script if this process ends without having released the guard.

    :param script: POSIX sh; the arguments are `$1`, `$2`, ...
    """

    def __init__(self, script: str, *arguments: str) -> None:
        # When this process dies, however it dies, its end of the pipe is closed and `read` fails.
        self._shell = subprocess.Popen(
            ["sh", "-c", f"read -r released || {{ {script}\n}}", "orphan-guard", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )

    def release(self) -> None:
        """The watched thing is gone in an orderly way. May be called twice."""
        if self._shell.returncode is None:
            self._shell.communicate(b"released\n")
