"""How a command fails: a sentence on stderr and an exit code."""

__all__ = ["CALL_FAILED", "NO_MANAGER", "USAGE", "Failed"]

CALL_FAILED = 1
USAGE = 2
NO_MANAGER = 3


class Failed(Exception):
    """Ends the command.

    :param message: one line for people
    :param exit_code: 1 the call failed, 2 wrong arguments, 3 no manager there
    """

    def __init__(self, message: str, exit_code: int = CALL_FAILED) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = exit_code
