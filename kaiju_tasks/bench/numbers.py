"""Shows numbers in few characters."""


def compact(value: float) -> str:
    """Return a number in few characters: 2.5k, 10k, 1M."""
    for size, letter in ((1_000_000, "M"), (1000, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
