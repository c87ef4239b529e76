"""Runs `def` commands on daemon threads, so that a stuck thread never delays the exit."""

import threading
from collections.abc import Callable
from queue import SimpleQueue

__all__ = ["ThreadPool"]


class ThreadPool:
    """Runs jobs on at most `size` threads, which are started on demand.

    :param size: maximum number of threads, from 1
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads = 0
        self._idle = 0
        self._lock = threading.Lock()

    def submit(self, job: Callable[[], None]) -> None:
        """Run a job on a thread. The job must not raise."""
        with self._lock:
            if self._idle > 0:
                self._idle -= 1
            elif self._threads < self._size:
                self._threads += 1
                name = f"kaiju-command-{self._threads}"
                threading.Thread(target=self._work, name=name, daemon=True).start()
        self._jobs.put(job)

    def close(self) -> None:
        """Let every thread end after its current job."""
        for _ in range(self._threads):
            self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            del job
            with self._lock:
                self._idle += 1
