"""Values that clients send: what they are, and how errors show them."""


def is_number(value: object) -> bool:
    """Whether it is a JSON number; True and False are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def shown(value: object) -> str:
    """Its text for an error, 60 characters at most."""
    try:
        text = repr(value)
    except ValueError:  # an integer of more digits than Python prints
        return "a number far too large"
    return text if len(text) <= 60 else text[:57] + "..."
