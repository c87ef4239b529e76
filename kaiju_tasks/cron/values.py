"""Values that clients send: type checks, and their text in errors."""


def is_number(value: object) -> bool:
    """Whether a value is a JSON number; True and False are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def shown(value: object) -> str:
    """The text of a value for an error, at most 60 characters."""
    try:
        text = repr(value)
    except ValueError:  # an integer of more digits than Python prints
        return "a number far too large"
    return text if len(text) <= 60 else text[:57] + "..."
