"""The version: of the distribution, of managers and of executors."""

__version__ = "0.1.0"
