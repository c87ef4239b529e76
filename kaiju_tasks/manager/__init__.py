"""Runs tasks: locks, advances and saves them, and distributes them to executors."""

from kaiju_tasks.manager.dice import Dice
from kaiju_tasks.manager.manager import Manager

__all__ = ["Dice", "Manager"]
