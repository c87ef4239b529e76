"""How many examples of hypothesis a test takes."""

import os

__all__ = ["QUICK", "examples"]

QUICK = "PYTEST_QUICK"
"""The variable that is set in the processes of `pytest --quick`."""
QUICK_PART = 5


def examples(number: int) -> int:
    """The number of examples; a fifth of them with `pytest --quick`."""
    return number // QUICK_PART if QUICK in os.environ else number
