"""Whole systems: real processes, sockets, signals and databases."""
