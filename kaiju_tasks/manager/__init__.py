"""The shell: everything that happens is lock, advance, save in one transaction."""

from kaiju_tasks.manager.dice import Dice
from kaiju_tasks.manager.manager import Manager

__all__ = ["Dice", "Manager"]
