"""Writes tasks and the consequences of each change, in one transaction."""
