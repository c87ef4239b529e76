"""Jitter: the delay of a task's fires."""

from hashlib import blake2b


def jitter_offset(task_id: str, jitter: float) -> float:
    """The delay of a task's fires; always the same for the same task.

    :param task_id: any text
    :param jitter: seconds, 0 or more
    :return: seconds, 0 <= offset < jitter (0 when jitter is 0)
    """
    digest = blake2b(task_id.encode("utf-8", "surrogatepass"), digest_size=4).digest()
    return int.from_bytes(digest, "big") / 2**32 * jitter
